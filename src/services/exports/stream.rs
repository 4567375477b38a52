//! Text that is made on a thread of its own, as a stream of bytes.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    domain::stream::{ByteStream, DEPTH},
    error::{Error, Kind, Result},
};

/// Bytes after which a piece is sent on.
const PIECE: usize = 64 * 1024;

/// Takes text piece by piece; waits while the reader is behind.
pub struct Out {
    text: String,
    sender: mpsc::Sender<Result<Bytes>>,
}

impl Out {
    /// The text that gathers; call [`Out::pass`] every now and then.
    pub fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// Sends on what has gathered, once it is enough. Errors when nobody reads any more.
    pub fn pass(&mut self) -> Result<()> {
        if self.text.len() < PIECE { Ok(()) } else { self.flush() }
    }

    pub fn push(&mut self, text: &str) -> Result<()> {
        self.text.push_str(text);
        self.pass()
    }

    fn flush(&mut self) -> Result<()> {
        let piece = std::mem::take(&mut self.text);
        let gone = |_| Error::new(Kind::Cancelled, "the reader of the file is gone");
        if piece.is_empty() { Ok(()) } else { self.sender.blocking_send(Ok(piece.into())).map_err(gone) }
    }
}

/// Runs `make` where blocking is allowed. An error of its is the end of the stream: what was read until then is not whole.
pub fn stream(make: impl FnOnce(&mut Out) -> Result<()> + Send + 'static) -> ByteStream {
    let (sender, receiver) = mpsc::channel(DEPTH);
    tokio::task::spawn_blocking(move || {
        let mut out = Out { text: String::new(), sender };
        if let Err(error) = make(&mut out).and_then(|()| out.flush()) {
            // Nobody to tell when the reader is gone.
            let _ = out.sender.blocking_send(Err(error));
        }
    });
    Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }))
}
