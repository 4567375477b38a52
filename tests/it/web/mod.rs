//! The real router over a real socket: API and pages, refusals, headers, hostile input.

mod access;
mod api;
mod at_once;
pub mod compare;
mod connections;
mod events;
mod hostile;
mod jobs;
mod monitoring;
mod pages;
mod projects;
mod schedule_form;
mod schedule_rules;
mod schedules;
pub mod site;
mod uploads;
