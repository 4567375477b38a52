//! Proves a whole snapshot: every id, count, order and row.

use super::{
    ahead::ReadAhead,
    container::Decoder,
    footer::TableEntry,
    index::{Entry, Totals},
    read::{Inner, Snapshot},
    row::{Layout, take_row},
};
use crate::error::{Error, Kind, Result};

impl Snapshot {
    /// Reads every row of every table. Errors unless each id, root, count and key is what the footer and the index say, and
    /// each row has the columns of its table. `watch` is told the bytes of the file read so far and may end it. Returns the
    /// rows, as the database counts them.
    pub fn prove(&self, watch: &mut dyn FnMut(u64) -> Result<()>) -> Result<u64> {
        let inner = &*self.inner;
        let mut rows = 0_u64;
        let mut read = 0;
        for entry in self.tables() {
            let Some(table) = self.table(&entry.name) else {
                return Err(Error::new(Kind::Storage, format!("the snapshot has rows of {}, but not its columns", entry.name)));
            };
            let ahead = ReadAhead::default();
            let (layout, decoder) = (Layout::of(table)?, inner.file.decoder()?);
            let mut proof = Proof { inner, layout, ahead, decoder, leaf: Vec::new(), last: None, read: &mut read, watch };
            proof.table(entry).map_err(|error| error.while_doing(format!("proving {}", entry.name)))?;
            rows = rows.saturating_add(entry.rows);
        }
        Ok(rows)
    }
}

/// The proof of one table.
struct Proof<'a> {
    inner: &'a Inner,
    layout: Layout,
    ahead: ReadAhead,
    decoder: Decoder,
    leaf: Vec<u8>,
    /// The key of the row before.
    last: Option<Vec<u8>>,
    read: &'a mut u64,
    watch: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Proof<'_> {
    fn table(&mut self, table: &TableEntry) -> Result<()> {
        match table.top() {
            Some(top) => self.entries(&[top], table.level),
            None if table.root == self.inner.hashing.leaf(b"")
                && (table.rows, table.distinct, table.leaves, table.bytes) == (0, 0, 0, 0) =>
            {
                Ok(())
            }
            None => Err(Error::new(Kind::Storage, "the snapshot is damaged: a table without rows says that it has some")),
        }
    }

    /// Neighbouring entries of one level; 0 are leaves.
    fn entries(&mut self, entries: &[Entry], level: u8) -> Result<()> {
        for at in 0..entries.len() {
            if level == 0 {
                self.leaf(&entries[at..])?;
            } else {
                let node = self.inner.node(&entries[at], level)?;
                self.entries(&node.entries, level - 1)?;
            }
            *self.read += u64::from(entries[at].block.stored);
            (self.watch)(*self.read)?;
        }
        Ok(())
    }

    /// The first of these neighbouring leaves.
    fn leaf(&mut self, leaves: &[Entry]) -> Result<()> {
        let entry = &leaves[0];
        let stored = self.ahead.block(&self.inner.file, leaves)?;
        self.decoder.decode(entry.block, &stored, &mut self.leaf)?;
        let totals = self.rows().map_err(|error| self.inner.file.damaged(entry.block, &error.context))?;
        let last = self.last.as_deref() == Some(&entry.last[..]);
        if !last || totals != entry.totals || self.inner.hashing.leaf(&self.leaf) != entry.id {
            return Err(self.inner.file.damaged(entry.block, "its rows are not those that belong here"));
        }
        Ok(())
    }

    fn rows(&mut self) -> Result<Totals> {
        let mut totals = Totals { leaves: 1, bytes: self.leaf.len() as u64, ..Totals::default() };
        let mut rest = &self.leaf[..];
        while !rest.is_empty() {
            let (row, after) = take_row(rest)?;
            if self.last.as_deref().is_some_and(|last| row.key <= last) {
                return Err(Error::new(Kind::Storage, "its rows are not in the order of their keys"));
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(row.key);
            totals.add(&Totals { rows: self.layout.prove(row)?, distinct: 1, ..Totals::default() });
            rest = after;
        }
        Ok(totals)
    }
}
