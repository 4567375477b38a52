//! The stored report of a comparison: every change with both rows, in blocks whose index tells what they hold.
//!
//! A report stands alone: the backups it compared may be gone. It is a file of blocks as a snapshot is, sealed where a key
//! is there, and can be read while it is still written.

mod entry;
mod heading;
mod index;
mod read;
mod search;
mod select;
mod show;
mod view;
mod write;

pub(super) use read::PatchRow;
pub use read::Report;
pub use write::ReportWriter;

pub(super) use heading::{columns_of, columns_of_fields};

use crate::snapshot::container::FileKind;

/// Reports of comparisons.
pub const KIND: FileKind = FileKind { magic: b"DBSNDIFF", name: "report of a comparison" };
