//! What the end of a snapshot says: its facts, and of every table how many rows it has and where they are.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    access::KeyNote,
    container::{BlockRef, FileKind, Header},
    index::{Entry, Totals},
    schema::TableName,
};
use crate::{domain::time::Moment, error::Result};

/// The kind of file that a snapshot is.
pub const SNAPSHOT: FileKind = FileKind { magic: b"\x89DBROWS\n", name: "snapshot" };

/// True when a file with these first bytes (8 suffice) is a snapshot.
pub fn is_snapshot(head: &[u8]) -> bool {
    head.starts_with(SNAPSHOT.magic)
}

/// How the key of a snapshot is made, by its first bytes (4,106 of them, or the whole file); `None` when it is not
/// encrypted. Errors when it is no snapshot.
pub fn key_note(head: &[u8]) -> Result<Option<KeyNote>> {
    Header::read(head, SNAPSHOT).map(|(header, _)| header.note)
}

/// What is known of a snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotFacts {
    pub engine: String,
    pub database: String,
    /// When the rows were as they are here.
    pub moment: Moment,
    pub server_version: String,
    /// The server's own marks of the moment, for a later fast comparison with the live database.
    #[serde(default)]
    pub marks: BTreeMap<String, String>,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// By its options it holds only some tables, or samples.
    #[serde(default)]
    pub partial: bool,
    pub dbsnap_version: String,
}

/// One table of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableEntry {
    #[serde(flatten)]
    pub name: TableName,
    /// Rows kept, as the database counts them.
    pub rows: u64,
    /// Rows kept, as they are stored and paged: in a table without a key equal rows are one, with a count.
    pub distinct: u64,
    /// Rows that came: more than `rows` only in a sample.
    pub seen: u64,
    /// Plain bytes of the rows.
    pub bytes: u64,
    pub leaves: u64,
    /// Equal for the same rows under the same hash key. Of a table without rows, the id of a leaf without bytes.
    #[serde(with = "hex_id")]
    pub root: [u8; 32],
    /// Share of the rows that were kept, by a hash of their keys: 0 to 1. `None` when all were. Rows of a sample are never
    /// to be restored as if they were all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<f64>,
    /// Of the root: 0 is a leaf.
    pub(super) level: u8,
    /// Of the root; `None` when there are no rows.
    pub(super) block: Option<BlockRef>,
    /// The key of the last row, in hex.
    #[serde(default, with = "hex_bytes")]
    pub(super) last: Bytes,
}

impl TableEntry {
    /// The root as an entry of the index; `None` when there are no rows.
    pub(super) fn top(&self) -> Option<Entry> {
        let totals = Totals { rows: self.rows, distinct: self.distinct, leaves: self.leaves, bytes: self.bytes };
        Some(Entry { last: self.last.clone(), totals, id: self.root, block: self.block? })
    }
}

/// The footer as its JSON has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Footer {
    pub facts: SnapshotFacts,
    /// The block with the schema, as JSON.
    pub schema: BlockRef,
    pub tables: Vec<TableEntry>,
}

/// 32 bytes as hex.
mod hex_id {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(id: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(id))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let mut id = [0; 32];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut id).map_err(de::Error::custom)?;
        Ok(id)
    }
}

/// Bytes as hex.
mod hex_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map(Bytes::from).map_err(de::Error::custom)
    }
}
