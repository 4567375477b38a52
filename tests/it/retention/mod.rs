//! Retention: the plans, and what is deleted by them.

mod plans;
mod runs;
