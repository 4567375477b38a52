//! The logs of all jobs.

pub mod export;
pub mod list;
