//! Comparisons of random tables against a naive one in memory.

mod naive;
mod pages;
mod patches;
mod rows;
pub mod sample;
mod schemas;
mod shapes;
mod snapshots;
