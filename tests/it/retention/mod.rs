//! Retention: the plans, and what is deleted by them.

mod pages;
mod plans;
mod runs;
