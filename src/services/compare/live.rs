//! The rows of a live database as a cursor: read by a task of the engine's, walked on a thread where waiting is allowed.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::JoinHandle};

use super::telling::Telling;
use crate::{
    domain::run::Run,
    engines::{KeyRange, Order, RowSource, SourceFacts},
    error::{Context, Error, Kind, Result},
    snapshot::{RowBatch, RowCursor, RowReceiver, RowRef, Schema, Table, TableName, rows},
};

/// Rows between two looks at the clock.
const PACE: u64 = 256;

type Source = Box<dyn RowSource>;

/// A live database at one moment. Used on threads where blocking is allowed.
pub struct Live {
    facts: SourceFacts,
    schema: Schema,
    /// Away while its rows are read.
    home: Arc<Mutex<Option<Source>>>,
    handle: Handle,
    run: Run,
    pace: Arc<Pace>,
}

impl Live {
    /// `rows_per_second`: 0 means as fast as it goes.
    pub fn new(source: Source, rows_per_second: u64, telling: Arc<Telling>, handle: Handle, run: Run) -> Self {
        Self {
            facts: source.facts().clone(),
            schema: source.schema().clone(),
            home: Arc::new(Mutex::new(Some(source))),
            handle,
            pace: Arc::new(Pace { rows_per_second, begun: Mutex::default(), telling, run: run.clone() }),
            run,
        }
    }

    pub fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn order(&self, table: &Table) -> Result<Order> {
        let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        home.as_ref().map(|source| source.order(table)).ok_or_else(busy)
    }

    /// An estimate of the rows.
    pub fn estimate(&self, table: &Table) -> Option<u64> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|source| source.estimate(table))
    }

    /// Begins to read the rows of a table. One reading at a time: errors while another one is open.
    pub fn rows(&self, table: &Table, range: &KeyRange) -> Result<Stream> {
        let mut source = self.take()?;
        let (sender, receiver) = rows(table)?;
        let (home, run, table_, range) = (Arc::clone(&self.home), self.run.clone(), table.clone(), range.clone());
        let task = self.handle.spawn(async move {
            let read = source.rows(&table_, &range, sender, &run).await;
            *home.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
            read
        });
        Ok(Stream {
            name: table.name.clone(),
            receiver,
            batch: RowBatch::default(),
            places: Vec::new(),
            at: 0,
            since_pace: 0,
            task: Some(task),
            handle: self.handle.clone(),
            pace: Arc::clone(&self.pace),
        })
    }

    /// Which of these ranges may have changed since the moment that `marks` are of. `None` when the server cannot tell.
    pub fn touched(
        &self,
        table: &Table,
        ranges: &[(KeyRange, u64)],
        marks: &std::collections::BTreeMap<String, String>,
    ) -> Result<Option<Vec<bool>>> {
        let mut source = self.take()?;
        let told = self.handle.block_on(source.touched(table, ranges, marks, &self.run));
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
        told
    }

    fn take(&self) -> Result<Source> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(busy)
    }
}

fn busy() -> Error {
    Error::internal("the live database is read twice at the same time")
}

/// The rows of one table, as they come.
pub struct Stream {
    name: TableName,
    receiver: RowReceiver,
    batch: RowBatch,
    /// Of each row in the batch: its key and its value.
    places: Vec<(Range<usize>, Range<usize>)>,
    at: usize,
    since_pace: u64,
    /// Until it has ended.
    task: Option<JoinHandle<Result<()>>>,
    handle: Handle,
    pace: Arc<Pace>,
}

impl Stream {
    /// Waits for the next batch. False at the end, which only the engine's own `Ok` makes one.
    fn next_batch(&mut self) -> Result<bool> {
        self.places.clear();
        self.at = 0;
        while self.places.is_empty() {
            let Some(batch) = self.receiver.blocking_recv() else { return self.end().map(|()| false) };
            self.batch = batch;
            let start = self.batch.bytes().as_ptr().addr();
            let place = |bytes: &[u8]| {
                let from = bytes.as_ptr().addr() - start;
                from..from + bytes.len()
            };
            for row in self.batch.iter() {
                let row = row?;
                self.places.push((place(row.key), place(row.value)));
            }
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<()> {
        let Some(task) = self.task.take() else { return Ok(()) };
        let read = self.handle.block_on(task).context(Kind::Internal, || format!("reading the rows of {}", self.name))?;
        read.map_err(|error| error.while_doing(format!("reading the rows of {}", self.name)))
    }
}

impl RowCursor for Stream {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        if self.at >= self.places.len() && (self.task.is_none() || !self.next_batch()?) {
            return Ok(None);
        }
        let (key, value) = &self.places[self.at];
        Ok(Some(RowRef { key: &self.batch.bytes()[key.clone()], value: &self.batch.bytes()[value.clone()] }))
    }

    fn advance(&mut self) -> Result<()> {
        if self.at >= self.places.len() && (self.task.is_none() || !self.next_batch()?) {
            return Ok(());
        }
        self.at += 1;
        self.since_pace += 1;
        if self.since_pace == PACE {
            self.pace.passed(std::mem::take(&mut self.since_pace))?;
        }
        Ok(())
    }
}

/// Given up before its end: the engine notices that nobody reads, and is waited for, so that its source is back.
impl Drop for Stream {
    fn drop(&mut self) {
        self.receiver.close();
        while self.receiver.try_recv().is_ok() {}
        if let Some(task) = self.task.take() {
            // Whoever gave up knows why.
            let _ = self.handle.block_on(task);
        }
    }
}

/// Slows the reading down to what was asked for.
struct Pace {
    rows_per_second: u64,
    /// When the first rows passed, and how many have since.
    begun: Mutex<Option<(Instant, u64)>>,
    telling: Arc<Telling>,
    run: Run,
}

impl Pace {
    fn passed(&self, rows: u64) -> Result<()> {
        self.telling.read(rows);
        if self.rows_per_second == 0 {
            return Ok(());
        }
        let (since, passed) = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let (since, passed) = begun.unwrap_or((Instant::now(), 0));
            *begun = Some((since, passed + rows));
            (since, passed + rows)
        };
        let due = since + Duration::from_secs_f64(passed as f64 / self.rows_per_second as f64);
        loop {
            self.run.check()?;
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            // In short pieces: a cancel is heard soon.
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}
