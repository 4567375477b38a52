//! Differences between two ordered row streams and between two schemas: found, kept in a report, read back by page.
//!
//! Knows no engine, no store and no catalogue.
