//! Signs of life to outside watchers, one address per schedule.
