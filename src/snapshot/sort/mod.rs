//! Puts rows in the order of their keys, whatever there are, in bounded memory: what does not fit waits in files.

mod merge;
mod runs;

use std::path::{Path, PathBuf};

pub use self::merge::Sorted;
use self::{
    merge::EqualKeys,
    runs::{Arena, FileRun, Run, RunWriter},
};
use super::{row::RowRef, schema::TableName};
use crate::error::Result;

/// Files that are read at the same time at most.
const FAN_IN: usize = 64;

/// Takes rows in any order. Files have no name, can be read by their owner only, hold rows under a key that exists nowhere
/// else, and are gone when this is dropped, or the program ends in whatever way.
pub struct Sorter {
    folder: PathBuf,
    memory: usize,
    fan_in: usize,
    equal: EqualKeys,
    arena: Arena,
    /// The larger ones first.
    spilled: Vec<Spilled>,
}

struct Spilled {
    run: FileRun,
    /// How often its rows were merged.
    passes: u32,
}

impl Sorter {
    /// Bytes of rows to keep in memory where there is no reason for another number.
    pub const MEMORY: usize = 64 << 20;

    /// Sorts rows of `table` with about `memory` bytes of memory, and files in `folder` for what does not fit. Rows with
    /// equal keys are one whose counts are added up when the table is `keyless`, and an error when it is not.
    pub fn new(folder: &Path, memory: usize, table: &TableName, keyless: bool) -> Self {
        let equal = if keyless { EqualKeys::AddUp } else { EqualKeys::Refuse(table.clone()) };
        Self { folder: folder.to_owned(), memory, fan_in: FAN_IN, equal, arena: Arena::default(), spilled: Vec::new() }
    }

    /// Takes one row. Errors when a file cannot be written.
    pub fn push(&mut self, row: RowRef<'_>) -> Result<()> {
        self.arena.push(row);
        if self.arena.size() >= self.memory { self.spill() } else { Ok(()) }
    }

    /// The rows in order.
    pub fn finish(mut self) -> Result<Sorted> {
        while self.spilled.len() > self.fan_in {
            self.merge(self.fan_in)?;
        }
        let mut runs: Vec<_> = self.spilled.into_iter().map(|spilled| Run::File(spilled.run)).collect();
        runs.push(Run::Memory(self.arena.sorted()));
        Sorted::new(runs, self.equal)
    }

    fn spill(&mut self) -> Result<()> {
        let rows = Run::Memory(std::mem::take(&mut self.arena).sorted());
        let run = self.write(vec![rows])?;
        self.spilled.push(Spilled { run, passes: 0 });
        let mut passes = 0;
        while self.spilled.iter().filter(|spilled| spilled.passes == passes).count() == self.fan_in {
            self.merge(self.fan_in)?;
            passes += 1;
        }
        Ok(())
    }

    /// Makes one of the last `runs` runs, which are the smallest.
    fn merge(&mut self, runs: usize) -> Result<()> {
        let smallest = self.spilled.split_off(self.spilled.len() - runs);
        let passes = 1 + smallest.iter().map(|spilled| spilled.passes).max().unwrap_or(0);
        let run = self.write(smallest.into_iter().map(|spilled| Run::File(spilled.run)).collect())?;
        self.spilled.push(Spilled { run, passes });
        Ok(())
    }

    fn write(&self, runs: Vec<Run>) -> Result<FileRun> {
        let mut rows = Sorted::new(runs, self.equal.clone())?;
        let mut out = RunWriter::new(&self.folder)?;
        while let Some(row) = rows.take()? {
            out.push(row)?;
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests;
