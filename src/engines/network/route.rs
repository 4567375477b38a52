//! The shared connection fields, read and checked against each other.

use std::{fmt, fs::File, io::Read, sync::Arc, time::Duration};

use rustls::{RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, ServerName};
use zeroize::Zeroizing;

use super::{certificates, contradictions::Problems, fields::TLS_MODES, ssh_key::HostKey};
use crate::{
    domain::{database::Settings, fields::SettingsExt, secret::Secret},
    error::{Error, Result},
};

/// Longest certificate or key file, bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// What is encrypted and what is proven, in the order of [`TLS_MODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    Off,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl TlsMode {
    const ALL: [Self; 5] = [Self::Off, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// Somebody must have vouched for the server's certificate.
    pub fn verifies(self) -> bool {
        self >= Self::VerifyCa
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TLS_MODES[*self as usize])
    }
}

/// What the shared connection fields say, checked.
#[derive(Debug, Clone)]
pub struct Route {
    /// For each hop on its own.
    pub connect_timeout: Duration,
    pub(super) tls: Tls,
    pub(super) ssh: Option<Arc<SshServer>>,
    pub(super) proxy: Option<Arc<Proxy>>,
}

#[derive(Clone)]
pub(super) struct Tls {
    pub mode: TlsMode,
    /// Certificates given to trust; without them the machine's authorities are asked.
    pub authorities: Option<Arc<Authorities>>,
    pub identity: Option<Arc<CertifiedKey>>,
    /// Expected in the certificate instead of the host.
    pub server_name: Option<ServerName<'static>>,
}

/// A key must not be printed, and a chain is nothing to read.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).field("client", &self.identity.is_some()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Authorities {
    pub certificates: Vec<CertificateDer<'static>>,
    pub roots: Arc<RootCertStore>,
}

#[derive(Debug)]
pub(super) struct SshServer {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Secret>,
    pub key: Option<Secret>,
    pub passphrase: Option<Secret>,
    pub host_key: Option<HostKey>,
    pub keep_alive: Option<Duration>,
}

/// For people: `user@host:port`.
impl fmt::Display for SshServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, address(&self.host, self.port))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Socks5,
    Http,
}

#[derive(Debug)]
pub(super) struct Proxy {
    pub kind: ProxyKind,
    pub host: String,
    pub port: u16,
    pub login: Option<(String, Secret)>,
    /// Names are looked up here, and the proxy is told addresses.
    pub resolve_here: bool,
}

/// For people: `socks5://user@host:port`.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.kind == ProxyKind::Socks5 { "socks5" } else { "http" };
        let user = self.login.as_ref().map(|(user, _)| format!("{user}@")).unwrap_or_default();
        write!(f, "{scheme}://{user}{}", address(&self.host, self.port))
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Route {
    /// Reads validated settings. Errors when settings contradict each other, naming every field in question, or a file
    /// named by them cannot be read.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let mut problems = Problems::default();
        let seconds = settings.integer("connectTimeout").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10);
        let mode = settings.text("tlsMode").and_then(|mode| TLS_MODES.iter().position(|known| *known == mode));
        let mode = mode.map_or(TlsMode::Prefer, |at| TlsMode::ALL[at]);
        problems.check_tls(settings, mode);
        problems.check_ssh(settings);
        problems.check_proxy(settings);
        problems.none()?;
        Ok(Self {
            connect_timeout: Duration::from_secs(seconds),
            tls: Tls::read(settings, mode)?,
            ssh: SshServer::read(settings)?.map(Arc::new),
            proxy: Proxy::read(settings).map(Arc::new),
        })
    }

    pub fn tls_mode(&self) -> TlsMode {
        self.tls.mode
    }

    /// Something stands between here and the server, so that it must be asked for a way through.
    pub(super) fn has_hops(&self) -> bool {
        self.ssh.is_some() || self.proxy.is_some()
    }

    /// Unix sockets are for the plain way; `prefer` takes it.
    pub(super) fn check_unix_socket(&self) -> Result<()> {
        let impossible = match (&self.ssh, &self.proxy, self.tls.mode) {
            (Some(_), _, _) => Some(("sshHost", "an SSH tunnel cannot end")),
            (_, Some(_), _) => Some(("proxyType", "a proxy cannot end")),
            (_, _, TlsMode::Off | TlsMode::Prefer) => None,
            _ => Some(("tlsMode", "TLS is not spoken")),
        };
        impossible.map_or(Ok(()), |(field, what)| {
            let problem = (field.to_owned(), "does not go with a Unix socket".to_owned());
            Err(Error::validation(format!("{what} at a Unix socket")).fields(vec![problem]))
        })
    }
}

impl Tls {
    fn read(settings: &Settings, mode: TlsMode) -> Result<Self> {
        let authorities = material(settings, "tlsCa", "tlsCaFile")?.map(|(naming, pem)| Authorities::read(&naming, &pem)).transpose()?;
        let certificate = material(settings, "tlsCert", "tlsCertFile")?;
        let identity = match (certificate, material(settings, "tlsKey", "tlsKeyFile")?) {
            (Some(certificate), Some(key)) => {
                Some(Arc::new(certificates::read_identity((&certificate.0, &certificate.1), (&key.0, &key.1))?))
            }
            _ => None,
        };
        let server_name = settings.text("tlsServerName").and_then(|name| ServerName::try_from(name.to_owned()).ok());
        Ok(Self { mode, authorities: authorities.map(Arc::new), identity, server_name })
    }
}

impl Authorities {
    fn read(naming: &str, pem: &[u8]) -> Result<Self> {
        let certificates = certificates::read_certificates(naming, pem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            // One that cannot vouch for others may still be the server's own.
            let _unusable = roots.add(certificate.clone());
        }
        Ok(Self { certificates, roots: Arc::new(roots) })
    }
}

