//! One server and the hops to it: connections to it are made here, the first one to find out how.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    Protocol, Route,
    certificates::shown,
    dial, forbidden,
    handshake::{
        mysql::{self, Opening},
        postgres::{self, Answer},
    },
    relay::BoxedStream,
    route::{Proxy, TlsMode, address},
    ssh::Tunnel,
    tls::{Failure, Secured, Tlser},
};
use crate::{
    domain::{database::TlsFacts, run::Run},
    error::{Error, Kind, Result},
};

/// How long a failure explains what came after it.
const FRESH: Duration = Duration::from_secs(120);

/// The way to one server.
pub struct Way {
    pub protocol: Protocol,
    host: String,
    port: u16,
    mode: TlsMode,
    limit: Duration,
    proxy: Option<Arc<Proxy>>,
    pub tunnel: Option<Arc<Tunnel>>,
    pub tlser: Tlser,
    /// The last failure, and when it was.
    failure: Mutex<Option<(Instant, Error)>>,
}

/// A connection to the server, or to its end of TLS.
pub struct Upstream {
    pub stream: BoxedStream,
    /// What the server has sent already, for the client.
    pub early: Vec<u8>,
}

impl Upstream {
    fn plain(stream: BoxedStream) -> Self {
        Self { stream, early: Vec::new() }
    }
}

impl From<Secured> for Upstream {
    fn from(secured: Secured) -> Self {
        Self { stream: Box::new(secured.stream), early: secured.early }
    }
}

/// What the first contact has found.
pub struct First {
    /// `None` when connections are not encrypted.
    pub tls: Option<TlsFacts>,
    /// The connection, where a client can go on with it.
    pub upstream: Option<Upstream>,
}

impl Way {
    pub fn new(route: &Route, protocol: Protocol, host: &str, port: u16, run: &Run) -> Result<Self> {
        let limit = route.connect_timeout;
        let tunnel = route.ssh.clone().map(|server| Arc::new(Tunnel::new(server, route.proxy.clone(), limit, run)));
        Ok(Self {
            protocol,
            mode: route.tls.mode,
            tlser: Tlser::new(&route.tls, host, &address(host, port), limit)?,
            host: host.to_owned(),
            port,
            limit,
            proxy: route.proxy.clone(),
            tunnel,
            failure: Mutex::new(None),
        })
    }

    /// `host:port` of the server.
    pub fn server(&self) -> String {
        address(&self.host, self.port)
    }

    /// Connects to the server, through whatever stands between.
    async fn dial(&self) -> Result<BoxedStream> {
        match &self.tunnel {
            Some(tunnel) => {
                forbidden::check_remote("the server", &self.host).await?;
                tunnel.open(&self.host, self.port).await
            }
            None => dial::connect("the server", &self.host, self.port, self.proxy.as_deref(), self.limit).await,
        }
    }

    /// The first contact: finds out whether there is TLS, and proves the server.
    pub async fn first(&self) -> Result<First> {
        let mut stream = self.dial().await?;
        match self.protocol {
            Protocol::Mysql => self.first_mysql(stream).await,
            _ if self.mode == TlsMode::Off => Ok(First { tls: None, upstream: Some(Upstream::plain(stream)) }),
            Protocol::Postgres => {
                if self.ask_postgres(&mut stream).await? {
                    self.first_secured(stream).await.map_err(Error::from)
                } else {
                    Ok(First { tls: None, upstream: Some(Upstream::plain(stream)) })
                }
            }
            Protocol::Mongodb => match self.first_secured(stream).await {
                // Such a server answers a TLS greeting with silence or an end; it has to be asked anew.
                Err(Failure::NoTls(_)) if self.mode == TlsMode::Prefer => {
                    Ok(First { tls: None, upstream: Some(Upstream::plain(self.dial().await?)) })
                }
                other => Ok(other?),
            },
        }
    }

    async fn first_secured(&self, stream: BoxedStream) -> Result<First, Failure> {
        let secured = self.tlser.connect(stream, true).await?;
        Ok(First { tls: Some(secured.facts.clone()), upstream: Some(secured.into()) })
    }

    /// A server takes the client's abilities from the request that begins TLS, and they are the client's own: what proves
    /// the server here is a connection for itself.
    async fn first_mysql(&self, mut stream: BoxedStream) -> Result<First> {
        let (packet, tls) = self.greeting(&mut stream).await?;
        match (self.mode, tls) {
            (TlsMode::Off, _) | (TlsMode::Prefer, false) => Ok(First { tls: None, upstream: Some(Upstream { stream, early: packet }) }),
            (_, false) => Err(self.no_tls()),
            (_, true) => {
                self.within("the request for TLS", stream.write_all(&mysql::own_ssl_request())).await?;
                let secured = self.tlser.connect(stream, true).await?;
                Ok(First { tls: Some(secured.facts), upstream: None })
            }
        }
    }

