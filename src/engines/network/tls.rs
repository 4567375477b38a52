//! TLS to a server: one handshake with what the settings say, and the facts of it.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    sign::CertifiedKey,
};
use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};
use tokio::{io::AsyncReadExt, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    certificates::{Facts, VERSIONS, day, provider, shown},
    relay::BoxedStream,
    route::{Tls, TlsMode},
    verify::{Setting, Verifier, refused},
};
use crate::{
    domain::{database::TlsFacts, time::Moment},
    error::{Error, Kind, Result},
};

/// A certificate that ends within this time is worth a warning.
const SOON: chrono::Duration = chrono::Duration::days(14);

/// Makes handshakes with one server.
pub struct Tlser {
    tls: Tls,
    roots: Arc<RootCertStore>,
    /// `host:port` of the server.
    server: String,
    /// What the certificate is to be for.
    name: ServerName<'static>,
    expected: String,
    client: Option<Facts>,
    limit: Duration,
}

/// Why a handshake did not come about.
pub enum Failure {
    /// The server seems to speak no TLS at all.
    NoTls(Error),
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoTls(error) | Failure::Other(error) => error,
        }
    }
}

/// An encrypted connection.
pub struct Secured {
    pub stream: TlsStream<BoxedStream>,
    pub facts: TlsFacts,
    /// What the server sent of itself within the time in which it would refuse a client certificate.
    pub early: Vec<u8>,
}

