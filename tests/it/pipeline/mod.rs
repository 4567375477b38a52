//! The byte pipeline: what is sealed opens again, and nothing else does.

mod bombs;
mod golden;
mod hostile;
mod lifecycle;
mod round_trip;
pub mod support;
mod tamper;
