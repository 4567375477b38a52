//! The queue: pages and API.

pub mod cancel;
pub mod dead;
pub mod list;
pub mod live;
pub mod logs;
pub mod priority;
pub mod queue;
pub mod retry;
pub mod show;
