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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::keyed;

    #[tokio::test]
    async fn rows_arrive_in_batches_until_the_sender_is_gone() {
        let (mut sender, mut receiver) = rows(&keyed("t")).unwrap();
        sender.flush().await.unwrap();
        let text = vec![b'x'; 100_000];
        let due: Vec<_> = (0..3).map(|id: u8| sender.push(&[Some(&[b'0' + id]), Some(&text)]).unwrap()).collect();
        assert_eq!((due, sender.rows()), (vec![false, false, true], 3));
        sender.flush().await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().rows(), 3);
        sender.push(&[Some(b"7"), None]).unwrap();
        let sender = tokio::task::spawn_blocking(move || {
            sender.blocking_flush().unwrap();
            sender.blocking_flush().unwrap();
            sender
        });
        let mut sender = sender.await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().iter().count(), 1);
        drop(receiver);
        sender.push(&[Some(b"8"), None]).unwrap();
        assert!(sender.flush().await.unwrap_err().to_string().contains("stopped reading"));
        sender.push(&[Some(b"9"), None]).unwrap();
        let error = tokio::task::spawn_blocking(move || sender.blocking_flush().unwrap_err());
        assert!(error.await.unwrap().to_string().contains("stopped reading"));
    }
}
