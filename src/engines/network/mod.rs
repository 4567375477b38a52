//! The way to a database server: TLS, an SSH tunnel, a proxy; one implementation for every network engine, for its
//! driver and for its client programs alike.
//!
//! Where the way is plain, drivers and programs connect to the server itself. Otherwise a [`Link`] listens on loopback
//! and carries each connection over the way; TLS ends in it, so that a server is proven by the same code whoever asks.

use std::{fmt, sync::Arc};

pub use self::route::{Route, TlsMode};
use self::{certificates::LocalAuthority, relay::Relay, way::Way};
use crate::{
    domain::{database::ConnectionFacts, run::Run},
    error::{Error, Result},
};

mod certificates;
mod contradictions;
mod dial;
pub mod fields;
mod forbidden;
mod handshake;
mod owner;
mod proxy;
mod relay;
mod route;
mod ssh;
mod ssh_key;
mod ssh_login;
mod ssh_stream;
mod tls;
pub mod url;
mod verify;
mod way;

/// How a connection of this kind of server turns to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// After an SSLRequest that the server answers with `S`.
    Postgres,
    /// After the server's greeting, by an SSLRequest packet.
    Mysql,
    /// From the first byte.
    Mongodb,
}

/// An open way to one server. Everything that it keeps open ends when it is dropped.
pub struct Link {
    host: String,
    port: u16,
    facts: ConnectionFacts,
    warnings: Vec<String>,
    carried: Option<Carried>,
}

/// What a way that is not plain keeps open.
struct Carried {
    way: Arc<Way>,
    authority: Option<Arc<LocalAuthority>>,
    _relay: Relay,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("host", &self.host).field("port", &self.port).field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Link {
    /// Opens the way and, unless it is plain, makes a first contact with the server: what cannot be reached or proven
    /// errors here, with the hop that failed named. A host that begins with `/` is the folder of a Unix socket: the way
    /// to it is plain.
    ///
    /// With `tlsMode` `prefer` the way is encrypted when the server says that it can be, and stays so for every later
    /// connection; a handshake that fails for another reason is an error, where libpq would go on without encryption.
    pub async fn open(route: &Route, protocol: Protocol, host: &str, port: u16, run: &Run) -> Result<Self> {
        let plain = |warnings| Self { host: host.to_owned(), port, facts: ConnectionFacts::default(), warnings, carried: None };
        if host.starts_with('/') {
            route.check_unix_socket()?;
            return Ok(plain(Vec::new()));
        }
        if !route.has_hops() && route.tls_mode() == TlsMode::Off {
            // A name that is not known is the driver's to tell.
            let _known = run.until_cancelled(forbidden::resolve("the host", host, port)).await?;
            return Ok(plain(Vec::new()));
        }
        run.check()?;
        let way = Arc::new(Way::new(route, protocol, host, port, run)?);
        let opening = async {
            let ssh = match &way.tunnel {
                Some(tunnel) => {
                    tunnel.prepare().await?;
                    Some(tunnel.facts().await)
                }
                None => None,
            };
            Ok((ssh, way.first().await?))
        };
        let (ssh, first) = run.until_cancelled(opening).await?;
        if !route.has_hops() && first.tls.is_none() {
            return Ok(plain(Vec::new()));
        }
        let speaks_tls = protocol == Protocol::Mysql && first.tls.is_some();
        let authority = if speaks_tls { Some(Arc::new(LocalAuthority::new()?)) } else { None };
        let relay = Relay::open(way.clone(), first.tls.is_some(), authority.clone(), first.upstream).await?;
        Ok(Self {
            host: "127.0.0.1".to_owned(),
            port: relay.port,
            warnings: first.tls.as_ref().map(|facts| way.tlser.warnings(facts)).unwrap_or_default(),
            facts: ConnectionFacts { tls: first.tls, ssh, proxy: route.proxy.as_ref().map(ToString::to_string) },
            carried: Some(Carried { way, authority, _relay: relay }),
        })
    }

    /// Where drivers and programs connect: the server's own host, or a loopback address. Only processes of the user that
    /// this one runs as are let in there.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority (PEM) of the TLS that a MySQL client must speak to this link. `None` when it must speak
    /// none: to a server itself without TLS, and to every link of another protocol.
    pub fn local_authority(&self) -> Option<&str> {
        Some(&self.carried.as_ref()?.authority.as_ref()?.pem)
    }

    /// What is known of the way.
    pub fn facts(&self) -> ConnectionFacts {
        self.facts.clone()
    }

    /// What will stop working soon, such as a certificate that expires within two weeks.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The error as the link knows it: a driver sees only that a connection broke where the link knows why.
    pub fn explain(&self, error: Error) -> Error {
        match &self.carried {
            Some(carried) => carried.way.explain(error),
            None => error,
        }
    }
}
