//! The index of a table: a tree whose nodes, like leaves, are cut by content alone and called by their hash.

use bytes::Bytes;

use super::{
    container::{self, BlockRef},
    hashing::{Cutter, Hashing, NODES, first},
    varint,
};
use crate::error::{Error, Kind, Result};

/// Neighbouring rows: a leaf, or a node above some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key of the last row.
    pub last: Bytes,
    pub totals: Totals,
    pub id: [u8; 32],
    pub block: BlockRef,
}

/// What is below an entry, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Rows as the table has them.
    pub rows: u64,
    /// Rows as they are stored: those of a table without a key that are equal are one.
    pub distinct: u64,
    pub leaves: u64,
    /// Plain bytes of the leaves.
    pub bytes: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.distinct = self.distinct.saturating_add(other.distinct);
        self.leaves = self.leaves.saturating_add(other.leaves);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Entry {
    /// Appends what the id of the node above covers: everything but where the block is.
    pub fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.last.len() as u64);
        out.extend_from_slice(&self.last);
        for number in [self.totals.rows, self.totals.distinct, self.totals.leaves, self.totals.bytes] {
            varint::put(out, number);
        }
        out.extend_from_slice(&self.id);
    }

    /// Reads one at the start of `bytes`; returns it, the part that the id above covers, and what follows.
    fn take(bytes: &Bytes) -> Result<(Self, Bytes, Bytes)> {
        let (last, rest) = varint::take_slice(bytes)?;
        let last = bytes.slice_ref(last);
        let mut numbers = [0; 4];
        let mut rest = rest;
        for number in &mut numbers {
            (*number, rest) = varint::take(rest)?;
        }
        let (id, rest) = rest.split_first_chunk::<32>().ok_or_else(|| Error::new(Kind::Storage, "an id is cut"))?;
        let covered = bytes.slice(..bytes.len() - rest.len());
        let (block, rest) = BlockRef::take(rest)?;
        let [rows, distinct, leaves, bytes_below] = numbers;
        let totals = Totals { rows, distinct, leaves, bytes: bytes_below };
        Ok((Self { last, totals, id: *id, block }, covered, bytes.slice_ref(rest)))
    }
}

/// A node: the entries below it. Level 1 is above leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub id: [u8; 32],
    pub level: u8,
    pub entries: Vec<Entry>,
}

impl Node {
    /// Reads a node. Errors without context when the bytes are none.
    pub fn read(plain: Bytes, hashing: &Hashing) -> Result<Self> {
        let level = *plain.first().ok_or_else(|| Error::new(Kind::Storage, "a node is empty"))?;
        let mut hasher = hashing.hasher(level);
        let mut rest = plain.slice(1..);
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (entry, covered, after) = Entry::take(&rest)?;
            hasher.update(&covered);
            entries.push(entry);
            rest = after;
        }
        Ok(Self { id: *hasher.finalize().as_bytes(), level, entries })
    }

    /// True when this is what `entry` may be of: keys ascend up to its last one, and everything adds up. Then no part of a
    /// hostile file can stand in two places.
    pub fn is_below(&self, entry: &Entry, level: u8) -> bool {
        let mut totals = Totals::default();
        self.entries.iter().for_each(|child| totals.add(&child.totals));
        self.level == level
            && self.entries.is_sorted_by(|a, b| a.last < b.last)
            && self.entries.last().is_some_and(|child| child.last == entry.last)
            && totals == entry.totals
    }
}

/// Builds the tree of one table while its leaves are written: holds one open node for each level.
pub(super) struct TreeBuilder {
    levels: Vec<Level>,
}

/// The open node of a level.
struct Level {
    plain: Vec<u8>,
    hasher: blake3::Hasher,
    cutter: Cutter,
    totals: Totals,
    entries: u64,
    /// The last one added.
    last: Option<Entry>,
    /// Nodes of this level that are written.
    written: u64,
}

impl TreeBuilder {
    pub fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Adds the next leaf.
    pub fn leaf(&mut self, leaf: Entry, file: &mut container::Writer, hashing: &Hashing) -> Result<()> {
        self.add(0, leaf, file, hashing)
    }

