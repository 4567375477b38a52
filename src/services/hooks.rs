//! Commands and requests around a backup.
