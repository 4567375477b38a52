//! Comparisons: asked for, watched, read, made use of.

pub mod api;
