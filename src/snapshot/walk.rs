//! Walks over the rows of one table of a snapshot, and past whole subtrees of them.

use std::{ops::Range, sync::Arc};

use super::{
    ahead::ReadAhead,
    container::Decoder,
    cursor::{RowCursor, Subtree},
    footer::TableEntry,
    index::{Entry, Node},
    read::Snapshot,
    row::RowRef,
    varint,
};
use crate::error::Result;

/// Rows of one table in the order of their keys.
pub struct Cursor {
    snapshot: Snapshot,
    /// Nodes from the root down; the first one stands for the table and has the root as its only entry. In each the cursor
    /// is at the entry `at`: below it, as long as another step follows.
    path: Vec<Step>,
    /// Where rows end: they are up to this key.
    to: Option<Vec<u8>>,
    /// The plain bytes of the leaf that the last step is at, once they are needed.
    leaf: Vec<u8>,
    loaded: bool,
    /// The first byte in `leaf` of the row it stands before.
    at: usize,
    row: Option<Place>,
    subtrees: Vec<Subtree>,
    ahead: ReadAhead,
    decoder: Decoder,
}

struct Step {
    node: Arc<Node>,
    at: usize,
}

/// Where a row is in its leaf.
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

impl Cursor {
    /// Rows after a key up to another one.
    pub(super) fn from_key(snapshot: Snapshot, table: &TableEntry, after: Option<&[u8]>, to: Option<&[u8]>) -> Result<Self> {
        let mut cursor = Self::new(snapshot, table, to)?;
        let Some(after) = after else { return Ok(cursor) };
        let mut exact = false;
        cursor.descend(|node| {
            let at = node.entries.partition_point(|entry| entry.last <= after);
            exact |= at > 0 && node.entries[at - 1].last == after;
            at
        })?;
        if !exact {
            cursor.pass_rows(|row| row.key <= after)?;
        }
        Ok(cursor)
    }

    /// Rows from a key on.
    pub(super) fn at_key(snapshot: Snapshot, table: &TableEntry, key: &[u8]) -> Result<Self> {
        let mut cursor = Self::new(snapshot, table, None)?;
        cursor.descend(|node| node.entries.partition_point(|entry| entry.last < key))?;
        cursor.pass_rows(|row| row.key < key)?;
        Ok(cursor)
    }

    /// Rows from the `offset`th on.
    pub(super) fn from_row(snapshot: Snapshot, table: &TableEntry, offset: u64) -> Result<Self> {
        let mut cursor = Self::new(snapshot, table, None)?;
        let mut left = offset;
        cursor.descend(|node| {
            let mut at = 0;
            while at < node.entries.len() && left >= node.entries[at].totals.distinct {
                left -= node.entries[at].totals.distinct;
                at += 1;
            }
            at
        })?;
        cursor.pass_rows(|_| {
            let pass = left > 0;
            left = left.saturating_sub(1);
            pass
        })?;
        Ok(cursor)
    }

    fn new(snapshot: Snapshot, table: &TableEntry, to: Option<&[u8]>) -> Result<Self> {
        // It stands for the table: nothing is called by its id.
        let top = Node { id: [0; 32], level: table.level.saturating_add(1), entries: table.top().into_iter().collect() };
        let decoder = snapshot.inner.file.decoder()?;
        Ok(Self {
            snapshot,
            path: vec![Step { node: Arc::new(top), at: 0 }],
            to: to.map(<[u8]>::to_vec),
            leaf: Vec::new(),
            loaded: false,
            at: 0,
            row: None,
            subtrees: Vec::new(),
            ahead: ReadAhead::default(),
            decoder,
        })
    }

    /// From the table down to a leaf, in each node to the entry that `choose` says.
    fn descend(&mut self, mut choose: impl FnMut(&Node) -> usize) -> Result<()> {
        loop {
            let step = self.path.last_mut().expect("a path begins with the table");
            step.at = choose(&step.node);
            if step.node.level == 1 || step.at >= step.node.entries.len() {
                return Ok(());
            }
            self.down()?;
        }
    }

    /// Goes into the node that the last step is at.
    fn down(&mut self) -> Result<()> {
        let step = self.path.last().expect("only called with a step that is at an entry");
        let node = self.snapshot.inner.node(&step.node.entries[step.at], step.node.level - 1)?;
        self.path.push(Step { node, at: 0 });
        Ok(())
    }

