//! The bounded channel from a worker thread to whoever reads its stream.
//!
//! A stream ends well only when its worker said so: a worker that panicked, or stopped for another reason, shows as an
//! `Err`, never as an early end.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    domain::stream::{ByteStream, DEPTH},
    error::{Error, Result},
};

/// `Ok(None)` is the proper end.
type Item = Result<Option<Bytes>>;

/// The worker's side.
#[derive(Clone)]
pub(super) struct Outlet(mpsc::Sender<Item>);

/// The reader's side, where the reader is a worker too.
pub(super) struct Inlet(mpsc::Receiver<Item>);

/// The reader went away; its own error says why.
pub(super) struct ReaderGone;

pub(super) fn relay() -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    (Outlet(sender), Inlet(receiver))
}

impl Outlet {
    /// Waits while the reader is behind. On a thread that may block.
    pub fn send(&self, bytes: Bytes) -> Result<(), ReaderGone> {
        self.give(Ok(Some(bytes)))
    }

    pub fn end(&self) -> Result<(), ReaderGone> {
        self.give(Ok(None))
    }

    /// Ends the stream with a copy of `error`.
    pub fn fail(&self, error: &Error) {
        // When the reader is gone nobody is left to tell.
        let _ = self.give(Err(copy(error)));
    }

    /// Resolves when the reader went away.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Hands on a whole stream, up to its end, its first error, or until `stop` resolves.
    pub async fn pump(self, mut from: ByteStream, stop: Outlet) {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.closed() => return,
                next = from.next() => next.transpose(),
            };
            let over = !matches!(next, Ok(Some(_)));
            if self.0.send(next).await.is_err() || over {
                return;
            }
        }
    }

    fn give(&self, item: Item) -> Result<(), ReaderGone> {
        self.0.blocking_send(item).map_err(|_| ReaderGone)
    }
}

impl Inlet {
    /// The next bytes; `None` at the proper end. On a thread that may block.
    pub fn next(&mut self) -> Item {
        self.0.blocking_recv().unwrap_or_else(|| Err(vanished()))
    }

    pub fn into_stream(self) -> ByteStream {
        Box::pin(stream::unfold(Some(self), |inlet| async {
            let mut inlet = inlet?;
            match inlet.0.recv().await.unwrap_or_else(|| Err(vanished())) {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(inlet))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// What a worker thread returned; a panic in it is an error.
pub(super) async fn join<T>(worker: JoinHandle<Result<T>>) -> Result<T> {
    worker.await.unwrap_or_else(|panic| Err(Error::internal("a pipeline thread stopped").source(panic)))
}

/// An error is told twice: to whoever waits for the worker, and to whoever reads its bytes.
fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.kind, error.to_string());
    copy.retryable = error.retryable;
    copy
}

fn vanished() -> Error {
    Error::internal("a pipeline thread stopped before the end of its bytes")
}
