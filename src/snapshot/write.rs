//! Writes a snapshot in one pass: rows of one table after the other, then the schema and the footer.

use std::{collections::HashSet, ops::Range};

use bytes::Bytes;

use super::{
    access::Lock,
    container::{self, Output},
    footer::{Footer, SNAPSHOT, SnapshotFacts, TableEntry},
    hashing::{Cutter, Hashing, LEAVES},
    index::{Entry, Totals, TreeBuilder},
    row::{Layout, RowBatch, RowRef},
    schema::{Schema, Table, TableName},
    varint,
};
use crate::error::{Context, Error, Kind, Result};

/// Writes a snapshot. Its memory is a leaf and the open nodes of one table's index.
pub struct Writer {
    file: container::Writer,
    hashing: Hashing,
    tables: Vec<TableEntry>,
    names: HashSet<TableName>,
    open: Option<Open>,
}

/// The table whose rows are coming.
struct Open {
    name: TableName,
    keyless: bool,
    sample: Option<f64>,
    seen: u64,
    leaf: RowBatch,
    /// Where the key of its last row is in it.
    leaf_last: Range<usize>,
    /// Rows of the open leaf, as the database counts them.
    rows: u64,
    cutter: Cutter,
    /// The key of the last row that came.
    last: Vec<u8>,
    any: bool,
    tree: TreeBuilder,
}

impl Writer {
    /// Begins a snapshot, sealed as `lock` says. `engine` and `database` stand in clear at its beginning.
    pub fn new(out: Output, lock: Option<Lock<'_>>, engine: &str, database: &str) -> Result<Self> {
        Ok(Self::of(container::Writer::new(SNAPSHOT, engine, database, lock, out)?))
    }

    /// Begins a snapshot that is not encrypted and, for the same content, salt and version of zstd, always has the same bytes.
    pub fn reproducible(out: Output, engine: &str, database: &str, file_salt: [u8; 32]) -> Result<Self> {
        Ok(Self::of(container::Writer::reproducible(SNAPSHOT, engine, database, file_salt, out)?))
    }

    fn of(file: container::Writer) -> Self {
        let hashing = Hashing::new(file.hash_key());
        Self { file, hashing, tables: Vec::new(), names: HashSet::new(), open: None }
    }

