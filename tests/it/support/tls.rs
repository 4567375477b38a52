//! Certificates of the tests' own authorities.

use std::{
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::leash;

const DAY: Duration = Duration::from_hours(24);

/// The authority of every server that is not told otherwise.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("DBSnap tests"));

/// Signs certificates.
pub struct Authority {
    /// Its own certificate, PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM (the key is PKCS #8).
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// A server's or client's certificate, its key, and the authority whose certificates it accepts, as files.
#[derive(Clone)]
pub struct Files {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A server's certificate for host names and IP addresses.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue(server(names))
    }

    /// A server's certificate for host names and IP addresses that expired an hour ago.
    pub fn expired(&self, names: &[&str]) -> Identity {
        let mut params = server(names);
        params.not_after = (SystemTime::now() - Duration::from_hours(1)).into();
        self.issue(params)
    }

    /// A client's certificate whose common name is `name`.
    pub fn client(&self, name: &str) -> Identity {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Identity {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// Writes it and its authority's certificate into `folder`, for servers' eyes only.
    pub fn write(&self, folder: &Path, authority: &Authority) -> Files {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str, content: &str| {
            let path = folder.join(format!("{name}-{number}.pem"));
            leash::write(&path, content);
            path
        };
        Files {
            authority: file("authority", &authority.certificate),
            certificate: file("certificate", &self.certificate),
            key: file("key", &self.key),
        }
    }
}

fn server(names: &[&str]) -> CertificateParams {
    let mut params = named(names.first().expect("a certificate has a name"));
    params.subject_alt_names =
        CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap().subject_alt_names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// Valid from yesterday until in a month.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - 2 * DAY).into();
    params.not_after = (SystemTime::now() + 30 * DAY).into();
    params
}
