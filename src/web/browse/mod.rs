//! Looking into a backup without restoring it: its tables, their rows, one row and what it was in other backups.

mod history;
mod indent;
mod place;

pub mod export;
pub mod row;
pub mod rows;
