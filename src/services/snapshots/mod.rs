//! Snapshots in the product: made with backups, opened where they are stored, looked at, restored from.

pub mod keys;
