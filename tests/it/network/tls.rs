//! What each TLS mode makes of each certificate, against a real TLS server.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use dbsnap::{engines::network::Protocol, error::Error};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, copy, split},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{SECRET, echoes, open, says};
use crate::support::tls::{AUTHORITY, Authority, Identity};

pub const HERE: &[&str] = &["localhost", "127.0.0.1"];

/// A server that speaks TLS from the first byte and sends back what it gets. With `clients`, only to whom it vouches for.
pub async fn echo(identity: &Identity, clients: Option<&Authority>, old: bool) -> u16 {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = if old { &[&TLS12][..] } else { &[&TLS13, &TLS12][..] };
    let config = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
            config.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap())
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let (mut read, mut write) = split(stream);
                if copy(&mut read, &mut write).await.is_ok() {
                    let _ = write.shutdown().await;
                }
            });
        }
    });
    port
}

fn self_signed() -> Identity {
    let made = rcgen::generate_simple_self_signed(HERE.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    Identity { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of() {
    for (days, warned) in [(20, false), (13, true)] {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = (SystemTime::now() + Duration::from_hours(24 * days)).into();
        let key = rcgen::KeyPair::generate().unwrap();
        let identity = Identity { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
        let port = echo(&identity, None, false).await;
        let link = open(with_client("require", &identity), Protocol::Mongodb, port).await.unwrap();
        let warnings = link.warnings();
        assert_eq!(warnings.iter().filter(|warning| warning.contains("expires on")).count(), if warned { 2 } else { 0 }, "{warnings:?}");
    }
}

fn settings(mode: &str) -> Value {
    match mode {
        "prefer" | "require" => json!({ "tlsMode": mode }),
        _ => json!({ "tlsMode": mode, "tlsCa": AUTHORITY.certificate }),
    }
}

#[tokio::test]
async fn each_mode_proves_what_it_says() {
    let foreign = Authority::new("Foreign").server(HERE);
    // A man in the middle has a certificate, too, of the same authority: for a name of his own.
    let elsewhere = AUTHORITY.server(&["elsewhere.example"]);
    // For each certificate: what verify-ca and verify-full say; the others take it.
    let table: [(&str, Identity, Option<&str>, Option<&str>); 5] = [
        ("good", AUTHORITY.server(HERE), None, None),
        ("expired", AUTHORITY.expired(HERE), Some("expired on"), Some("expired on")),
        ("foreign", foreign, Some("an authority that is not in tlsCa: CN=Foreign"), Some("an authority that is not in tlsCa")),
        ("elsewhere", elsewhere, None, Some("is not for 127.0.0.1 but for elsewhere.example")),
        ("self-signed", self_signed(), Some("is self-signed"), Some("is self-signed")),
    ];
    for (name, identity, by_authority, by_name) in table {
        for old in [false, true] {
            let port = echo(&identity, None, old).await;
            for (mode, refusal, verified) in [
                ("prefer", None, "nothing"),
                ("require", None, "nothing"),
                ("verify-ca", by_authority, "authority"),
                ("verify-full", by_name, "authority and name"),
            ] {
                match (open(settings(mode), Protocol::Mongodb, port).await, refusal) {
                    (Ok(link), None) => {
                        echoes(&link, b"first").await.unwrap();
                        echoes(&link, &vec![7; 1_000_000]).await.unwrap();
                        let tls = link.facts().tls.unwrap();
                        assert_eq!((tls.verified.as_str(), tls.version.as_str()), (verified, if old { "TLS 1.2" } else { "TLS 1.3" }));
                        assert!(!tls.client_certificate && tls.expires_at.is_some(), "{tls:?}");
                        let ending = link.warnings().iter().any(|warning| warning.contains("expired on"));
                        assert_eq!(ending, name == "expired", "{name} {mode}: {:?}", link.warnings());
                    }
                    (Err(error), Some(part)) => says(&error, part),
                    (got, _) => panic!("{name}, {mode}: {got:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn the_name_may_be_another_than_the_host() {
    let port = echo(&AUTHORITY.server(&["db.example"]), None, false).await;
    let mut settings = settings("verify-full");
    says(&open(settings.clone(), Protocol::Mongodb, port).await.unwrap_err(), "but for db.example");
    settings["tlsServerName"] = "db.example".into();
    echoes(&open(settings, Protocol::Mongodb, port).await.unwrap(), b"x").await.unwrap();
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_trusted_by_itself() {
    let identity = self_signed();
    let port = echo(&identity, None, false).await;
    for mode in ["verify-ca", "verify-full"] {
        let trusted = json!({"tlsMode": mode, "tlsCa": identity.certificate});
        echoes(&open(trusted, Protocol::Mongodb, port).await.unwrap(), b"x").await.unwrap();
        let machine = json!({ "tlsMode": mode });
        says(&open(machine, Protocol::Mongodb, port).await.unwrap_err(), "");
    }
}

fn with_client(mode: &str, client: &Identity) -> Value {
    let mut settings = settings(mode);
    settings["tlsCert"] = client.certificate.clone().into();
    settings["tlsKey"] = client.key.clone().into();
    settings
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks_for_it() {
    let client = AUTHORITY.client("backup");
    let foreign = Authority::new("Foreign").client("backup");
    for old in [false, true] {
        let asks = echo(&AUTHORITY.server(HERE), Some(&AUTHORITY), old).await;
        let link = open(with_client("verify-full", &client), Protocol::Mongodb, asks).await.unwrap();
        echoes(&link, b"x").await.unwrap();
        assert!(link.facts().tls.unwrap().client_certificate);
        says(&open(settings("verify-full"), Protocol::Mongodb, asks).await.unwrap_err(), "client certificate");
        says(
            &open(with_client("require", &foreign), Protocol::Mongodb, asks).await.unwrap_err(),
            "does not accept the client certificate CN=backup",
        );

        let does_not = echo(&AUTHORITY.server(HERE), None, old).await;
        let link = open(with_client("verify-full", &client), Protocol::Mongodb, does_not).await.unwrap();
        assert!(!link.facts().tls.unwrap().client_certificate);
    }
}

#[tokio::test]
async fn without_tls_only_prefer_and_off_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // As mongod without TLS: it ends what begins with a TLS greeting.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut first = [0];
                while stream.peek(&mut first).await.is_ok_and(|count| count > 0) && first != [0x16] {
                    let (mut read, mut write) = stream.split();
                    if copy(&mut read, &mut write).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    for mode in ["prefer", "off"] {
        let link = open(json!({ "tlsMode": mode }), Protocol::Mongodb, port).await.unwrap();
        assert_eq!((link.host(), link.port(), link.facts().tls), ("127.0.0.1", port, None));
    }
    for mode in ["require", "verify-full"] {
        let error: Error = open(settings(mode), Protocol::Mongodb, port).await.unwrap_err();
        says(&error, "TLS");
    }
}

#[tokio::test]
async fn material_that_does_not_fit_is_refused_before_anything_is_sent() {
    let (one, other) = (AUTHORITY.client("one"), AUTHORITY.client("other"));
    let mixed = json!({"tlsMode": "require", "tlsCert": one.certificate, "tlsKey": other.key});
    says(&open(mixed, Protocol::Mongodb, 9).await.unwrap_err(), "tlsKey does not belong to tlsCert");
    let key = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
    let broken = json!({"tlsMode": "require", "tlsCert": one.certificate, "tlsKey": key});
    says(&open(broken, Protocol::Mongodb, 9).await.unwrap_err(), "tlsKey");
}
