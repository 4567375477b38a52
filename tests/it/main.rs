//! The integration tests: one binary, real servers and real files.

// The tests run the product and its peers as a person would.
#![allow(clippy::disallowed_methods)]

mod accounts;
mod architecture;
mod browser;
mod catalogue;
mod cli;
mod compare;
mod config;
mod conformance;
mod crash;
mod decrypt_script;
mod endings;
mod guards;
mod jobs;
mod mongodb;
mod mysql;
mod network;
mod notifiers;
mod options;
mod packaging;
mod peers;
mod pipeline;
mod postgres;
mod product;
mod retention;
mod snapshot_file;
mod snapshots;
mod sqlite;
mod stores;
mod support;
mod time;
mod tunnels;
mod upkeep;
mod web;
