//! The queue's workers: claim, run, heartbeat, retry, recover.
