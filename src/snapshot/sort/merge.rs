//! One ordered sequence of rows from several.

use super::runs::Run;
use crate::{
    error::{Error, Kind, Result},
    snapshot::{cursor::RowCursor, row::RowRef, schema::TableName, varint},
};

/// What to do with rows whose keys are equal.
#[derive(Clone)]
pub(super) enum EqualKeys {
    /// The counts at the beginning of their values are added up.
    AddUp,
    /// There are none in a table with a key.
    Refuse(TableName),
}

/// Rows in the order of their keys.
pub struct Sorted {
    pub(super) runs: Vec<Run>,
    /// Runs that have rows left, by their place in `runs`: a heap, the one with the smallest key first.
    heap: Vec<usize>,
    equal: EqualKeys,
    key: Vec<u8>,
    value: Vec<u8>,
    /// `key` and `value` are the row it stands before.
    ready: bool,
}

impl Sorted {
    pub(super) fn new(runs: Vec<Run>, equal: EqualKeys) -> Result<Self> {
        let mut sorted = Self { runs, heap: Vec::new(), equal, key: Vec::new(), value: Vec::new(), ready: false };
        for at in 0..sorted.runs.len() {
            if sorted.runs[at].current().is_some() {
                sorted.heap.push(at);
            }
        }
        for at in (0..sorted.heap.len() / 2).rev() {
            sorted.sink(at);
        }
        Ok(sorted)
    }

    /// The next row, which it then stands after.
    pub(super) fn take(&mut self) -> Result<Option<RowRef<'_>>> {
        let found = self.ready || self.find()?;
        self.ready = false;
        Ok(found.then_some(RowRef { key: &self.key, value: &self.value }))
    }

    /// Fills `key` and `value`. False at the end.
    fn find(&mut self) -> Result<bool> {
        let Some(run) = self.heap.first() else { return Ok(false) };
        let row = self.runs[*run].current().expect("runs without rows are not in the heap");
        self.key.clear();
        self.key.extend_from_slice(row.key);
        self.value.clear();
        self.value.extend_from_slice(row.value);
        self.pass()?;
        let mut more = 0_u64;
        while let Some(row) = self.heap.first().and_then(|run| self.runs[*run].current()).filter(|row| row.key == self.key) {
            match &self.equal {
                EqualKeys::AddUp => more = more.saturating_add(varint::take(row.value)?.0),
                EqualKeys::Refuse(table) => {
                    let text = format!("two rows of {table} have the same key, so that neither can be told from the other");
                    let hint = "check the primary key or unique index of the table: it may be damaged";
                    return Err(Error::new(Kind::Database, text).hint(hint));
                }
            }
            self.pass()?;
        }
        if more > 0 {
            let (count, rest) = varint::take(&self.value)?;
            let mut value = Vec::with_capacity(self.value.len() + 9);
            varint::put(&mut value, count.saturating_add(more));
            value.extend_from_slice(rest);
            self.value = value;
        }
        self.ready = true;
        Ok(true)
    }

    /// Goes past the smallest row.
    fn pass(&mut self) -> Result<()> {
        let run = self.heap[0];
        self.runs[run].advance()?;
        if self.runs[run].current().is_none() {
            self.heap.swap_remove(0);
        }
        self.sink(0);
        Ok(())
    }

    /// Moves what is at this place of the heap down to where it belongs.
    fn sink(&mut self, mut at: usize) {
        while let Some(child) = self.smaller(2 * at + 1, 2 * at + 2)
            && self.key(child) < self.key(at)
        {
            self.heap.swap(at, child);
            at = child;
        }
    }

    /// Which of two neighbouring places of the heap has the smaller key; `None` when it has neither place.
    fn smaller(&self, left: usize, right: usize) -> Option<usize> {
        let chosen = if right < self.heap.len() && self.key(right) < self.key(left) { right } else { left };
        (chosen < self.heap.len()).then_some(chosen)
    }

    fn key(&self, place: usize) -> &[u8] {
        self.runs[self.heap[place]].current().map_or(&[], |row| row.key)
    }
}

impl RowCursor for Sorted {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        let found = self.ready || self.find()?;
        Ok(found.then_some(RowRef { key: &self.key, value: &self.value }))
    }

    fn advance(&mut self) -> Result<()> {
        self.take().map(|_| ())
    }
}
