//! Whether a server's certificate proves it, for each TLS mode, and what to say when it does not.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    certificates::{Facts, day, provider, shown},
    route::{Authorities, TlsMode},
};
use crate::error::{Error, Kind};

/// Judges the certificate of one connection and remembers it.
pub struct Verifier {
    mode: TlsMode,
    given: Option<Arc<Authorities>>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Option<Facts>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.mode)
    }
}

impl Verifier {
    /// `roots` are the authorities that count: those of `given`, or the machine's.
    pub fn new(mode: TlsMode, given: Option<Arc<Authorities>>, roots: Arc<RootCertStore>) -> Self {
        Self { mode, given, roots, algorithms: provider().signature_verification_algorithms, seen: Mutex::new(None) }
    }

    /// The certificate that the server has shown, once it has.
    pub fn seen(&self) -> Option<Facts> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let facts = Facts::read(certificate).ok_or(CertificateError::BadEncoding)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts.clone());
        if !self.mode.verifies() {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        if self.given.as_ref().is_some_and(|given| given.certificates.iter().any(|one| one == certificate)) {
            // The server's own certificate was given to trust: nobody else needs to vouch for it.
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000);
            if now > facts.expires_at.0 {
                return Err(CertificateError::Expired.into());
            }
            if now < facts.begins_at.0 {
                return Err(CertificateError::NotValidYet.into());
            }
        } else {
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        }
        if self.mode == TlsMode::VerifyFull {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        // Where nothing else of the certificate counts, its age of X.509 does not either: only its key is used.
        if !self.mode.verifies()
            && let Ok((_, parsed)) = X509Certificate::from_der(certificate)
        {
            let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
            return verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms);
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is known where a handshake failed.
pub struct Setting<'a> {
    /// `host:port` of the server.
    pub server: &'a str,
    /// What verify-full expected.
    pub expected: &'a str,
    pub seen: Option<Facts>,
    /// The server's certificate was taken: what fails now is not about it.
    pub over: bool,
    /// A client certificate was at hand; `Some` with its facts.
    pub client: Option<Facts>,
    /// Authorities were given, rather than the machine's taken.
    pub given: bool,
}

/// A failed handshake in plain words.
pub fn refused(cause: &TlsError, setting: &Setting<'_>) -> Error {
    match cause {
        TlsError::InvalidCertificate(problem) => unproven(problem, setting),
        TlsError::AlertReceived(alert) => alerted(*alert, setting),
        TlsError::InvalidMessage(_) => error(format!("{} does not speak TLS", setting.server))
            .hint("check the port; a server without TLS is reached with tlsMode off, on a network that you trust"),
        TlsError::PeerIncompatible(_) => error(format!("{} offers no TLS that is still sound", setting.server))
            .hint("the server must speak TLS 1.2 or 1.3 with a modern cipher: update it or its settings"),
        other => error(format!("the TLS handshake with {} failed: {}", setting.server, shown(&other.to_string()))),
    }
}

fn error(context: String) -> Error {
    Error::new(Kind::Database, context)
}

fn unproven(problem: &CertificateError, setting: &Setting<'_>) -> Error {
    let server = setting.server;
    let Some(seen) = &setting.seen else {
        return error(format!("the certificate of {server} cannot be read")).hint("make the server's certificate again");
    };
    use CertificateError as Problem;
    match problem {
        Problem::Expired | Problem::ExpiredContext { .. } if seen.expires_at.0 < chrono::Utc::now().timestamp_millis() => {
            error(format!("the certificate of {server} expired on {}", day(seen.expires_at)))
                .hint("renew it on the server; if it is newer than that, check the clocks of both machines")
        }
        Problem::Expired | Problem::ExpiredContext { .. } => {
            error(format!("an authority in the chain of {server}'s certificate has expired")).hint("renew the authority's certificate")
        }
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            error(format!("the certificate of {server} is not valid before {}", day(seen.begins_at)))
                .hint("check the clocks of both machines")
        }
        Problem::UnknownIssuer | Problem::BadSignature => unknown_authority(seen, setting),
        Problem::NotValidForName | Problem::NotValidForNameContext { .. } => wrong_name(seen, setting),
        Problem::InvalidPurpose | Problem::InvalidPurposeContext { .. } => {
            error(format!("the certificate of {server} is not made for servers")).hint("make one with the extended key usage serverAuth")
        }
        Problem::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => unknown_authority(seen, setting),
        Problem::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            error(format!("the certificate of {server} is of X.509 version 1, which cannot be checked"))
                .hint("make one of version 3, with the server's name as subject alternative name")
        }
        other => error(format!("the certificate of {server} is not accepted: {}", shown(&TlsError::from(other.clone()).to_string())))
            .hint("make the server's certificate again"),
    }
}

fn unknown_authority(seen: &Facts, setting: &Setting<'_>) -> Error {
    let server = setting.server;
    match (seen.self_signed, setting.given) {
        (true, false) => error(format!("the certificate of {server} is self-signed ({})", seen.subject))
            .hint("give this certificate in tlsCa, after comparing it with the one on the server"),
        (true, true) => error(format!("the certificate of {server} is self-signed ({}) and not the one in tlsCa", seen.subject))
            .hint("compare it with the one on the server; if that was renewed, give the new one in tlsCa"),
        (false, false) => {
            error(format!("the certificate of {server} is signed by an authority that this machine does not trust: {}", seen.issuer))
                .hint("give that authority's certificate in tlsCa")
        }
        (false, true) => error(format!("the certificate of {server} is signed by an authority that is not in tlsCa: {}", seen.issuer))
            .hint(
                "give that authority's certificate in tlsCa; if it should be there, somebody else may be answering in the server's place",
            ),
    }
}

fn wrong_name(seen: &Facts, setting: &Setting<'_>) -> Error {
    let (server, expected) = (setting.server, setting.expected);
    if seen.names.is_empty() {
        return error(format!("the certificate of {server} ({}) names no host: it has no subject alternative name", seen.subject))
            .hint("make one that has the host among its subject alternative names, or check the authority alone with tlsMode verify-ca");
    }
    let names: Vec<_> = seen.names.iter().take(10).map(String::as_str).collect();
    error(format!("the certificate of {server} is not for {expected} but for {}", names.join(", ")))
        .hint("connect by one of these names, or set tlsServerName to the one that this server should have")
}

fn alerted(alert: AlertDescription, setting: &Setting<'_>) -> Error {
    use AlertDescription as Alert;
    let server = setting.server;
    match (alert, &setting.client) {
        (Alert::CertificateRequired, _) | (Alert::HandshakeFailure | Alert::BadCertificate, None) if setting.over => {
            error(format!("{server} demands a client certificate"))
                .hint("give one in tlsCert with its key in tlsKey, signed by an authority that the server trusts")
        }
        (
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError,
            Some(client),
        ) => error(format!(
            "{server} does not accept the client certificate {} (signed by {}, valid until {}): {alert:?}",
            client.subject,
            client.issuer,
            day(client.expires_at)
        ))
        .hint("give one that is valid and signed by an authority that the server trusts"),
        (Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::HandshakeFailure, _) => error(format!(
            "{server} and DBSnap have no way of TLS in common ({alert:?})"
        ))
        .hint(
            "the server must speak TLS 1.2 or 1.3 with a modern cipher; some servers refuse like this when a client certificate is missing",
        ),
        (Alert::UnrecognisedName, _) => error(format!("{server} knows no server of the name {}", setting.expected))
            .hint("set tlsServerName to the name that the server expects"),
        _ => error(format!("{server} ended the TLS handshake: {alert:?}")).hint("the server's log may say why"),
    }
}
