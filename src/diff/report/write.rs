//! Writes a report while rows are compared.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{
    KIND, Report,
    entry::put,
    heading::Heading,
    index::{Gathering, Index, TableIndex},
};
use crate::{
    diff::{
        merge::{ChangeRef, ChangeSink, Tally},
        pair::RowSpec,
    },
    domain::diff::{DiffSummary, TableDiff},
    error::{Error, Result},
    snapshot::{
        Lock, ReadAt,
        container::{Output, Writer},
    },
};

/// Plain bytes after which a block is written.
const BLOCK: usize = 64 * 1024;
/// After this long a block is written with what it has, so that a reader sees it.
const LINGER: Duration = Duration::from_secs(1);

/// Takes the changes of one table after the other.
pub struct ReportWriter {
    out: Writer,
    index: Arc<RwLock<Index>>,
    block: Vec<u8>,
    gathering: Gathering,
    written: Instant,
    open: bool,
}

impl ReportWriter {
    /// Begins a report, sealed as `lock` says. `engine` and `database` stand in clear in its header.
    pub fn new(out: Output, engine: &str, database: &str, lock: Option<Lock<'_>>) -> Result<Self> {
        Ok(Self {
            out: Writer::new(KIND, engine, database, lock, out)?,
            index: Arc::default(),
            block: Vec::with_capacity(BLOCK),
            gathering: Gathering::default(),
            written: Instant::now(),
            open: false,
        })
    }

    /// Reads what is written so far from `file`, where `out` puts the bytes. What is written later is seen too.
    pub fn reader(&self, file: Arc<dyn ReadAt>) -> Report {
        Report::new(self.out.reader(file), self.index.clone())
    }

    /// The changes that follow are of this table.
    pub fn begin(&mut self, spec: &RowSpec) -> Result<()> {
        if self.open {
            return Err(Error::internal("a report's table was begun before the last one was ended"));
        }
        self.open = true;
        self.gathering = Gathering::default();
        self.index.write().unwrap_or_else(PoisonError::into_inner).tables.push(TableIndex::new(Heading::of(spec)));
        Ok(())
    }

    /// The table has no more changes. Returns what its summary says.
    pub fn end(&mut self, spec: &RowSpec, tally: &Tally) -> Result<TableDiff> {
        self.flush()?;
        self.open = false;
        Ok(spec.table_diff(tally))
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.out.position()
    }

    /// Ends the report. Returns its size in bytes.
    pub fn finish(self, summary: &DiffSummary) -> Result<u64> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let footer = index.write(summary)?;
        let size = self.out.finish(&footer)?;
        index.summary = Some(summary.clone());
        Ok(size)
    }

    fn flush(&mut self) -> Result<()> {
        self.written = Instant::now();
        if self.block.is_empty() {
            return Ok(());
        }
        let block = self.out.block(&self.block)?;
        self.block.clear();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let table = index.tables.last_mut().ok_or_else(|| Error::internal("a report's change has no table"))?;
        self.gathering.close(block, table);
        Ok(())
    }
}

impl ChangeSink for ReportWriter {
    fn change(&mut self, change: &ChangeRef<'_>) -> Result<()> {
        put(&mut self.block, change);
        self.gathering.add(change);
        if self.block.len() >= BLOCK || self.written.elapsed() >= LINGER {
            self.flush()?;
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = index.tables.last_mut() {
            table.fields.push(name.to_owned());
        }
        Ok(())
    }
}
