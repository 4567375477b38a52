//! Differences between two ordered row streams and between two schemas: found, kept in a report, read back by page.
//!
//! Knows no engine, no store and no catalogue.

mod bits;
mod bson;
pub mod document;
mod fields;
mod json;
mod merge;
mod number;
mod pair;
mod pattern;
mod rekey;
mod times;
mod values;

pub use bits::Bits;
pub use merge::{ChangeRef, ChangeSink, NoRows, Tally, Watch, compare_rows};
pub use pair::{Paired, RowSpec, Which};
pub use pattern::{ignores_column, wants_table};
