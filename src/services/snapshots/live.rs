//! Rows of a live database as a cursor: as they come where they come in order, sorted where they do not.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::{
    domain::run::Run,
    engines::{self, KeyRange, RowSource},
    error::{Error, Kind, Result},
    snapshot::{Key, RowBatch, RowCursor, RowReceiver, RowRef, RowSender, Sorted, Sorter, Table, TableName, rows, take_row},
};

/// The engine's side of one table's rows, to be given to [`feed`].
pub struct Feed {
    sender: RowSender,
    whole: oneshot::Sender<()>,
}

/// Ordered rows of one table of a live database. Its reads block: it is for threads where that is allowed.
///
/// It ends well only when the engine said that every row was sent.
pub struct LiveCursor {
    state: State,
    table: TableName,
    order: engines::Order,
    keyless: bool,
    folder: PathBuf,
    run: Run,
    broke_off: Arc<AtomicBool>,
}

enum State {
    /// Rows still arrive.
    Arriving(Arriving),
    /// All of them have arrived, and are sorted.
    Sorted(Box<Sorted>),
    /// Taken while one state becomes another, and after an error.
    Broken,
}

struct Arriving {
    receiver: RowReceiver,
    whole: Option<oneshot::Receiver<()>>,
    batch: RowBatch,
    /// The row it stands before, and what follows it, in `batch`.
    at: usize,
    /// The key of the last row of the batch before.
    last: Vec<u8>,
    over: bool,
    broke_off: Arc<AtomicBool>,
}

/// A channel for the rows of `table`, which will come in `order`. Rows that have to be sorted spill into `run.scratch`.
pub fn live(table: &Table, order: engines::Order, run: &Run) -> Result<(Feed, LiveCursor)> {
    let (sender, receiver) = rows(table)?;
    let (whole, is_whole) = oneshot::channel();
    let broke_off = Arc::new(AtomicBool::new(false));
    let arriving = Arriving {
        receiver,
        whole: Some(is_whole),
        batch: RowBatch::default(),
        at: 0,
        last: Vec::new(),
        over: false,
        broke_off: broke_off.clone(),
    };
    // Equal rows without a key come wherever they are: only sorting brings them together.
    let keyless = matches!(table.key, Key::Row);
    let order = if keyless { engines::Order::Any } else { order };
    let cursor = LiveCursor {
        state: State::Arriving(arriving),
        table: table.name.clone(),
        order,
        keyless,
        folder: run.scratch.clone(),
        run: run.clone(),
        broke_off,
    };
    Ok((Feed { sender, whole }, cursor))
}

/// Sends the rows of a table to the cursor of `feed`, while it is read on another thread.
pub async fn feed(source: &mut dyn RowSource, table: &Table, range: &KeyRange, feed: Feed, run: &Run) -> Result<()> {
    source.rows(table, range, feed.sender, run).await?;
    // A cursor that is gone needs to know nothing.
    let _ = feed.whole.send(());
    Ok(())
}

impl LiveCursor {
    /// True when the rows ended without the engine's word that they are all: the engine's own error is the cause.
    pub fn broke_off(&self) -> bool {
        self.broke_off.load(Ordering::Relaxed)
    }

    /// Takes every row into a sorter, and reads from there on.
    fn sort(&mut self) -> Result<()> {
        let State::Arriving(mut arriving) = std::mem::replace(&mut self.state, State::Broken) else {
            return Err(broken(&self.table));
        };
        let mut sorter = Sorter::new(&self.folder, Sorter::MEMORY, &self.table, self.keyless);
        while arriving.receive(&self.table, &self.run)? {
            for row in arriving.batch.iter() {
                sorter.push(row?)?;
            }
        }
        let sorted = sorter.finish().map_err(|error| error.while_doing(format!("sorting the rows of {}", self.table)))?;
        self.state = State::Sorted(Box::new(sorted));
        Ok(())
    }
}

impl RowCursor for LiveCursor {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        if self.order == engines::Order::Any && matches!(self.state, State::Arriving(_)) {
            self.sort()?;
        }
        match &mut self.state {
            State::Arriving(arriving) => arriving.peek(&self.table, &self.run),
            State::Sorted(sorted) => sorted.peek(),
            State::Broken => Err(broken(&self.table)),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match &mut self.state {
            State::Arriving(arriving) => arriving.advance(&self.table),
            State::Sorted(sorted) => sorted.advance(),
            State::Broken => Err(broken(&self.table)),
        }
    }
}

impl Arriving {
    /// Waits for the next batch. False at the end, which is one only when the engine said so.
    fn receive(&mut self, table: &TableName, run: &Run) -> Result<bool> {
        self.at = 0;
        if self.over {
            return Ok(false);
        }
        loop {
            run.check()?;
            match self.receiver.blocking_recv() {
                Some(batch) if batch.rows() == 0 => {}
                Some(batch) => {
                    self.batch = batch;
                    return Ok(true);
                }
                None => break,
            }
        }
        self.batch.clear();
        match self.whole.take().map(oneshot::Receiver::blocking_recv) {
            Some(Ok(())) => self.over = true,
            _ => {
                self.broke_off.store(true, Ordering::Relaxed);
                run.check()?;
                return Err(Error::new(Kind::Backup, format!("the rows of {table} broke off")).hint("the cause is told by what reads them"));
            }
        }
        Ok(false)
    }

    fn peek(&mut self, table: &TableName, run: &Run) -> Result<Option<RowRef<'_>>> {
        if self.at >= self.batch.bytes().len() && !self.receive(table, run)? {
            return Ok(None);
        }
        take_row(&self.batch.bytes()[self.at..]).map(|(row, _)| Some(row))
    }

    fn advance(&mut self, table: &TableName) -> Result<()> {
        let bytes = self.batch.bytes();
        let (row, rest) = take_row(&bytes[self.at..])?;
        if !self.last.is_empty() && row.key <= &self.last[..] {
            return Err(Error::internal(format!("the rows of {table} do not come in the order of their keys")));
        }
        self.last.clear();
        self.last.extend_from_slice(row.key);
        self.at = bytes.len() - rest.len();
        Ok(())
    }
}

fn broken(table: &TableName) -> Error {
    Error::internal(format!("the rows of {table} are read on after an error"))
}
