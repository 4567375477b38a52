//! Packs documents into the archive. It runs beside the reading, so that the server's next answer is on its way while
//! the last one is summed and sent.

use bytes::Bytes;
use mongodb::{bson::RawBsonRef, raw_batch_cursor::RawBatch};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::archive::{BlockHeader, Crc64, TERMINATOR};
use crate::{
    domain::{
        run::Run,
        stream::{ByteSender, PIECE},
    },
    error::{Error, Kind, Result},
};

/// Parts that may wait to be packed; a batch may hold 16 MiB.
const WAITING: usize = 1;

/// What goes into an archive, in order.
pub enum Part {
    /// Bytes of the prelude.
    Raw(Vec<u8>),
    /// The collection whose documents follow.
    Collection { db: String, collection: String },
    /// Documents as the server sent them.
    Documents(RawBatch),
    /// The end of the collection.
    End,
}

/// Where parts go. Dropping it without [`Packer::finish`] cuts the archive off.
pub struct Packer {
    parts: mpsc::Sender<Part>,
    task: AbortOnDropHandle<Result<u64>>,
}

impl Packer {
    pub fn new(out: ByteSender, run: &Run) -> Self {
        let (parts, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn({
            let run = run.clone();
            async move { run.until_cancelled(pack(waiting, out)).await }
        });
        Self { parts, task: AbortOnDropHandle::new(task) }
    }

    /// Waits while packing is behind. Errors when the archive is no longer wanted.
    pub async fn part(&mut self, part: Part) -> Result<()> {
        match self.parts.send(part).await {
            Ok(()) => Ok(()),
            Err(_) => Err(match (&mut self.task).await {
                Ok(Err(error)) => error,
                Ok(Ok(_)) => Error::internal("packing an archive ended early"),
                Err(cause) => Error::internal(format!("packing an archive: {cause}")),
            }),
        }
    }

    /// Sends what is left; the bytes of the archive.
    pub async fn finish(self) -> Result<u64> {
        drop(self.parts);
        self.task.await.map_err(|cause| Error::internal(format!("packing an archive: {cause}")))?
    }
}

struct Sending {
    out: ByteSender,
    piece: Vec<u8>,
    sent: u64,
}

impl Sending {
    async fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sent += piece.len() as u64;
        let sent = self.out.send(Bytes::from(piece)).await;
        sent.map_err(|_| Error::new(Kind::Backup, "the archive is no longer wanted"))
    }
}

async fn pack(mut parts: mpsc::Receiver<Part>, out: ByteSender) -> Result<u64> {
    let mut sending = Sending { out, piece: Vec::with_capacity(PIECE), sent: 0 };
    let mut current: Option<(BlockHeader, Crc64)> = None;
    while let Some(part) = parts.recv().await {
        match part {
            Part::Raw(bytes) => sending.put(&bytes).await?,
            Part::Collection { db, collection } => {
                let header = BlockHeader { db, collection, end: None };
                sending.put(header.to_bson().as_bytes()).await?;
                current = Some((header, Crc64::default()));
            }
            Part::Documents(batch) => {
                let Some((_, sum)) = &mut current else { return Err(Error::internal("documents outside a collection")) };
                let malformed =
                    |cause: &dyn std::fmt::Display| Error::new(Kind::Database, format!("the server sent a malformed batch: {cause}"));
                for document in batch.doc_slices().map_err(|cause| malformed(&cause))? {
                    let RawBsonRef::Document(document) = document.map_err(|cause| malformed(&cause))? else {
                        return Err(malformed(&"it holds what is no document"));
                    };
                    sum.update(document.as_bytes());
                    sending.put(document.as_bytes()).await?;
                }
            }
            Part::End => {
                let Some((header, sum)) = current.take() else { return Err(Error::internal("the end of no collection")) };
                sending.put(&TERMINATOR).await?;
                sending.put(BlockHeader { end: Some(sum.value()), ..header }.to_bson().as_bytes()).await?;
                sending.put(&TERMINATOR).await?;
            }
        }
    }
    if !sending.piece.is_empty() {
        sending.flush().await?;
    }
    Ok(sending.sent)
}
