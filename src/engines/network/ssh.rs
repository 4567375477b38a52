//! An SSH server on the way: sessions with it, and connections through them (direct-tcpip, RFC 4254, 7.2).
//!
//! A session carries one connection at a time and is used again after it: in one session, a connection whose reader
//! pauses holds up all others, and a backup's reader may pause for what another connection has to answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use russh::{
    ChannelOpenFailure, Error as SshError,
    client::{self, DisconnectReason},
    keys::{Algorithm, PrivateKey},
};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    certificates::shown,
    dial,
    relay::BoxedStream,
    route::{Proxy, SshServer, address},
    ssh_key::{HostKey, private_key},
    ssh_login,
    ssh_stream::{Lease, Leashed, Passage},
};
use crate::{
    domain::{
        database::SshFacts,
        fields::SettingsExt,
        job::LogLevel,
        run::{Learned, Observer, Run},
    },
    error::{Error, Kind, Result},
};

/// What the server may send ahead of our reader, bytes: enough for a fast line around the world. Nothing is set aside
/// for it: past [`BUFFER`] it waits in the sockets.
const WINDOW: u32 = 16 * 1024 * 1024;
/// Packets (of up to 32 KiB) between a session and the reader of its connection.
const BUFFER: usize = 32;
/// Sessions kept for the next connection.
const IDLE: usize = 4;

/// The way through one SSH server.
pub struct Tunnel {
    server: Arc<SshServer>,
    proxy: Option<Arc<Proxy>>,
    limit: Duration,
    /// The server's key as the settings have it, or as it was first seen.
    pin: Mutex<Option<HostKey>>,
    idle: Mutex<Vec<Session>>,
    /// One login at a time: servers drop whoever opens many at once.
    login: tokio::sync::Mutex<Option<Arc<PrivateKey>>>,
    /// Why the last session ended, until somebody was told.
    lost: Arc<Mutex<Option<String>>>,
    learned: Learned,
    observer: Arc<dyn Observer>,
}

/// A session that is logged in.
pub struct Session {
    pub handle: client::Handle<Watch>,
    pub ended: CancellationToken,
    /// Cuts the connection under the session when it is dropped, whatever the session waits for.
    _leash: DropGuard,
}

impl Tunnel {
    pub fn new(server: Arc<SshServer>, proxy: Option<Arc<Proxy>>, limit: Duration, run: &Run) -> Self {
        // What an earlier way of the same run has seen counts as known.
        let learned = || run.learned.settings().text("sshHostKey").and_then(HostKey::read);
        Self {
            pin: Mutex::new(server.host_key.clone().or_else(learned)),
            server,
            proxy,
            limit,
            idle: Mutex::default(),
            login: tokio::sync::Mutex::default(),
            lost: Arc::default(),
            learned: run.learned.clone(),
            observer: run.observer.clone(),
        }
    }

    /// Opens a connection from the SSH server to `host:port`, in a session that is free or a new one.
    pub async fn open(self: &Arc<Self>, host: &str, port: u16) -> Result<BoxedStream> {
        loop {
            let free = self.locked(&self.idle).pop();
            let (session, kept) = match free {
                Some(session) if session.ended.is_cancelled() => continue,
                Some(session) => (session, true),
                None => (self.connect().await?, false),
            };
            let opening = session.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
            match timeout(self.limit, opening).await {
                Ok(Ok(channel)) => {
                    let lease = Lease { session: Some(session), tunnel: self.clone() };
                    return Ok(Box::new(Passage::new(channel.into_stream(), lease)));
                }
                // It had died while it was kept: the next one may live.
                Ok(Err(_)) if kept && session.ended.is_cancelled() => {}
                Ok(Err(cause)) => {
                    let error = self.not_opened(&cause, &address(host, port));
                    self.keep(session);
                    return Err(error);
                }
                Err(_) => {
                    let seconds = self.limit.as_secs();
                    return Err(Error::new(
                        Kind::Database,
                        format!("the SSH server {} opened no way to {} in {seconds} s", self.server, address(host, port)),
                    )
                    .hint("check host and port as the SSH server sees them, and the firewalls between the two")
                    .retryable());
                }
            }
        }
    }

