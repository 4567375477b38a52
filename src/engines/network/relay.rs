//! The loopback end of a way: each connection to it is carried to the server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Protocol,
    certificates::LocalAuthority,
    dial,
    handshake::{mysql, postgres},
    owner,
    way::{Upstream, Way},
};
use crate::error::{Context as _, Error, Kind, Result};

/// Either side of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub type BoxedStream = Box<dyn Stream>;

/// Bytes held for each direction of a connection.
const BUFFER: usize = 128 * 1024;
/// Connections at a time: the most parallel jobs, twice.
const CONNECTIONS: usize = 160;
/// How long the first contact waits for its client: servers end those that do not log in.
const KEPT: Duration = Duration::from_secs(5);
/// How long a client of ours may take to say what it wants.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);
/// How long a PostgreSQL server may take to ask for a login: its own limit for the whole of it.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// What every connection shares.
struct Carrier {
    way: Arc<Way>,
    encrypted: bool,
    /// Clients speak TLS to the relay (MySQL).
    authority: Option<Arc<LocalAuthority>>,
    first: Mutex<Option<(Instant, Upstream)>>,
}

/// A listening relay. Dropping it ends it and every connection over it.
pub struct Relay {
    pub port: u16,
    _serving: AbortOnDropHandle<()>,
}

impl Relay {
    /// Listens on loopback. `first` is handed to the first client.
    pub async fn open(way: Arc<Way>, encrypted: bool, authority: Option<Arc<LocalAuthority>>, first: Option<Upstream>) -> Result<Self> {
        let failed = || "listening on 127.0.0.1".to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context(Kind::Internal, failed)?;
        let port = listener.local_addr().context(Kind::Internal, failed)?.port();
        let first = Mutex::new(first.map(|first| (Instant::now(), first)));
        let carrier = Arc::new(Carrier { way, encrypted, authority, first });
        Ok(Self { port, _serving: AbortOnDropHandle::new(tokio::spawn(serve(listener, carrier))) })
    }
}

async fn serve(listener: TcpListener, carrier: Arc<Carrier>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((client, peer)) => {
                    let carrier = carrier.clone();
                    connections.spawn(async move {
                        let mut client = client;
                        // Noted before the client sees its connection end, so that it is there to explain that.
                        if let Err(error) = carrier.carry(&mut client, peer).await {
                            carrier.way.note(error);
                        }
                    });
                }
                Err(cause) => {
                    // Out of file descriptors: connections that end give some back.
                    carrier.way.note(Error::new(Kind::Internal, format!("accepting a connection on loopback: {cause}")).retryable());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Carrier {
    /// Carries one client's connection to its end.
    async fn carry(&self, client: &mut TcpStream, peer: SocketAddr) -> Result<()> {
        let here = client.local_addr().context(Kind::Internal, || "a loopback connection".to_owned())?;
        let ours = tokio::task::spawn_blocking(move || owner::is_ours(peer, here)).await;
        let ours = ours.context(Kind::Internal, || "looking up a connection's owner".to_owned())?;
        if !ours.context(Kind::Internal, || "looking up a connection's owner".to_owned())? {
            // Not worth keeping: whoever it was must not be able to explain our own failures.
            tracing::warn!("a connection from {peer} to the way to {} was refused: it is not our own", self.way.server());
            return Ok(());
        }
        dial::prepare(client);
        let Some(authority) = &self.authority else {
            let mut upstream = self.upstream().await?;
            self.send_early(client, &upstream.early).await;
            if self.encrypted && self.way.protocol == Protocol::Postgres {
                match timeout(LOGIN_LIMIT, postgres::introduce(client, &mut upstream.stream)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(cause)) => return Err(self.broke(&cause)),
                    Err(_) => return Ok(()),
                }
            }
            return self.copy(client, upstream.stream).await;
        };
        let greeted = self.way.greeted().await?;
        self.send_early(client, &greeted.early).await;
        let asked = timeout(CLIENT_LIMIT, mysql::ssl_request(client)).await;
        let request = match asked {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) => {
                return Err(Error::internal("a client of the way spoke no TLS to it"));
            }
            // It has gone, or says nothing; it knows why.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        let upstream = self.way.secure(greeted.stream, &request).await?;
        let client = timeout(CLIENT_LIMIT, TlsAcceptor::from(authority.server.clone()).accept(client)).await;
        match client {
            Ok(Ok(mut client)) => self.copy(&mut client, upstream.stream).await,
            Ok(Err(cause)) => Err(Error::internal(format!("a client of the way broke off its TLS handshake: {cause}"))),
            Err(_) => Ok(()),
        }
    }

    async fn upstream(&self) -> Result<Upstream> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some((when, first)) if when.elapsed() < KEPT => Ok(first),
            _ => self.way.connect(self.encrypted).await,
        }
    }

    /// A client that has gone is noticed by the copying.
    async fn send_early(&self, client: &mut TcpStream, early: &[u8]) {
        if let Err(cause) = client.write_all(early).await {
            tracing::debug!("a client of the way to {} has gone: {cause}", self.way.server());
        }
    }

    /// Copies both ways until both sides have ended, or one broke. Errors when it was the server's.
    async fn copy(&self, client: &mut impl Stream, server: BoxedStream) -> Result<()> {
        let mut server = Watched { inner: server, ending: false, broke: None };
        // What breaks on the client's side is the client's own doing.
        let _ended = copy_bidirectional_with_sizes(client, &mut server, BUFFER, BUFFER).await;
        server.broke.map_or(Ok(()), |cause| Err(self.broke(&cause)))
    }

    fn broke(&self, cause: &io::Error) -> Error {
        let known = self.way.tlser.explain(cause);
        known.unwrap_or_else(|| {
            Error::new(Kind::Database, format!("the connection to {} broke: {cause}", self.way.server()))
                .hint("the logs of the server and of what stands before it may say why")
                .retryable()
        })
    }
}

/// The server's side: remembers how it broke, unless the client had finished.
struct Watched {
    inner: BoxedStream,
    ending: bool,
    broke: Option<io::Error>,
}

impl Watched {
    fn watch<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(cause)) = &done
            // An end without the ceremony of TLS says nothing that the client does not see.
            && cause.kind() != io::ErrorKind::UnexpectedEof
            && !self.ending
        {
            let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
            self.broke = Some(match inner {
                Some(tls) => io::Error::new(cause.kind(), tls),
                None => io::Error::new(cause.kind(), cause.to_string()),
            });
        }
        done
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.watch(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.watch(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ending = true;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
