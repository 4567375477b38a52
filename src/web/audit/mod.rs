//! The audit trail: page and API.

pub mod list;
