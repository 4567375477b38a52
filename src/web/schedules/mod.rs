//! Schedules: pages, form and API.

pub mod create;
pub mod delete;
pub mod enable;
pub mod form;
pub mod list;
pub mod preview;
pub mod run;
pub mod show;
pub mod update;
pub mod words;
