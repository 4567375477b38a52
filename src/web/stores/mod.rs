//! Stores: API.

pub mod list;
pub mod objects;
pub mod show;
pub mod test;
