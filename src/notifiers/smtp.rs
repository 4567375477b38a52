//! The conversation with a mail server: looked up once, checked, and bounded in time and in what the server may say.

use std::{
    fmt::Debug,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as Waker, Poll, ready},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lettre::{
    Message,
    transport::smtp::{
        self,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters},
        extension::ClientId,
    },
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    http::{Lookup, system_lookup},
    service,
    text::{cut, line},
};
use crate::{
    domain::{forbidden, secret::Secret},
    error::{Context, Error, Kind, Result},
};

/// For the whole conversation with the server.
const LIMIT: Duration = Duration::from_secs(25);
/// For one of its addresses to be connected to.
const CONNECT: Duration = Duration::from_secs(8);
/// For the farewell, when the message is taken already.
const FAREWELL: Duration = Duration::from_secs(2);
/// A server says a few kilobytes in a conversation, its certificates among them; one that says more than this, bytes, is none.
/// An answer of many lines is read anew with each of its lines, so much more would keep a processor busy.
const SAID_AT_MOST: usize = 64 << 10;

/// How the conversation is encrypted.
pub(super) enum Security {
    None,
    StartTls(TlsParameters),
    /// From the first byte, for this name.
    Tls(TlsConnector, ServerName<'static>),
}

impl Security {
    /// By the name of the setting. Trusts the authorities of the system and this one, PEM.
    pub(super) fn new(name: &str, host: &str, authority: Option<&str>) -> Result<Self> {
        let no_pem = || service::wrong("caCertificate", "is not a certificate in PEM form");
        match name {
            "none" => Ok(Self::None),
            "tls" => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|_| service::wrong("host", "is neither the name of a server nor an address"))?;
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                for certificate in CertificateDer::pem_slice_iter(authority.unwrap_or_default().as_bytes()) {
                    roots.add(certificate.map_err(|_| no_pem())?).map_err(|_| no_pem())?;
                }
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .context(Kind::Internal, || "TLS cannot be prepared".into())?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                Ok(Self::Tls(Arc::new(config).into(), name))
            }
            _ => {
                let mut builder = TlsParameters::builder(host.to_owned());
                if let Some(authority) = authority {
                    builder = builder.add_root_certificate(Certificate::from_pem(authority.as_bytes()).map_err(|_| no_pem())?);
                }
                Ok(Self::StartTls(builder.build().context(Kind::Internal, || "TLS cannot be prepared".into())?))
            }
        }
    }
}

/// A mail server as it is configured.
pub(super) struct Server {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<(String, Secret)>,
    lookup: Lookup,
}

/// Why one address of the server did not take the message.
enum Failure {
    Unreached(io::Error),
    Tls(io::Error),
    Refused(smtp::Error),
}

impl Server {
    pub(super) fn new(host: &str, port: u16, security: Security, credentials: Option<(String, Secret)>) -> Self {
        Self { host: host.to_owned(), port, security, credentials, lookup: system_lookup }
    }

    /// Hands the message over, at the first of the host's addresses that can be connected to.
    pub(super) async fn deliver(&self, message: &Message) -> Result<()> {
        match timeout(LIMIT, self.deliver_at_all(message)).await {
            Ok(sent) => sent,
            Err(_) => Err(Error::internal(format!("the mail server {} did not take the message within {LIMIT:?}", self.place()))
                .hint("check that it is an SMTP server, and whether the port goes with the security: 465 with tls, 587 with starttls")
                .retryable()),
        }
    }

    async fn deliver_at_all(&self, message: &Message) -> Result<()> {
        let mut failed = None;
        for address in self.addresses().await? {
            match self.converse(address, message).await {
                Ok(()) => return Ok(()),
                // It was understood and refused, or the message may have been taken: no other address is asked.
                Err(Failure::Refused(cause)) if cause.is_response() || cause.is_permanent() || cause.is_transient() => {
                    return Err(self.explained(Failure::Refused(cause)));
                }
                Err(failure) => failed = Some(failure),
            }
        }
        Err(match failed {
            Some(failure) => self.explained(failure),
            None => Error::internal(format!("the mail server {} has no address", self.host)).hint("check its name").retryable(),
        })
    }

