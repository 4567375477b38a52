//! The byte streams that parts hand each other.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use crate::error::Result;

/// Bytes that arrive over time. An `Err` ends it: what came before must then not be kept.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Where an engine sends the plain bytes of a dump; `send` waits while the consumer is behind.
pub type ByteSender = mpsc::Sender<Bytes>;

/// Size of the pieces that producers send, in bytes.
pub const PIECE: usize = 256 * 1024;

/// Pieces that may wait between two stages: bounds memory at `PIECE * DEPTH` bytes per stage.
pub const DEPTH: usize = 8;

/// A bounded channel between a producer and the pipeline.
pub fn channel() -> (ByteSender, mpsc::Receiver<Bytes>) {
    mpsc::channel(DEPTH)
}
