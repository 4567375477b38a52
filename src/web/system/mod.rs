//! The product itself: overview, settings, state, health.

pub mod dashboard;
pub mod health;
pub mod jump;
pub mod maintenance;
pub mod metrics;
pub mod settings;
pub mod stats;
pub mod status;
pub mod theme;