    /// Looked up once and checked; the connection goes to exactly these.
    async fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let what = "the mail server";
        let host = self.host.trim_matches(['[', ']']);
        forbidden::check_host(what, host)?;
        let found = (self.lookup)(host.to_owned(), self.port)
            .await
            .map_err(|cause| Error::internal(format!("{what} {host} cannot be found")).source(cause).hint("check its name").retryable())?;
        forbidden::check_addresses(what, host, found.iter().map(SocketAddr::ip))?;
        Ok(found)
    }

    async fn converse(&self, address: SocketAddr, message: &Message) -> Result<(), Failure> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}"));
        let connected = timeout(CONNECT, TcpStream::connect(address)).await.map_err(late).and_then(|connected| connected);
        let stream = connected.map_err(Failure::Unreached)?;
        let hello = ClientId::default();
        let mut connection = match &self.security {
            Security::Tls(connector, name) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(Failure::Tls)?;
                AsyncSmtpConnection::connect_with_transport(Bounded::over(stream, address), &hello).await
            }
            _ => AsyncSmtpConnection::connect_with_transport(Bounded::over(stream, address), &hello).await,
        }
        .map_err(Failure::Refused)?;
        let said = async {
            if let Security::StartTls(parameters) = &self.security {
                connection.starttls(parameters.clone(), &hello).await?;
            }
            if let Some((user, password)) = &self.credentials {
                connection.auth(DEFAULT_MECHANISMS, &Credentials::new(user.clone(), password.expose().to_owned())).await?;
            }
            connection.send(message.envelope(), &message.formatted()).await
        };
        said.await.map_err(Failure::Refused)?;
        // The message is taken: how the server says farewell changes nothing.
        let _ = timeout(FAREWELL, connection.abort()).await;
        Ok(())
    }

    fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn explained(&self, failure: Failure) -> Error {
        let place = self.place();
        match failure {
            Failure::Unreached(cause) => {
                let said = self.shown(&cause.to_string());
                Error::internal(format!("the mail server {place} cannot be reached{said}"))
                    .hint("check host, port and security")
                    .retryable()
            }
            Failure::Tls(cause) => self.insecure(&cause.to_string()),
            Failure::Refused(cause) => self.refused(&cause),
        }
    }

    fn insecure(&self, cause: &str) -> Error {
        Error::internal(format!("the mail server {} cannot be reached over TLS{}", self.place(), self.shown(cause)))
            .hint("check its certificate and the security setting: 465 goes with tls, 587 with starttls")
            .retryable()
    }

    fn refused(&self, cause: &smtp::Error) -> Error {
        let place = self.place();
        let code = cause.status().map(|code| code.to_string()).unwrap_or_default();
        let said = std::error::Error::source(cause).map(ToString::to_string).unwrap_or_else(|| cause.to_string());
        if cause.is_tls() {
            return self.insecure(&said);
        }
        let said = self.shown(&said);
        match (code.as_str(), cause.is_permanent(), cause.is_transient()) {
            ("530" | "534" | "535" | "538", ..) => Error::internal(format!("the mail server {place} refused the sign-in{said}"))
                .hint("check user and password; some services ask for an app password"),
            (_, true, _) => {
                Error::internal(format!("the mail server {place} refused the message{said}")).hint("check the addresses in From and To")
            }
            (_, _, true) => Error::internal(format!("the mail server {place} cannot take the message now{said}"))
                .hint("a message is tried again by itself")
                .retryable(),
            _ if cause.is_client() => Error::internal(format!("the mail server {place} does not offer what is asked of it{said}"))
                .hint("check the security setting, and whether the server has sign-in at all"),
            _ if cause.is_response() => Error::internal(format!("the mail server {place} does not speak SMTP as it should{said}"))
                .hint("check that it is an SMTP server, and whether the port goes with the security")
                .retryable(),
            _ => Error::internal(format!("the mail server {place} cannot be reached{said}"))
                .hint("check host, port and security")
                .retryable(),
        }
    }

    /// What was said, for people: one line without secrets, also as the sign-in encodes them.
    fn shown(&self, said: &str) -> String {
        let mut said = line(said);
        if let Some((user, password)) = &self.credentials {
            let password = password.expose();
            for secret in [password.to_owned(), STANDARD.encode(password), STANDARD.encode(format!("\0{user}\0{password}"))] {
                said = said.replace(&secret, "[redacted]");
            }
        }
        format!(": {}", cut(&said, 400))
    }
}

/// A connection over which the other side may say so much and no more.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    left: usize,
    peer: SocketAddr,
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + Debug + 'static> Bounded<S> {
    fn over(stream: S, peer: SocketAddr) -> Box<dyn AsyncTokioStream> {
        Box::new(Self { stream, left: SAID_AT_MOST, peer })
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + Debug> AsyncTokioStream for Bounded<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, waker: &mut Waker<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "it says more than a mail server has to say")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(waker, buffer))?;
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, waker: &mut Waker<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(waker, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(waker)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(waker)
    }
}

#[cfg(test)]
#[path = "smtp_tests.rs"]
mod tests;
