//! Configured notifiers.
