//! The ways to a server. The whole suite runs over each of them.

use std::{path::PathBuf, sync::OnceLock};

use async_trait::async_trait;
use dbsnap::{
    domain::{
        database::{ConnectionFacts, Settings},
        fields::validate,
    },
    engines::Engine,
};
use serde_json::{Value, json};

use super::{everywhere, home::Home, operations::Bench};
use crate::support::{
    proxies::{self, Kind, Proxy},
    ssh, tls,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// verify-full.
    Tls,
    /// The same, and the server lets the account in with a client certificate only.
    MutualTls,
    Ssh,
    Socks5,
    Http,
    /// Mutual TLS, through an SSH server that a SOCKS5 proxy leads to.
    All,
}

pub const WAYS: [Way; 6] = [Way::Tls, Way::MutualTls, Way::Ssh, Way::Socks5, Way::Http, Way::All];

impl Way {
    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::MutualTls | Self::All)
    }

    fn shows_certificate(self) -> bool {
        matches!(self, Self::MutualTls | Self::All)
    }

    fn has_ssh(self) -> bool {
        matches!(self, Self::Ssh | Self::All)
    }

    fn proxy(self) -> Option<Kind> {
        match self {
            Self::Socks5 | Self::All => Some(Kind::Socks5),
            Self::Http => Some(Kind::Http),
            _ => None,
        }
    }

    /// The settings of this way, besides where the server is.
    fn settings(self) -> Value {
        let mut settings = json!({"tlsMode": "off"});
        if self.is_encrypted() {
            settings["tlsMode"] = "verify-full".into();
            settings["tlsCa"] = tls::AUTHORITY.certificate.clone().into();
        }
        if self.shows_certificate() {
            let identity = identity();
            settings["tlsCert"] = identity.certificate.clone().into();
            settings["tlsKey"] = identity.key.clone().into();
        }
        if self.has_ssh() {
            let server = ssh::shared();
            settings["sshHost"] = "127.0.0.1".into();
            settings["sshPort"] = server.port.into();
            settings["sshUser"] = ssh::USER.into();
            settings["sshKey"] = ssh::keys().ed25519.clone().into();
            settings["sshHostKey"] = server.fingerprint().into();
        }
        if let Some(kind) = self.proxy() {
            settings["proxyType"] = if kind == Kind::Http { "http" } else { "socks5" }.into();
            settings["proxyHost"] = "127.0.0.1".into();
            settings["proxyPort"] = proxy(kind).port.into();
            settings["proxyUser"] = proxies::USER.into();
            settings["proxyPassword"] = proxies::PASSWORD.into();
        }
        settings
    }
}

/// What accounts show that the servers want a certificate of.
fn identity() -> &'static tls::Identity {
    static IDENTITY: OnceLock<tls::Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| tls::AUTHORITY.client("certified"))
}

fn proxy(kind: Kind) -> &'static Proxy {
    static PROXIES: [OnceLock<Proxy>; 2] = [const { OnceLock::new() }; 2];
    PROXIES[kind as usize].get_or_init(|| Proxy::start(kind, true))
}

/// A home that is reached another way. What the suite itself sees of it, it sees directly.
pub struct Reached {
    pub inner: Box<dyn Home>,
    pub way: Way,
}

impl Reached {
    fn over_the_way(&self, mut settings: Settings) -> Settings {
        if self.way.is_encrypted() {
            self.inner.encrypt(&mut settings, self.way.shows_certificate());
        }
        settings.extend(self.way.settings().as_object().unwrap().clone());
        validate(self.engine().info().connection, &settings).unwrap()
    }
}

#[async_trait]
impl Home for Reached {
    fn label(&self) -> String {
        format!("{} over {:?}", self.inner.label(), self.way)
    }

    fn engine(&self) -> &'static dyn Engine {
        self.inner.engine()
    }

    fn settings(&self, database: &str) -> Settings {
        self.over_the_way(self.inner.settings(database))
    }

    fn tool_dirs(&self) -> Vec<PathBuf> {
        self.inner.tool_dirs()
    }

    async fn make(&self, purpose: &str) -> String {
        self.inner.make(purpose).await
    }

    async fn make_heavy(&self, database: &str, megabytes: u32) {
        self.inner.make_heavy(database, megabytes).await;
    }

    async fn add_table(&self, database: &str, table: &str) {
        self.inner.add_table(database, table).await;
    }

    fn odd_tables(&self) -> Vec<&'static str> {
        self.inner.odd_tables()
    }

    fn odd_copy(&self, database: &str) -> String {
        self.inner.odd_copy(database)
    }

    async fn contents(&self, database: &str) -> Vec<(String, Vec<String>)> {
        self.inner.contents(database).await
    }

    async fn names(&self, prefix: &str) -> Vec<String> {
        self.inner.names(prefix).await
    }

    async fn remove(&self, database: &str) {
        self.inner.remove(database).await;
    }

    fn target(&self, database: &str) -> String {
        self.inner.target(database)
    }

    async fn of_its_own(&self) -> Option<Box<dyn Home>> {
        let inner = self.inner.of_its_own().await?;
        Some(Box::new(Self { inner, way: self.way }))
    }

    fn kill(&self) {
        self.inner.kill();
    }

    fn at_port(&self, database: &str, port: u16) -> Option<Settings> {
        self.inner.at_port(database, port).map(|settings| self.over_the_way(settings))
    }
}

#[tokio::test]
async fn a_probe_tells_the_way_it_took() {
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("way").await;
        let settings = home.settings(&database);
        let probe = home.engine().probe(&settings, &Bench::new(home).run).await.unwrap_or_else(|error| panic!("{}: {error}", home.label()));
        let Some(ConnectionFacts { tls, ssh, proxy }) = probe.connection else { continue };
        let wanted = |name: &str| settings.get(name).is_some_and(|value| value != "none");
        match settings["tlsMode"].as_str().unwrap() {
            "verify-full" => {
                let tls = tls.unwrap_or_else(|| panic!("{}: no TLS", home.label()));
                assert_eq!(tls.verified, "authority and name", "{}: {tls:?}", home.label());
                assert!(tls.version.starts_with("TLS 1.") && tls.expires_at.is_some(), "{}: {tls:?}", home.label());
                assert_eq!(tls.client_certificate, wanted("tlsCert"), "{}: {tls:?}", home.label());
            }
            "off" => assert_eq!(tls, None, "{}", home.label()),
            // Where the server has it.
            "prefer" => assert!(tls.is_none_or(|tls| tls.verified == "nothing"), "{}", home.label()),
            mode => panic!("{}: {mode} is not expected", home.label()),
        }
        assert_eq!(ssh.is_some(), wanted("sshHost"), "{}: {ssh:?}", home.label());
        if let Some(ssh) = ssh {
            assert!(ssh.host_key_known && ssh.host_key.starts_with("SHA256:"), "{}: {ssh:?}", home.label());
        }
        assert_eq!(proxy.is_some(), wanted("proxyType"), "{}: {proxy:?}", home.label());
        assert!(proxy.is_none_or(|proxy| !proxy.contains(proxies::PASSWORD)), "{}", home.label());
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let stranger = tls::Authority::new("a stranger").certificate;
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("stranger").await;
        let mut settings = home.settings(&database);
        if settings.get("tlsCa").is_none() {
            continue;
        }
        settings.insert("tlsCa".into(), stranger.clone().into());
        let error = home.engine().probe(&settings, &Bench::new(home).run).await.unwrap_err();
        assert!(!error.retryable && error.hint.is_some() && error.to_string().contains("certificate"), "{}: {error}", home.label());
    }
}