    /// Begins a table. `sample` is the share of its rows that is kept, 0 to 1: by a keyed hash of their keys, so that it is
    /// the same rows in every snapshot.
    pub fn begin(&mut self, table: &Table, sample: Option<f64>) -> Result<()> {
        if self.open.is_some() || !self.names.insert(table.name.clone()) {
            return Err(Error::internal(format!("{} begins again, or before the table in front of it ended", table.name)));
        }
        if sample.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(Error::validation(format!("the share of rows to keep of {} is not between 0 and 1", table.name)));
        }
        self.open = Some(Open {
            name: table.name.clone(),
            keyless: Layout::of(table)?.keyless(),
            sample,
            seen: 0,
            leaf: RowBatch::default(),
            leaf_last: 0..0,
            rows: 0,
            cutter: Cutter::new(LEAVES),
            last: Vec::new(),
            any: false,
            tree: TreeBuilder::new(),
        });
        Ok(())
    }

    /// Takes the next row. Errors unless its key is greater than the one before.
    pub fn push(&mut self, row: RowRef<'_>) -> Result<()> {
        let Some(open) = &mut self.open else { return Err(Error::internal("a row before its table")) };
        if open.any && row.key <= &open.last[..] {
            return Err(Error::internal(format!("the rows of {} do not come in the order of their keys", open.name)));
        }
        open.any = true;
        open.last.clear();
        open.last.extend_from_slice(row.key);
        let count = if open.keyless { varint::take(row.value)?.0 } else { 1 };
        open.seen = open.seen.saturating_add(count);
        if open.sample.is_some_and(|share| !self.hashing.keeps(row.key, share)) {
            return Ok(());
        }
        let key_at = varint::length(row.key.len() as u64);
        let size = key_at + row.key.len() + varint::length(row.value.len() as u64) + row.value.len();
        if open.cutter.before(size) {
            open.close(&mut self.file, &self.hashing)?;
        }
        let key_at = open.leaf.bytes().len() + key_at;
        open.leaf_last = key_at..key_at + row.key.len();
        open.leaf.push(row.key, row.value);
        open.rows = open.rows.saturating_add(count);
        if open.cutter.after(size, self.hashing.boundary(row.key)) {
            open.close(&mut self.file, &self.hashing)?;
        }
        Ok(())
    }

    /// Ends the table.
    pub fn end(&mut self) -> Result<TableEntry> {
        let Some(mut open) = self.open.take() else { return Err(Error::internal("a table ends that did not begin")) };
        open.close(&mut self.file, &self.hashing)?;
        let root = open.tree.finish(&mut self.file, &self.hashing)?;
        let (top, level) = root.map_or((None, 0), |(entry, level)| (Some(entry), level));
        let totals = top.as_ref().map_or(Totals::default(), |top| top.totals);
        let entry = TableEntry {
            name: open.name,
            rows: totals.rows,
            distinct: totals.distinct,
            seen: open.seen,
            bytes: totals.bytes,
            leaves: totals.leaves,
            root: top.as_ref().map_or_else(|| self.hashing.leaf(b""), |top| top.id),
            sample: open.sample,
            level,
            block: top.as_ref().map(|top| top.block),
            last: top.map_or_else(Bytes::new, |top| top.last),
        };
        self.tables.push(entry.clone());
        Ok(entry)
    }

    /// Ends the snapshot. Returns its size in bytes. Errors when a table is still open, or is not in the schema.
    pub fn finish(mut self, schema: &Schema, facts: &SnapshotFacts) -> Result<u64> {
        if let Some(open) = &self.open {
            return Err(Error::internal(format!("the snapshot ends before {}", open.name)));
        }
        for table in &schema.tables {
            self.names.remove(&table.name);
        }
        if let Some(name) = self.names.iter().next() {
            return Err(Error::internal(format!("the snapshot has rows of {name}, which is not in its schema")));
        }
        let json = |what: Result<Vec<u8>, serde_json::Error>| what.context(Kind::Internal, || "writing the end of the snapshot".into());
        let schema = self.file.block(&json(serde_json::to_vec(schema))?)?;
        let footer = Footer { facts: facts.clone(), schema, tables: self.tables };
        self.file.finish(&json(serde_json::to_vec(&footer))?)
    }
}

impl Open {
    /// Writes the open leaf, if it has rows.
    fn close(&mut self, file: &mut container::Writer, hashing: &Hashing) -> Result<()> {
        if self.leaf.rows() == 0 {
            return Ok(());
        }
        let plain = self.leaf.bytes();
        let last = Bytes::copy_from_slice(&plain[self.leaf_last.clone()]);
        let totals = Totals { rows: self.rows, distinct: self.leaf.rows(), leaves: 1, bytes: plain.len() as u64 };
        let block = file.block(plain).map_err(|error| error.while_doing(format!("writing rows of {}", self.name)))?;
        let entry = Entry { last, totals, id: hashing.leaf(plain), block };
        self.leaf.clear();
        self.rows = 0;
        self.tree.leaf(entry, file, hashing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{
        push_integer,
        tests::{Random, keyed, some_value},
    };

    #[test]
    fn memory_does_not_grow_with_the_rows() {
        let mut writer = Writer::new(Box::new(|_| Ok(())), None, "sqlite", "shop").unwrap();
        writer.begin(&keyed("t"), None).unwrap();
        let mut random = Random(1);
        let value = some_value(500, &mut random);
        for at in 0..100_000 {
            let mut key = Vec::new();
            push_integer(&mut key, at);
            writer.push(RowRef { key: &key, value: &value }).unwrap();
            assert!(writer.open.as_ref().unwrap().leaf.bytes().len() <= 256 << 10);
        }
        assert!(writer.end().unwrap().bytes > 48 << 20);
    }
}
