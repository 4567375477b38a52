//! The streams over and under an SSH session: what goes through it, and what it goes over.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use russh::{ChannelStream, client::Msg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    relay::BoxedStream,
    ssh::{Session, Tunnel},
};

/// A session in use; it goes back when the connection ends.
pub struct Lease {
    pub session: Option<Session>,
    pub tunnel: Arc<Tunnel>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.tunnel.keep(session);
        }
    }
}

/// A connection through a session. An end of the session is an error, not an end of the stream.
pub struct Passage {
    // Dropped, and so closed, before the session is given back.
    stream: ChannelStream<Msg>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    lease: Lease,
}

impl Passage {
    pub fn new(stream: ChannelStream<Msg>, lease: Lease) -> Self {
        let ended = lease.session.as_ref().map(|session| session.ended.clone()).unwrap_or_default();
        Self { stream, ended: Box::pin(ended.cancelled_owned()), lease }
    }

    fn check(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        std::task::ready!(self.ended.as_mut().poll(context));
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, self.lease.tunnel.how_it_ended()))
    }
}

impl AsyncRead for Passage {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let at_end = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
        if (read.is_pending() || at_end)
            && let Poll::Ready(error) = self.check(context)
        {
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl AsyncWrite for Passage {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(count)),
            Poll::Ready(Err(cause)) => Poll::Ready(Err(match self.check(context) {
                Poll::Ready(error) => error,
                Poll::Pending => cause,
            })),
            Poll::Pending => self.check(context).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.check(context).map(Err),
            ready => ready,
        }
    }
}

/// A connection that can be cut from outside.
pub struct Leashed {
    inner: BoxedStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Leashed {
    pub fn new(inner: BoxedStream, leash: CancellationToken) -> Self {
        Self { inner, cut: Box::pin(leash.cancelled_owned()) }
    }

    fn check<T>(&mut self, context: &mut Context<'_>, otherwise: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match otherwise {
            Poll::Pending => self.cut.as_mut().poll(context).map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
            ready => ready,
        }
    }
}

impl AsyncRead for Leashed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.check(context, read)
    }
}

impl AsyncWrite for Leashed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.check(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.check(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.check(context, shut)
    }
}
