//! Notices and their deliveries.
