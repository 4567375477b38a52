//! Figures for monitoring systems.

/// What is counted while the process runs.
#[derive(Default)]
pub struct Metrics {}
