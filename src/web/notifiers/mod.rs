//! Notifiers: where people are told what happened; and what is wrong now.

pub mod alerts;
pub mod change;
pub mod databases;
pub mod deliveries;
mod form;
pub mod list;
pub mod test;