impl SshServer {
    fn read(settings: &Settings) -> Result<Option<Self>> {
        let Some(host) = settings.text("sshHost") else { return Ok(None) };
        let key = material(settings, "sshKey", "sshKeyFile")?.map(|(naming, key)| {
            let text = std::str::from_utf8(&key).map_err(|_| Error::validation(format!("{naming} is not text")))?;
            Ok::<_, Error>(Secret::new(text))
        });
        let keep_alive = settings.integer("sshKeepAlive").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(15);
        Ok(Some(Self {
            host: host.to_owned(),
            port: port(settings, "sshPort", 22),
            user: settings.text("sshUser").unwrap_or_default().to_owned(),
            password: settings.text("sshPassword").map(Secret::new),
            key: key.transpose()?,
            passphrase: settings.text("sshKeyPassphrase").map(Secret::new),
            host_key: settings.text("sshHostKey").and_then(HostKey::read),
            keep_alive: (keep_alive > 0).then(|| Duration::from_secs(keep_alive)),
        }))
    }
}

impl Proxy {
    fn read(settings: &Settings) -> Option<Self> {
        let kind = match settings.text("proxyType")? {
            "socks5" => ProxyKind::Socks5,
            "http" => ProxyKind::Http,
            _ => return None,
        };
        let password = Secret::new(settings.text("proxyPassword").unwrap_or_default());
        Some(Self {
            kind,
            host: settings.text("proxyHost")?.to_owned(),
            port: port(settings, "proxyPort", 1080),
            login: settings.text("proxyUser").map(|user| (user.to_owned(), password)),
            resolve_here: settings.text("proxyResolves") == Some("here"),
        })
    }
}

fn port(settings: &Settings, field: &str, default: u16) -> u16 {
    settings.integer(field).and_then(|port| u16::try_from(port).ok()).unwrap_or(default)
}

/// Text given in one field or read from the file that another names, with what to call it.
fn material(settings: &Settings, text: &str, file: &str) -> Result<Option<(String, Zeroizing<Vec<u8>>)>> {
    if let Some(value) = settings.text(text) {
        return Ok(Some((text.to_owned(), Zeroizing::new(value.as_bytes().to_vec()))));
    }
    let Some(path) = settings.text(file) else { return Ok(None) };
    let naming = format!("{file} ({path})");
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| {
        let is_file = file.metadata()?.is_file();
        if is_file { file.take(LARGEST_FILE + 1).read_to_end(&mut bytes) } else { Err(std::io::Error::other("it is no plain file")) }
    });
    read.map_err(|cause| {
        Error::validation(format!("{naming} cannot be read: {cause}"))
            .hint("the path is one on the machine, or in the container, that DBSnap runs in, and its user must be allowed to read it")
    })?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::validation(format!("{naming} is larger than 1 MiB")));
    }
    Ok(Some((naming, bytes)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{domain::fields::validate, engines::network::fields::FIELDS};

    fn read(settings: &Value) -> Result<Route> {
        Route::from_settings(&validate(&FIELDS, settings.as_object().unwrap()).unwrap())
    }

    #[test]
    fn nothing_secret_is_printed() {
        let route =
            read(&json!({"sshHost": "h", "sshUser": "u", "sshPassword": "s3cret", "sshKey": "s3cret", "sshKeyPassphrase": "s3cret",
            "proxyType": "http", "proxyHost": "p", "proxyPort": 8080, "proxyUser": "u", "proxyPassword": "s3cret"}))
            .unwrap();
        assert!(!format!("{route:?}").contains("s3cret"));
        assert_eq!(route.proxy.as_ref().unwrap().to_string(), "http://u@p:8080");
        assert_eq!(route.ssh.as_ref().unwrap().to_string(), "u@h:22");
    }

    #[test]
    fn a_unix_socket_takes_the_plain_way_only() {
        for (settings, taken) in [
            (json!({}), true),
            (json!({"tlsMode": "off"}), true),
            (json!({"tlsMode": "verify-full"}), false),
            (json!({"sshHost": "h", "sshUser": "u", "sshPassword": "p"}), false),
        ] {
            assert_eq!(read(&settings).unwrap().check_unix_socket().is_ok(), taken, "{settings}");
        }
    }

    #[test]
    fn material_that_cannot_be_used_is_named_and_not_repeated() {
        let pem = "-----BEGIN CERTIFICATE-----\ns3cret!\n-----END CERTIFICATE-----";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\ns3cret\n-----END ENCRYPTED PRIVATE KEY-----";
        let authority = certificates::LocalAuthority::new().unwrap().pem;
        for (settings, part) in [
            (json!({"tlsMode": "verify-ca", "tlsCa": "s3cret"}), "tlsCa holds no certificate"),
            (json!({"tlsMode": "verify-ca", "tlsCa": pem}), "tlsCa cannot be read"),
            (json!({"tlsMode": "verify-ca", "tlsCaFile": "/no/such/ca.pem"}), "tlsCaFile (/no/such/ca.pem) cannot be read: No such file"),
            (json!({"tlsCert": authority, "tlsKey": encrypted}), "tlsKey is encrypted with a passphrase"),
            (json!({"tlsCert": authority, "tlsKey": "s3cret"}), "tlsKey holds no private key"),
            (
                json!({"tlsCert": authority, "tlsKey": rcgen::KeyPair::generate().unwrap().serialize_pem()}),
                "tlsKey does not belong to tlsCert",
            ),
        ] {
            let error = read(&settings).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("s3cret"), "{error}");
        }
    }
}
