//! Comparisons as pages: asking for one, what it found, and what can be made of that. Everything a reader does stands in the
//! address, so that it can be linked to and works without scripts.

mod marks;
mod report;
mod request;
#[cfg(test)]
mod samples;
mod tree;
mod words;

pub mod cells;
pub mod end;
pub mod grid;
pub mod picker;
pub mod place;
pub mod restore;
pub mod show;
pub mod value;
