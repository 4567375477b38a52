//! Pure types and rules that every part agrees on. No IO happens here, and nothing of ours but `error` is imported.

pub mod account;
pub mod artifact;
pub mod backup;
pub mod browse;
pub mod compression;
pub mod database;
pub mod diff;
pub mod events;
pub mod export;
pub mod fields;
pub mod filter;
pub mod ids;
pub mod job;
pub mod manifest;
pub mod naming;
pub mod page;
pub mod pattern;
pub mod permissions;
pub mod restore;
pub mod run;
pub mod secret;
pub mod store;
pub mod stream;
pub mod time;
