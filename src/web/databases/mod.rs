//! Configured databases: pages and API.

pub mod create;
pub mod delete;
pub mod form;
pub mod list;
pub mod show;
pub mod test_connection;
pub mod update;
