//! Plain bytes to stored bytes: digest, tap, compress, encrypt, digest.
//!
//! Two threads share the work: one hashes the plain bytes and shows them to the tap, the other compresses, encrypts
//! and hashes what is stored.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use super::{
    compress::Compressor,
    digest::Digest,
    encrypt::Protector,
    keys::MasterKey,
    layers::{Plain, Stored},
    relay::{Inlet, Outlet, ReaderGone, join, relay},
};
use crate::{
    domain::{compression::Compression, stream::ByteStream},
    error::{Error, Kind, Result},
};

/// How an artifact is stored.
#[derive(Debug, Clone)]
pub struct SealSpec {
    pub compression: Compression,
    /// Lets zstd use two threads of its own: for high levels on machines with cores to spare.
    pub multi_thread: bool,
    /// `None` stores it unencrypted.
    pub key: Option<Arc<MasterKey>>,
}

/// What was sealed. Sizes in bytes, digests in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub plain_size: u64,
    pub stored_size: u64,
    pub plain_sha256: String,
    pub stored_sha256: String,
}

/// Sees the plain bytes as they pass, on a thread of the pipeline. An `Err` ends the stream with that error.
pub trait Tap: Send {
    fn feed(&mut self, plain: &[u8]) -> Result<()>;
    /// The dump is complete. Not called when it was not committed.
    fn finish(&mut self) -> Result<()>;
}

/// Keeps nothing.
impl Tap for () {
    fn feed(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Seals the pieces of `input`. When it closes, the last bytes wait for `commit`: only the one who made the dump knows
/// whether it is whole. A `commit` sender dropped unused ends the stream with an `Err`, so a store never completes half
/// a dump. The handle gives the sizes and digests, or the first error; it resolves once both threads have ended, which
/// they also do when the stream is dropped.
///
/// Must be called within a tokio runtime.
pub fn seal(
    input: mpsc::Receiver<Bytes>,
    commit: oneshot::Receiver<()>,
    spec: SealSpec,
    tap: Box<dyn Tap>,
) -> (ByteStream, JoinHandle<Result<Sealed>>) {
    let (plain_out, plain_in) = relay();
    let (stored_out, stored_in) = relay();
    let reader = Reader { input, open: true, commit, committed: false, next: plain_out, last: stored_out.clone() };
    let runtime = Handle::current();
    let reading = spawn_blocking(move || reader.run(&runtime, tap));
    let storing = spawn_blocking(move || store(plain_in, &stored_out, &spec));
    let sealing = tokio::spawn(async move {
        let (read, stored) = tokio::join!(join(reading), join(storing));
        // The reader comes first in the stream: when it failed, the other fails for that reason.
        let plain = read?;
        let (stored_size, stored_sha256) = stored?;
        let (plain_size, plain_sha256) = plain.ok_or_else(reader_gone)?;
        Ok(Sealed { plain_size, stored_size, plain_sha256, stored_sha256 })
    });
    (stored_in.into_stream(), sealing)
}

/// The first thread.
struct Reader {
    input: mpsc::Receiver<Bytes>,
    open: bool,
    commit: oneshot::Receiver<()>,
    committed: bool,
    /// To the second thread.
    next: Outlet,
    /// The end of the pipeline, watched so that a hanging dump does not keep this thread when nobody reads any more.
    last: Outlet,
}

impl Reader {
    /// Size and SHA-256 of the plain bytes; `None` when the second thread ended early, whose error then counts.
    fn run(mut self, runtime: &Handle, mut tap: Box<dyn Tap>) -> Result<Option<(u64, String)>> {
        let done = self.read(runtime, &mut *tap);
        if let Err(error) = &done {
            self.next.fail(error);
        }
        done
    }

    fn read(&mut self, runtime: &Handle, tap: &mut dyn Tap) -> Result<Option<(u64, String)>> {
        let mut digest = Digest::default();
        while let Some(piece) = runtime.block_on(self.next_piece())? {
            if self.next.send(piece.clone()).is_err() {
                return Ok(None);
            }
            digest.update(&piece);
            tap.feed(&piece)?;
        }
        tap.finish()?;
        Ok(self.next.end().is_ok().then(|| digest.finish()))
    }

    /// `None` once the input is closed and committed.
    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        while self.open || !self.committed {
            tokio::select! {
                biased;
                () = self.last.closed() => return Err(reader_gone()),
                committed = &mut self.commit, if !self.committed => match committed {
                    Ok(()) => self.committed = true,
                    Err(_) => return Err(Error::new(Kind::Backup, "the dump was given up before its end")),
                },
                piece = self.input.recv(), if self.open => match piece {
                    Some(piece) => return Ok(Some(piece)),
                    None => self.open = false,
                },
            }
        }
        Ok(None)
    }
}

/// The second thread. Size and SHA-256 of the stored bytes.
fn store(plain: Inlet, out: &Outlet, spec: &SealSpec) -> Result<(u64, String)> {
    let mut digest = Digest::default();
    let done = transform(plain, spec, &mut |Stored(bytes)| {
        digest.update(&bytes);
        out.send(bytes).map_err(|ReaderGone| reader_gone())
    });
    match done.and_then(|()| out.end().map_err(|ReaderGone| reader_gone())) {
        Ok(()) => Ok(digest.finish()),
        Err(error) => {
            out.fail(&error);
            Err(error)
        }
    }
}

fn transform(mut plain: Inlet, spec: &SealSpec, sink: &mut dyn FnMut(Stored) -> Result<()>) -> Result<()> {
    let mut compressor = Compressor::new(spec.compression, spec.multi_thread)?;
    let mut protector = Protector::new(spec.key.as_deref());
    let mut protect = |compressed: super::layers::Compressed<'_>| {
        protector.push(compressed);
        protector.take().map_or(Ok(()), &mut *sink)
    };
    while let Some(piece) = plain.next()? {
        compressor.push(&Plain(piece), &mut protect)?;
    }
    compressor.finish(&mut protect)?;
    sink(protector.finish())
}

fn reader_gone() -> Error {
    Error::new(Kind::Backup, "the store stopped reading before the end of the dump")
}
