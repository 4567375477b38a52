//! Opens a snapshot and finds things in it: tables, rows by key, pages, leaves.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{
    access::{ReadAt, Unlock},
    container::{self, Header},
    cursor::RowCursor,
    footer::{Footer, SNAPSHOT, SnapshotFacts, TableEntry},
    hashing::Hashing,
    index::{Entry, Node},
    row::RowBatch,
    schema::{Schema, Table, TableName},
    walk::Cursor,
};
use crate::error::{Error, Kind, Result};

/// A snapshot that is open. Copies share everything.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub file: container::Reader,
    pub hashing: Hashing,
    /// Nodes that were read last, the newest at the end: pages and rows found by key begin at the same ones.
    nodes: Mutex<VecDeque<Arc<Node>>>,
    footer: Footer,
    schema: Schema,
    entries: HashMap<TableName, usize>,
    tables: HashMap<TableName, usize>,
}

/// Nodes kept in memory, 16 KiB each on average.
const NODES_KEPT: usize = 64;
/// Plain bytes of the largest node that is kept: only keys of many kilobytes make larger ones.
const NODE_MAX: u32 = 128 * 1024;

/// A leaf as the index knows it: rows with keys after `after` up to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRange {
    pub after: Option<Vec<u8>>,
    pub to: Vec<u8>,
    pub rows: u64,
    pub id: [u8; 32],
}

impl Snapshot {
    /// Opens a snapshot. Errors when the file is none, is cut or altered, or is encrypted under a key that `keys` does not
    /// give. Rows are proven when they are read, all of them by [`Snapshot::prove`].
    pub fn open(file: Arc<dyn ReadAt>, keys: Option<&dyn Unlock>) -> Result<Self> {
        let (file, footer) = container::Reader::open(file, SNAPSHOT, keys)?;
        let damaged = |cause| Error::new(Kind::Storage, "the snapshot is damaged: its end cannot be read").source(Box::new(cause));
        let footer: Footer = serde_json::from_slice(&footer).map_err(damaged)?;
        let schema: Schema = serde_json::from_slice(&file.read(footer.schema)?).map_err(damaged)?;
        let hashing = Hashing::new(file.hash_key());
        let entries = footer.tables.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
        let tables = schema.tables.iter().enumerate().map(|(at, table)| (table.name.clone(), at)).collect();
        Ok(Self { inner: Arc::new(Inner { file, hashing, nodes: Mutex::default(), footer, schema, entries, tables }) })
    }

    pub fn facts(&self) -> &SnapshotFacts {
        &self.inner.footer.facts
    }

    pub fn schema(&self) -> &Schema {
        &self.inner.schema
    }

    /// Tables with rows here, in the order in which they were written.
    pub fn tables(&self) -> &[TableEntry] {
        &self.inner.footer.tables
    }

    pub fn entry(&self, name: &TableName) -> Option<&TableEntry> {
        self.inner.entries.get(name).map(|at| &self.inner.footer.tables[*at])
    }

    /// The table in the schema.
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.inner.tables.get(name).map(|at| &self.inner.schema.tables[*at])
    }

    /// What stands in clear at the beginning of the file.
    pub fn header(&self) -> &Header {
        self.inner.file.header()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.inner.file.size()
    }

    /// The master key that leaves and roots are hashed under; `None` in a file that is not encrypted. Ids of two snapshots
    /// can be compared when this is equal.
    pub fn hash_key_id(&self) -> Option<&str> {
        self.header().note.as_ref().map(|note| note.key_id.as_str())
    }

    /// Whether a sample of this share keeps the row with this key: the same rows in every snapshot under one hash key.
    pub fn keeps(&self, key: &[u8], share: f64) -> bool {
        self.inner.hashing.keeps(key, share)
    }

    /// The rows of a table with keys after `after` (exclusive) up to `to` (inclusive). Errors when there is no such table.
    pub fn cursor(&self, name: &TableName, after: Option<&[u8]>, to: Option<&[u8]>) -> Result<Cursor> {
        Cursor::from_key(self.clone(), self.known(name)?, after, to)
    }

    /// The row with this key: its key and value.
    pub fn get(&self, name: &TableName, key: &[u8]) -> Result<Option<(Bytes, Bytes)>> {
        let mut cursor = Cursor::at_key(self.clone(), self.known(name)?, key)?;
        let row = cursor.peek()?.filter(|row| row.key == key);
        Ok(row.map(|row| (Bytes::copy_from_slice(row.key), Bytes::copy_from_slice(row.value))))
    }

    /// Rows from the `offset`th on, at most `limit`; of a table without a key, equal rows count once.
    pub fn page(&self, name: &TableName, offset: u64, limit: usize) -> Result<RowBatch> {
        let mut cursor = Cursor::from_row(self.clone(), self.known(name)?, offset)?;
        let mut page = RowBatch::default();
        while page.rows() < limit as u64
            && let Some(row) = cursor.peek()?
        {
            page.push(row.key, row.value);
            cursor.advance()?;
        }
        Ok(page)
    }

    /// The leaves of a table in order, without their rows.
    pub fn leaves(&self, name: &TableName) -> Result<Leaves> {
        Ok(Leaves { cursor: Cursor::from_key(self.clone(), self.known(name)?, None, None)?, after: None, failed: false })
    }

    /// Errors unless the snapshot has rows of this table.
    fn known(&self, name: &TableName) -> Result<&TableEntry> {
        self.entry(name).ok_or_else(|| Error::not_found(format!("the table {name} in this snapshot")))
    }
}

impl Inner {
    /// The node that an entry is of. Errors unless it is that one, on this level.
    pub fn node(&self, entry: &Entry, level: u8) -> Result<Arc<Node>> {
        let known = self.nodes.lock().iter().flat_map(|nodes| nodes.iter()).find(|node| node.id == entry.id).cloned();
        let node = match known {
            Some(node) => Some(node),
            None => Node::read(self.file.read(entry.block)?.into(), &self.hashing).ok().map(Arc::new),
        };
        let node = node.filter(|node| node.id == entry.id && node.is_below(entry, level));
        let node = node.ok_or_else(|| self.file.damaged(entry.block, "it is not the part of the index that belongs here"))?;
        if let Ok(mut nodes) = self.nodes.lock()
            && entry.block.plain <= NODE_MAX
            && !nodes.iter().any(|known| known.id == node.id)
        {
            nodes.push_back(node.clone());
            let excess = nodes.len().saturating_sub(NODES_KEPT);
            nodes.drain(..excess);
        }
        Ok(node)
    }
}

/// See [`Snapshot::leaves`].
pub struct Leaves {
    cursor: Cursor,
    after: Option<Vec<u8>>,
    /// It ends with the first error.
    failed: bool,
}

impl Iterator for Leaves {
    type Item = Result<LeafRange>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let leaf = match self.cursor.pass_leaf() {
            Ok(leaf) => leaf?,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let to = leaf.last.to_vec();
        let after = self.after.replace(to.clone());
        Some(Ok(LeafRange { after, to, rows: leaf.totals.rows, id: leaf.id }))
    }
}
