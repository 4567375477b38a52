//! Backups: pages and API.

pub mod cancel;
pub mod copies;
pub mod delete;
pub mod download;
pub mod list;
pub mod logs;
pub mod pin;
pub mod rows;
pub mod show;
pub mod start;
pub mod tables;
pub mod verify;

use crate::domain::{backup::Backup, time::Moment};

/// The moment its data is of; until that is known, when it was asked for.
pub fn moment(backup: &Backup) -> Moment {
    backup.moment.unwrap_or(backup.created_at)
}
