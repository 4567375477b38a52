//! Server-rendered pages and the JSON API: both are thin, and call the same services.
//!
//! `router` is the table of contents. A folder is a noun, a file an action; its page and its JSON handler stand side by side.
//! No business rule and no SQL lives here.

pub mod account;
pub mod assets;
pub mod audit;
pub mod backups;
pub mod browse;
pub mod compare;
pub mod databases;
mod diffs;
pub mod disposition;
mod document;
pub mod engines;
pub mod envelope;
pub mod error;
pub mod events;
mod exports;
pub mod extract;
pub mod filters;
pub mod forms;
pub mod html;
pub mod jobs;
pub mod logs;
pub mod middleware;
mod notifiers;
pub mod pager;
mod projects;
pub mod restores;
mod retention;
mod router;
pub mod schedules;
pub mod state;
pub mod stores;
pub mod system;
mod visible;

pub use router::{Entry, document as openapi, entries, router};
