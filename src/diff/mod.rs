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
mod patch;
mod pattern;
mod rekey;
pub mod report;
mod schema;
mod summary;
mod tables;
mod times;
mod values;

pub use bits::Bits;
pub use merge::{ChangeRef, ChangeSink, NoRows, Tally, Watch, compare_rows};
pub use pair::{Paired, RowSpec, Which};
pub use patch::{Direction, json_patch};
pub use pattern::{ignores_column, wants_table};
pub use report::{Report, ReportWriter};
pub use schema::{SEQUENCE_VALUE, compare_schema, compare_schema_renamed, is_counter};
pub use summary::{summary_text, table_text};
pub use tables::{Likeness, TablePair, likeness, pair_tables};

#[cfg(test)]
mod tests;