    /// Adds a child to the level above it, which is `self.levels[at]` and has the number `at + 1`.
    fn add(&mut self, at: usize, child: Entry, file: &mut container::Writer, hashing: &Hashing) -> Result<()> {
        if at == self.levels.len() {
            self.levels.push(Level::new(at as u8 + 1, hashing));
        }
        let mut covered = Vec::with_capacity(child.last.len() + 64);
        child.put(&mut covered);
        if self.levels[at].cutter.before(covered.len()) {
            self.close(at, file, hashing)?;
        }
        let level = &mut self.levels[at];
        let cut = level.cutter.after(covered.len(), first(&child.id));
        level.hasher.update(&covered);
        level.plain.extend_from_slice(&covered);
        child.block.put(&mut level.plain);
        level.totals.add(&child.totals);
        level.entries += 1;
        level.last = Some(child);
        if cut { self.close(at, file, hashing) } else { Ok(()) }
    }

    /// Writes the open node of a level and adds it to the next one.
    fn close(&mut self, at: usize, file: &mut container::Writer, hashing: &Hashing) -> Result<()> {
        let level = &mut self.levels[at];
        let cutter = level.cutter.clone();
        let written = level.written + 1;
        let done = std::mem::replace(level, Level { cutter, written, ..Level::new(at as u8 + 1, hashing) });
        let last = done.last.expect("a node that is closed has a child").last;
        let block = file.block(&done.plain)?;
        let entry = Entry { last, totals: done.totals, id: *done.hasher.finalize().as_bytes(), block };
        self.add(at + 1, entry, file, hashing)
    }

    /// Ends the tree: its root and the level of it, 0 for a single leaf; `None` for a table without rows.
    pub fn finish(mut self, file: &mut container::Writer, hashing: &Hashing) -> Result<Option<(Entry, u8)>> {
        let mut at = 0;
        while at < self.levels.len() {
            let level = &mut self.levels[at];
            if level.written == 0 && level.entries == 1 {
                return Ok(level.last.take().map(|root| (root, at as u8)));
            }
            if level.entries > 0 {
                self.close(at, file, hashing)?;
            }
            at += 1;
        }
        Ok(None)
    }
}

impl Level {
    fn new(number: u8, hashing: &Hashing) -> Self {
        Self {
            plain: vec![number],
            hasher: hashing.hasher(number),
            cutter: Cutter::new(NODES),
            totals: Totals::default(),
            entries: 0,
            last: None,
            written: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{footer::SNAPSHOT, tests::Random};

    /// Builds a tree over leaves with keys of this length; the most bytes that it held at any time.
    fn most_memory(leaves: u64, key: usize) -> usize {
        let hashing = Hashing::new(None);
        let mut file = container::Writer::new(SNAPSHOT, "e", "d", None, Box::new(|_| Ok(()))).unwrap();
        let block = file.block(b"a leaf").unwrap();
        let (mut tree, mut random, mut most) = (TreeBuilder::new(), Random(1), 0);
        for at in 0..leaves {
            let id = *blake3::hash(&random.next().to_be_bytes()).as_bytes();
            let mut last = at.to_be_bytes().to_vec();
            last.resize(key, 0);
            let totals = Totals { rows: 1, distinct: 1, leaves: 1, bytes: 6 };
            tree.leaf(Entry { last: last.into(), totals, id, block }, &mut file, &hashing).unwrap();
            most = most.max(tree.levels.iter().map(|level| level.plain.capacity()).sum());
        }
        let (root, level) = tree.finish(&mut file, &hashing).unwrap().unwrap();
        assert!(root.totals == Totals { rows: leaves, distinct: leaves, leaves, bytes: 6 * leaves } && level > 1);
        most
    }

    #[test]
    fn a_tree_of_any_size_is_built_in_bounded_memory() {
        // 100,000 leaves are 6 GiB of rows.
        assert!(most_memory(100_000, 8) < 512 << 10);
        assert!(most_memory(2_000, 1_000) < 1 << 20);
        // Two children at least are in a node, whatever the length of their keys.
        assert!(most_memory(200, 40_000) < 4 << 20);
    }
}
