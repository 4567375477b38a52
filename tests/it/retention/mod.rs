//! Retention: the plans, and what is deleted by them.

mod away;
mod bench;
mod copies;
mod damage;
mod destinations;
mod groups;
mod pages;
mod plans;
mod runs;