impl Tlser {
    /// Errors when a verifying mode has no authority to ask, or verify-full no name to expect.
    pub fn new(tls: &Tls, host: &str, server: &str, limit: Duration) -> Result<Self> {
        let roots = match &tls.authorities {
            Some(given) => given.roots.clone(),
            None if tls.mode.verifies() => Arc::new(machine_roots()?),
            None => Arc::new(RootCertStore::empty()),
        };
        let named = match &tls.server_name {
            Some(name) => Some(name.clone()),
            None => ServerName::try_from(host.to_owned()).ok(),
        };
        let name = match named {
            Some(name) => name,
            None if tls.mode == TlsMode::VerifyFull => {
                return Err(Error::validation(format!("'{}' is no name that a certificate can have", shown(host)))
                    .hint("set tlsServerName to the name in the server's certificate"));
            }
            // Never compared, and not sent: only names are.
            None => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1]))),
        };
        let expected = name.to_str().into_owned();
        let client = tls.identity.as_ref().and_then(|identity| identity.cert.first()).and_then(|certificate| Facts::read(certificate));
        Ok(Self { tls: tls.clone(), roots, server: server.to_owned(), name, expected, client, limit })
    }

    /// Makes the handshake. With `wait`, stays for the moment in which a server of TLS 1.3 refuses a client certificate
    /// (RFC 8446, 4.4.2.4: after the client has finished), where it asked for one.
    pub async fn connect(&self, stream: BoxedStream, wait: bool) -> Result<Secured, Failure> {
        let verifier = Arc::new(Verifier::new(self.tls.mode, self.tls.authorities.clone(), self.roots.clone()));
        let shower = Arc::new(Shower { identity: self.tls.identity.clone(), asked: AtomicBool::new(false) });
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|cause| Failure::Other(Error::new(Kind::Internal, format!("TLS cannot be set up: {cause}"))))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = config.with_client_cert_resolver(shower.clone());
        // Every connection is proven anew.
        config.resumption = Resumption::disabled();
        let began = Instant::now();
        let handshake = TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream);
        let mut stream = match timeout(self.limit, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(cause)) => return Err(self.failed(&cause, verifier.seen())),
            Err(_) => {
                let error =
                    Error::new(Kind::Database, format!("{} did not answer the TLS handshake in {} s", self.server, self.limit.as_secs()))
                        .hint("check that the server has TLS switched on")
                        .retryable();
                return Err(if verifier.seen().is_some() { Failure::Other(error) } else { Failure::NoTls(error) });
            }
        };
        let asked = shower.asked.load(Ordering::Relaxed);
        let mut early = Vec::new();
        if wait && asked {
            let moment = (began.elapsed() * 2).clamp(Duration::from_millis(50), Duration::from_millis(500));
            let mut byte = [0];
            match timeout(moment, stream.read(&mut byte)).await {
                Err(_) => {}
                Ok(Ok(0)) => return Err(Failure::Other(self.closed(verifier.seen()))),
                Ok(Ok(_)) => early.extend(byte),
                Ok(Err(cause)) => return Err(Failure::Other(self.failed(&cause, verifier.seen()).into())),
            }
        }
        let facts = self.facts(&stream, verifier.seen(), asked);
        Ok(Secured { stream, facts, early })
    }

    /// A later failure of an encrypted connection in plain words; `None` where TLS has nothing to say of it.
    pub fn explain(&self, cause: &io::Error) -> Option<Error> {
        let cause = cause.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(refused(cause, &Setting { over: true, ..self.setting(None) }))
    }

    fn setting(&self, seen: Option<Facts>) -> Setting<'_> {
        Setting {
            server: &self.server,
            expected: &self.expected,
            over: seen.is_some(),
            seen,
            client: self.client.clone(),
            given: self.tls.authorities.is_some(),
        }
    }

    fn closed(&self, seen: Option<Facts>) -> Error {
        let error = Error::new(Kind::Database, format!("{} closed the connection in the TLS handshake", self.server)).retryable();
        match seen {
            Some(_) => error.hint("the server's log may say why; it may demand another client certificate"),
            None => error.hint("the server may have no TLS: check its settings and the port"),
        }
    }

    fn failed(&self, cause: &io::Error, seen: Option<Facts>) -> Failure {
        if let Some(cause) = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            let error = refused(cause, &self.setting(seen));
            return if matches!(cause, rustls::Error::InvalidMessage(_)) { Failure::NoTls(error) } else { Failure::Other(error) };
        }
        let error = self.closed(seen.clone());
        if seen.is_none() { Failure::NoTls(error) } else { Failure::Other(error) }
    }

    fn facts(&self, stream: &TlsStream<BoxedStream>, seen: Option<Facts>, asked: bool) -> TlsFacts {
        let (_, session) = stream.get_ref();
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
            other => format!("{other:?}"),
        };
        let verified = match self.tls.mode {
            TlsMode::VerifyFull => "authority and name",
            TlsMode::VerifyCa => "authority",
            TlsMode::Off | TlsMode::Prefer | TlsMode::Require => "nothing",
        };
        TlsFacts {
            version,
            cipher: session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default(),
            verified: verified.to_owned(),
            subject: seen.as_ref().map(|seen| seen.subject.clone()).unwrap_or_default(),
            issuer: seen.as_ref().map(|seen| seen.issuer.clone()).unwrap_or_default(),
            expires_at: seen.map(|seen| seen.expires_at),
            client_certificate: asked && self.client.is_some(),
        }
    }

    /// What will stop working soon.
    pub fn warnings(&self, facts: &TlsFacts) -> Vec<String> {
        let ends = |whose: &str, at: Moment| match () {
            () if at.utc() < Utc::now() => Some(format!("the certificate of {whose} expired on {}", day(at))),
            () if at.utc() < Utc::now() + SOON => Some(format!("the certificate of {whose} expires on {}", day(at))),
            () => None,
        };
        let server = facts.expires_at.and_then(|at| ends(&self.server, at));
        let client = self.client.as_ref().and_then(|client| ends(&format!("the client ({})", client.subject), client.expires_at));
        server.into_iter().chain(client).collect()
    }
}

/// Shows the client certificate to a server that asks, and remembers that it did.
struct Shower {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl fmt::Debug for Shower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shower")
    }
}

impl ResolvesClientCert for Shower {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.clone().filter(|identity| identity.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

fn machine_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err(Error::validation("this machine trusts no certificate authority, and none is given in tlsCa")
            .hint("give the authority's certificate in tlsCa, or install the package ca-certificates"));
    }
    Ok(roots)
}
