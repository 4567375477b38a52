//! Backups: pages and API.

pub mod cancel;
pub mod delete;
pub mod download;
pub mod list;
pub mod logs;
pub mod pin;
pub mod show;
pub mod start;
pub mod tables;
pub mod verify;
