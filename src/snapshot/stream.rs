//! Rows on their way from an engine: encoded where they are read, handed on in batches through a bounded channel.

use tokio::sync::mpsc;

use super::{
    row::{Layout, RowBatch},
    schema::Table,
};
use crate::error::{Error, Kind, Result};

/// Bytes after which a batch is sent.
const BATCH: usize = 256 * 1024;
/// Batches that may wait.
const DEPTH: usize = 4;

/// Where an engine's rows arrive. The stream ends when the sender is gone: only the engine's own `Ok` says that it was whole.
pub type RowReceiver = mpsc::Receiver<RowBatch>;

/// Takes the rows of one table from an engine.
pub struct RowSender {
    layout: Layout,
    batch: RowBatch,
    key: Vec<u8>,
    value: Vec<u8>,
    rows: u64,
    out: mpsc::Sender<RowBatch>,
}

/// A channel for the rows of `table`.
pub fn rows(table: &Table) -> Result<(RowSender, RowReceiver)> {
    let (out, receiver) = mpsc::channel(DEPTH);
    let layout = Layout::of(table)?;
    Ok((RowSender { layout, batch: RowBatch::default(), key: Vec::new(), value: Vec::new(), rows: 0, out }, receiver))
}

impl RowSender {
    /// Takes one row: the cells of the stored columns. True when [`RowSender::flush`] is due.
    pub fn push(&mut self, cells: &[Option<&[u8]>]) -> Result<bool> {
        self.key.clear();
        self.value.clear();
        self.layout.encode(cells, &mut self.key, &mut self.value)?;
        self.batch.push(&self.key, &self.value);
        self.rows += 1;
        Ok(self.batch.bytes().len() >= BATCH)
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Hands on what has gathered; waits while the consumer is behind. Call it at the end too.
    pub async fn flush(&mut self) -> Result<()> {
        if self.batch.rows() == 0 {
            return Ok(());
        }
        self.out.send(std::mem::take(&mut self.batch)).await.map_err(|_| gone())
    }

    /// [`RowSender::flush`] on a thread where blocking is allowed.
    pub fn blocking_flush(&mut self) -> Result<()> {
        if self.batch.rows() == 0 {
            return Ok(());
        }
        self.out.blocking_send(std::mem::take(&mut self.batch)).map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::new(Kind::Backup, "whatever takes the rows has stopped reading them")
}
