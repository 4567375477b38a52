//! The event streams.

pub mod api;
pub mod changes;
pub mod follow;
