//! The scheduler: wakes up, claims the slots that are due, and queues their backups.
