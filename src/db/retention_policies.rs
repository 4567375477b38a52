//! Retention policies.
