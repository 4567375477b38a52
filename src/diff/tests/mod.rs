//! Comparisons of random tables against a naive one in memory.

mod naive;
mod pages;
mod rows;
mod sample;
mod shapes;
