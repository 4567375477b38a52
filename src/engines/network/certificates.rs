//! Certificates and keys: read from PEM, described for people, and made for the TLS that is spoken to a link itself.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls::{
    InconsistentKeys, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, x509::X509Name};

use crate::{
    domain::time::Moment,
    error::{Error, Kind, Result},
};

/// Both versions that are still sound.
pub const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Longest text taken from somebody else's certificate.
const LONGEST: usize = 200;

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates in PEM text. `naming` is what the text is, for errors; the text itself is never repeated.
pub fn read_certificates(naming: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|cause| unreadable(naming, &cause))?;
    if certificates.is_empty() {
        return Err(Error::validation(format!("{naming} holds no certificate"))
            .hint("it must be PEM text with -----BEGIN CERTIFICATE----- and -----END CERTIFICATE----- lines"));
    }
    for certificate in &certificates {
        Facts::read(certificate).ok_or_else(|| Error::validation(format!("{naming} holds a certificate that cannot be read")))?;
    }
    Ok(certificates)
}

/// A client's certificate chain with its key, both in PEM. Errors when they do not belong together.
pub fn read_identity(certificate: (&str, &[u8]), key: (&str, &[u8])) -> Result<CertifiedKey> {
    let chain = read_certificates(certificate.0, certificate.1)?;
    let naming = key.0;
    let text = String::from_utf8_lossy(key.1);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Error::validation(format!("{naming} is encrypted with a passphrase"))
            .hint("give it without one (openssl pkey -in key.pem -out plain.pem): it is sealed here like every secret"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.1).map_err(|cause| match cause {
        PemError::NoItemsFound => Error::validation(format!("{naming} holds no private key"))
            .hint("it must be PEM text with -----BEGIN PRIVATE KEY----- (or RSA PRIVATE KEY, EC PRIVATE KEY) and -----END ...----- lines"),
        other => unreadable(naming, &other),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Error::validation(format!("{naming} does not belong to {}", certificate.0))
                .hint("the first certificate must be the client's own, made from this key; authorities follow it")
        }
        _ => Error::validation(format!("{naming} is of a kind that cannot be used"))
            .hint("use an RSA key of 2048 bits or more, an ECDSA key (P-256, P-384, P-521) or an Ed25519 key"),
    })
}

fn unreadable(naming: &str, cause: &PemError) -> Error {
    // What the parser quotes is part of the text.
    let why = match cause {
        PemError::MissingSectionEnd { .. } => "a section does not end",
        PemError::IllegalSectionStart { .. } => "a section begins wrongly",
        _ => "it is no PEM text",
    };
    Error::validation(format!("{naming} cannot be read: {why}")).hint("check that it was copied whole, with its BEGIN and END lines")
}

/// What a certificate says of itself. Text in it is somebody else's: control characters are gone and it is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub subject: String,
    pub issuer: String,
    pub begins_at: Moment,
    pub expires_at: Moment,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    pub self_signed: bool,
}

impl Facts {
    /// `None` when it is no X.509 certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten().map(|names| names.value.general_names.as_slice());
        Some(Self {
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            begins_at: Moment(parsed.validity().not_before.timestamp().saturating_mul(1000)),
            expires_at: Moment(parsed.validity().not_after.timestamp().saturating_mul(1000)),
            names: names.unwrap_or_default().iter().filter_map(alternative_name).collect(),
            self_signed: parsed.subject().as_raw() == parsed.issuer().as_raw(),
        })
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(shown(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn name(name: &X509Name<'_>) -> String {
    let text = shown(&name.to_string());
    if text.is_empty() { "(no name)".to_owned() } else { text }
}

/// Somebody else's text in one short line.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if text.chars().count() > LONGEST {
        short.push('…');
    }
    short.trim().to_owned()
}

/// A day, UTC.
pub fn day(moment: Moment) -> String {
    moment.utc().format("%Y-%m-%d").to_string()
}

/// An authority that lives as long as one link and vouches for it on loopback, to a client that must speak TLS.
pub struct LocalAuthority {
    /// The authority's certificate.
    pub pem: String,
    pub server: Arc<ServerConfig>,
}

impl fmt::Debug for LocalAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalAuthority")
    }
}

impl LocalAuthority {
    pub fn new() -> Result<Self> {
        let failed = |cause: &dyn fmt::Display| Error::new(Kind::Internal, format!("making a certificate for loopback: {cause}"));
        let (authority, server, key) = Self::certificates().map_err(|cause| failed(&cause))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|cause| failed(&cause))?;
        let server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![server], key))
            .map_err(|cause| failed(&cause))?;
        Ok(Self { pem: authority, server: Arc::new(server) })
    }

    fn certificates() -> Result<(String, CertificateDer<'static>, rcgen::KeyPair), rcgen::Error> {
        use rcgen::{
            BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
        };

        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "dbsnap loopback authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let mut server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let server = server.signed_by(&key, &authority)?;
        Ok((authority.pem(), server.der().clone(), key))
    }
}
