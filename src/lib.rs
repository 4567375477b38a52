//! DBSnap backs up, verifies and restores databases. The modules stand in reading order.

pub mod error;

pub mod domain;

pub mod snapshot;

pub mod diff;
pub mod engines;
pub mod notifiers;
pub mod pipeline;
pub mod stores;

pub mod auth;
pub mod db;

pub mod services;

pub mod jobs;
pub mod web;

pub mod app;
pub mod cli;
pub mod config;
pub mod logging;
