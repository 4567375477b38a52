//! The queue: pages and API.

pub mod cancel;
pub mod list;
pub mod live;
pub mod logs;
pub mod retry;
pub mod show;