    /// What is known of the server, with the round trip to it as measured now.
    pub async fn facts(&self) -> SshFacts {
        let session = self.locked(&self.idle).pop();
        let began = Instant::now();
        let mut latency = Duration::ZERO;
        if let Some(session) = session {
            if timeout(self.limit, session.handle.send_ping()).await.is_ok_and(|sent| sent.is_ok()) {
                latency = began.elapsed();
            }
            self.keep(session);
        }
        SshFacts {
            address: self.server.to_string(),
            host_key: self.locked(&self.pin).as_ref().map(ToString::to_string).unwrap_or_default(),
            host_key_known: self.server.host_key.is_some(),
            latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Logs in, so that what is wrong shows, and keeps the session for the first connection.
    pub async fn prepare(&self) -> Result<()> {
        let session = self.connect().await?;
        self.keep(session);
        Ok(())
    }

    /// Takes a session back for the next connection.
    pub fn keep(&self, session: Session) {
        let mut idle = self.locked(&self.idle);
        if idle.len() < IDLE && !session.ended.is_cancelled() {
            idle.push(session);
        }
    }

    /// For the error of a connection whose session ended.
    pub fn how_it_ended(&self) -> String {
        let why = self.locked(&self.lost).as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("the SSH session with {} ended{why}", self.server)
    }

    fn locked<'a, T>(&self, what: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        what.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Session> {
        let mut key = self.login.lock().await;
        if key.is_none() && self.server.key.is_some() {
            let server = self.server.clone();
            let read = tokio::task::spawn_blocking(move || private_key(&server)).await;
            *key = read.map_err(|_| Error::internal("reading sshKey was interrupted"))??;
        }
        let pin = self.locked(&self.pin).clone();
        let mut shown_first = None;
        for offer in HostKey::offers(pin.as_ref()) {
            match self.greet(offer, pin.as_ref()).await? {
                Greeting::Ready(mut session, seen) => {
                    if pin.is_none() {
                        self.learned.tell("sshHostKey", &seen.to_string());
                    }
                    // The key itself, so that its algorithm is asked for from now on.
                    *self.locked(&self.pin) = Some(seen);
                    let login = ssh_login::log_in(&mut session.handle, &self.server, key.clone());
                    match timeout(self.limit, login).await {
                        Ok(done) => done?,
                        Err(_) => return Err(self.silent("the login")),
                    }
                    if let Some(why) = self.locked(&self.lost).take() {
                        let message = format!("the SSH session with {} had ended ({why}): logged in again", self.server);
                        self.observer.log(LogLevel::Warn, &message);
                    }
                    return Ok(session);
                }
                Greeting::OtherKey(seen) => shown_first = shown_first.or(Some(seen)),
                Greeting::NothingInCommon => {}
            }
        }
        Err(match (pin, shown_first) {
            (Some(pin), Some(seen)) => Error::new(
                Kind::Database,
                format!("the SSH server {} shows the host key {seen}, and {pin} is the one that is known", self.server),
            )
            .hint(
                "somebody may be answering in its place: ask its administrator. If the server was set up anew, empty sshHostKey or set it to the new key",
            ),
            _ => Error::new(Kind::Database, format!("the SSH server {} has no host key of a kind that is still sound", self.server))
                .hint("it needs an Ed25519, ECDSA or RSA (with SHA-2) host key: update the server"),
        })
    }

    /// Everything before the login.
    async fn greet(&self, offer: Vec<Algorithm>, pin: Option<&HostKey>) -> Result<Greeting> {
        let stream = dial::connect("the SSH server", &self.server.host, self.server.port, self.proxy.as_deref(), self.limit).await?;
        let leash = CancellationToken::new();
        let stream = Leashed::new(stream, leash.clone());
        let ended = CancellationToken::new();
        let seen = Arc::new(Mutex::new(None));
        let watch = Watch { pin: pin.cloned(), seen: seen.clone(), lost: self.lost.clone(), _ended: ended.clone().drop_guard() };
        let leash = leash.drop_guard();
        let connecting = client::connect_stream(Arc::new(self.config(offer)), stream, watch);
        let connected = timeout(self.limit, connecting).await.map_err(|_| self.silent("the greeting"))?;
        let seen = self.locked(&seen).take();
        match (connected, seen) {
            (Ok(handle), Some(seen)) => Ok(Greeting::Ready(Session { handle, ended, _leash: leash }, seen)),
            (Err(SshError::UnknownKey), Some(seen)) => Ok(Greeting::OtherKey(seen)),
            (Err(SshError::NoCommonAlgo { kind: russh::AlgorithmKind::Key, .. }), _) => Ok(Greeting::NothingInCommon),
            (Err(cause), _) => Err(self.not_greeted(&cause)),
            (Ok(_), None) => Err(Error::internal("the SSH server's key was not shown")),
        }
    }

    fn config(&self, offer: Vec<Algorithm>) -> client::Config {
        let mut config = client::Config {
            window_size: WINDOW,
            channel_buffer_size: BUFFER,
            keepalive_interval: self.server.keep_alive,
            ..client::Config::default()
        };
        config.preferred.key = offer.into();
        // Much faster than the others on processors of these days.
        let ciphers = [russh::cipher::AES_256_GCM].into_iter();
        let others = config.preferred.cipher.iter().copied().filter(|cipher| *cipher != russh::cipher::AES_256_GCM);
        config.preferred.cipher = ciphers.chain(others).collect::<Vec<_>>().into();
        config
    }

    fn silent(&self, what: &str) -> Error {
        let seconds = self.limit.as_secs();
        Error::new(Kind::Database, format!("the SSH server {} did not answer {what} in {seconds} s", self.server))
            .hint("check sshHost and sshPort, and the server's load; connectTimeout is how long it is waited for")
            .retryable()
    }

    fn not_greeted(&self, cause: &SshError) -> Error {
        let error = |what: String| Error::new(Kind::Database, what);
        let server = &self.server;
        match cause {
            SshError::Version => error(format!("{server} does not speak SSH")).hint("check sshHost and sshPort"),
            SshError::NoCommonAlgo { kind, .. } => {
                error(format!("the SSH server {server} and DBSnap have no {kind:?} algorithm in common"))
                    .hint("the server offers only algorithms that are no longer sound: update it")
            }
            SshError::WrongServerSig | SshError::UnknownKey => {
                error(format!("the SSH server {server} could not prove its host key")).hint("ask its administrator")
            }
            SshError::IO(_) | SshError::Disconnect | SshError::HUP => {
                error(format!("the SSH server {server} closed the connection before the login: {}", shown(&cause.to_string())))
                    .hint("check sshHost and sshPort; the server's log may say why, such as too many logins at once")
                    .retryable()
            }
            other => error(format!("the SSH server {server} could not be spoken to: {}", shown(&other.to_string())))
                .hint("check that sshPort is an SSH server's, and the server's log"),
        }
    }

    fn not_opened(&self, cause: &SshError, target: &str) -> Error {
        let error = |what: String| Error::new(Kind::Database, what);
        let server = &self.server;
        match cause {
            SshError::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited) => {
                error(format!("the SSH server {server} forbids forwarding to {target}"))
                    .hint("allow it in the server's sshd_config: AllowTcpForwarding, PermitOpen, and the options of the key")
            }
            SshError::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => {
                error(format!("the SSH server {server} cannot reach {target}"))
                    .hint("check host and port as the SSH server sees them: localhost is the SSH server itself")
                    .retryable()
            }
            SshError::ChannelOpenFailure(other) => {
                error(format!("the SSH server {server} opened no way to {target}: {}", shown(&format!("{other:?}")))).retryable()
            }
            other => error(format!("the SSH session with {server} broke: {}", shown(&other.to_string()))).retryable(),
        }
    }
}

enum Greeting {
    Ready(Session, HostKey),
    /// Another key than the pinned one.
    OtherKey(HostKey),
    NothingInCommon,
}

/// Judges the server's key and notices the end of the session.
pub struct Watch {
    pin: Option<HostKey>,
    seen: Arc<Mutex<Option<HostKey>>>,
    lost: Arc<Mutex<Option<String>>>,
    _ended: DropGuard,
}

impl client::Handler for Watch {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &russh::keys::PublicKeyOrCertificate) -> Result<bool, SshError> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            // None was asked for.
            return Ok(false);
        };
        let key = HostKey::of(key);
        let is_known = self.pin.as_ref().is_none_or(|pin| pin.is(&key));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(is_known)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshError>) -> Result<(), SshError> {
        let why = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => shown(&info.message),
            DisconnectReason::Error(cause) => shown(&cause.to_string()),
        };
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(cause) => Err(cause),
        }
    }
}
