//! Restores: the wizard, the history and the API.

pub mod cancel;
pub mod list;
pub mod logs;
pub mod show;
pub mod start;
pub mod upload;
pub mod wizard;
