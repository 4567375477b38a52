//! Stores: pages and API.

pub mod create;
pub mod delete;
pub mod form;
pub mod list;
pub mod objects;
pub mod show;
pub mod test;
pub mod update;
