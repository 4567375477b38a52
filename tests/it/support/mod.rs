//! The peers that tests run against.

pub mod postgres;