    /// Connects as the first contact did: encrypted, when it was.
    pub async fn connect(&self, encrypted: bool) -> Result<Upstream> {
        let mut stream = self.dial().await?;
        if !encrypted {
            return Ok(Upstream::plain(stream));
        }
        if self.protocol == Protocol::Postgres && !self.ask_postgres(&mut stream).await? {
            return Err(self.no_tls());
        }
        Ok(self.tlser.connect(stream, false).await?.into())
    }

    /// Connects to a MySQL server for a client that will ask for TLS; the server's greeting is in `early`.
    pub async fn greeted(&self) -> Result<Upstream> {
        let mut stream = self.dial().await?;
        let (early, tls) = self.greeting(&mut stream).await?;
        if tls { Ok(Upstream { stream, early }) } else { Err(self.no_tls()) }
    }

    /// Passes a MySQL client's request on and makes the handshake.
    pub async fn secure(&self, mut stream: BoxedStream, request: &[u8]) -> Result<Upstream> {
        self.within("the request for TLS", stream.write_all(request)).await?;
        Ok(self.tlser.connect(stream, false).await?.into())
    }

    /// True when the server begins TLS now; an error when it must and does not.
    async fn ask_postgres(&self, stream: &mut BoxedStream) -> Result<bool> {
        match self.within("the request for TLS", postgres::ask(stream)).await? {
            Answer::Willing => Ok(true),
            Answer::Unwilling if self.mode == TlsMode::Prefer => Ok(false),
            Answer::Unwilling => Err(self.no_tls()),
            Answer::Strange => Err(self.strange("PostgreSQL")),
        }
    }

    /// The server's greeting, and whether it offers TLS.
    async fn greeting(&self, stream: &mut BoxedStream) -> Result<(Vec<u8>, bool)> {
        match self.within("with a greeting", mysql::opening(stream)).await? {
            Opening::Greeting { packet, tls } => Ok((packet, tls)),
            Opening::Refusal { code, message } => Err(self.turned_away(code, &message)),
            Opening::Strange => Err(self.strange("MySQL or MariaDB")),
        }
    }

    async fn within<T>(&self, what: &str, step: impl Future<Output = io::Result<T>>) -> Result<T> {
        let server = self.server();
        match timeout(self.limit, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(cause)) => Err(Error::new(Kind::Database, format!("{server} did not answer {what}: {cause}"))
                .hint("check the port, and the server's log")
                .retryable()),
            Err(_) => Err(Error::new(Kind::Database, format!("{server} did not answer {what} in {} s", self.limit.as_secs()))
                .hint("check the port, and whether the server is overloaded")
                .retryable()),
        }
    }

    fn no_tls(&self) -> Error {
        Error::new(Kind::Database, format!("{} offers no TLS, and tlsMode is {}", self.server(), self.mode))
            .hint("switch TLS on in the server; on a network that you trust, set tlsMode to off")
    }

    fn strange(&self, kind: &str) -> Error {
        Error::new(Kind::Database, format!("{} does not answer as {kind} does", self.server())).hint("check host and port")
    }

    fn turned_away(&self, code: u16, message: &str) -> Error {
        let error = Error::new(Kind::Database, format!("{} turns this machine away: {} (error {code})", self.server(), shown(message)));
        match code {
            1040 | 1203 => error.hint("wait, or raise max_connections on the server").retryable(),
            1129 => error.hint("run FLUSH HOSTS, or TRUNCATE performance_schema.host_cache, on the server").retryable(),
            1130 => {
                error.hint("the server knows no user for the address that this connection comes from: see the host part of its accounts")
            }
            _ => error.retryable(),
        }
    }

    /// Keeps a failure that a driver or program cannot see.
    pub fn note(&self, error: Error) {
        tracing::debug!("the way to {} broke: {error}", self.server());
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error));
    }

    /// The error with what is known of the way when it happened.
    pub fn explain(&self, mut error: Error) -> Error {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, reason)) = failure.as_ref()
            && when.elapsed() < FRESH
            && !error.is_cancelled()
            && !error.context.contains(&reason.context)
        {
            error.context = format!("{}: {}", error.context, reason.context);
            error.hint = reason.hint.clone().or(error.hint);
            error.retryable = reason.retryable;
        }
        error
    }
}
