//! Snapshots: the rows of every table in key order, typed, cut into leaves under a Merkle tree, and the schema.
//!
//! What is browsed, compared and restored by table or row. This room knows no engine, no store and no catalogue: rows come
//! from a [`RowSender`], bytes go to and come from whoever calls. docs/format.md specifies every byte.

mod access;
mod ahead;
mod bson;
mod bson_text;
pub mod container;
mod cursor;
mod document;
mod footer;
mod hashing;
mod index;
mod key;
mod number;
mod prove;
mod read;
mod row;
mod schema;
mod sort;
mod stream;
pub(crate) mod varint;
mod walk;
mod write;

pub use access::{FileAt, FileKeys, KeyNote, Lock, ReadAt, Unlock};
pub use bson::{BsonField, BsonFields, BsonValue, Damaged, bson_fields, kind as bson_kind};
pub use bson_text::{bson_text, number_text, quote as json_quote, write_id, write_value};
pub use cursor::{RowCursor, Subtree};
pub use document::{document_id_json, document_id_text, document_key, document_of_key, id_of};
pub use footer::{SNAPSHOT, SnapshotFacts, TableEntry, is_snapshot, key_note};
pub use key::{Part, encode_part, parts, push_integer, push_text};
pub use number::{Decimal, decimal};
pub use read::{LeafRange, Leaves, Snapshot};
pub use row::{Cell, ChangeKind, Layout, Row, RowBatch, RowChange, RowRef, take_row};
pub use schema::{Class, Column, Key, Object, ObjectKind, Schema, Table, TableName};
pub use sort::{Sorted, Sorter};
pub use stream::{RowReceiver, RowSender, rows};
pub use walk::Cursor;
pub use write::Writer;

#[cfg(test)]
mod tests;
