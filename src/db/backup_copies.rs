//! Copies of backups in further stores.