    /// Goes past rows while `pass` says so.
    fn pass_rows(&mut self, mut pass: impl FnMut(RowRef<'_>) -> bool) -> Result<()> {
        while let Some(row) = self.peek()?
            && pass(row)
        {
            self.advance()?;
        }
        Ok(())
    }

    /// Makes the last step be at a leaf. False at the end.
    fn settle(&mut self) -> Result<bool> {
        loop {
            let Some(step) = self.path.last() else { return Ok(false) };
            if step.at >= step.node.entries.len() {
                self.path.pop();
                if let Some(above) = self.path.last_mut() {
                    above.at += 1;
                }
            } else if step.node.level <= 1 {
                return Ok(true);
            } else {
                self.down()?;
            }
        }
    }

    /// The entry that the last step is at.
    fn here(&self) -> &Entry {
        let step = self.path.last().expect("only called after settle");
        &step.node.entries[step.at]
    }

    /// Goes past what the step at `depth` is at.
    fn pass(&mut self, depth: usize) {
        self.path.truncate(depth + 1);
        let step = &mut self.path[depth];
        let over = self.to.as_ref().is_some_and(|to| step.node.entries[step.at].last >= to[..]);
        step.at += 1;
        if over {
            self.path.clear();
        }
        self.loaded = false;
        self.at = 0;
        self.row = None;
        self.subtrees.clear();
    }

    /// Goes past a leaf without its rows; returns its entry.
    pub(super) fn pass_leaf(&mut self) -> Result<Option<Entry>> {
        if !self.settle()? {
            return Ok(None);
        }
        let leaf = self.here().clone();
        self.pass(self.path.len() - 1);
        Ok(Some(leaf))
    }

    fn load(&mut self) -> Result<()> {
        let step = self.path.last().expect("only called after settle");
        let entry = &step.node.entries[step.at];
        let inner = &self.snapshot.inner;
        let stored = self.ahead.block(&inner.file, &step.node.entries[step.at..])?;
        self.decoder.decode(entry.block, &stored, &mut self.leaf)?;
        if inner.hashing.leaf(&self.leaf) != entry.id {
            return Err(inner.file.damaged(entry.block, "its rows are not those that belong here"));
        }
        self.loaded = true;
        Ok(())
    }

    /// Finds the row it stands before. False at the end.
    #[inline]
    fn find(&mut self) -> Result<bool> {
        while !self.loaded || self.at >= self.leaf.len() {
            if self.loaded {
                self.pass(self.path.len() - 1);
            }
            if !self.settle()? {
                return Ok(false);
            }
            self.load()?;
        }
        let whole = self.leaf.len();
        let (key, rest) = varint::take_slice(&self.leaf[self.at..])?;
        let key_at = whole - rest.len() - key.len()..whole - rest.len();
        let (value, rest) = varint::take_slice(rest)?;
        let value_at = whole - rest.len() - value.len()..whole - rest.len();
        if self.to.as_ref().is_some_and(|to| key > &to[..]) {
            self.path.clear();
            self.loaded = false;
            return Ok(false);
        }
        self.row = Some(Place { key: key_at, value: value_at });
        Ok(true)
    }
}

impl RowCursor for Cursor {
    #[inline]
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        if self.row.is_none() && !self.find()? {
            return Ok(None);
        }
        Ok(self.row.as_ref().map(|row| RowRef { key: &self.leaf[row.key.clone()], value: &self.leaf[row.value.clone()] }))
    }

    #[inline]
    fn advance(&mut self) -> Result<()> {
        if self.row.is_none() {
            self.find()?;
        }
        if let Some(row) = self.row.take() {
            self.at = row.value.end;
        }
        Ok(())
    }

    fn subtrees(&mut self) -> Result<&[Subtree]> {
        if self.loaded && self.at >= self.leaf.len() {
            self.pass(self.path.len() - 1);
        }
        if self.at > 0 || !self.settle()? {
            return Ok(&[]);
        }
        if self.subtrees.is_empty() {
            let fits = |entry: &Entry| self.to.as_ref().is_none_or(|to| entry.last <= to[..]);
            for step in self.path.iter().rev() {
                let entry = &step.node.entries[step.at];
                if !fits(entry) {
                    break;
                }
                self.subtrees.push(Subtree { id: entry.id, rows: entry.totals.rows, leaves: entry.totals.leaves });
                if step.at > 0 {
                    break;
                }
            }
        }
        Ok(&self.subtrees)
    }

    fn skip(&mut self, subtree: usize) -> Result<()> {
        if subtree < self.subtrees()?.len() {
            self.pass(self.path.len() - 1 - subtree);
        }
        Ok(())
    }
}
