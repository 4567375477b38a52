//! Projects: pages and API.

pub mod change;
mod form;
pub mod list;
