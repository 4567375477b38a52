//! Snapshots in the product and at the command line, with SQLite behind them; every engine's chain is in `conformance`.

mod cli;
mod product;
mod ranges;
