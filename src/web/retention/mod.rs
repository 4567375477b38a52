//! Retention policies: pages and API.

pub mod choose;
pub mod create;
pub mod delete;
pub mod form;
mod lines;
pub mod list;
pub mod preview;
pub mod run;
pub mod show;
pub mod update;
