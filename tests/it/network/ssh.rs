//! Through an SSH server: OpenSSH, and one that does what a test says.

use std::{
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dbsnap::{
    domain::run::Run,
    engines::network::{Link, Protocol},
    error::{Error, Kind, Result},
};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, decode_secret_key};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    SECRET,
    bastion::{self, Bastion},
    echoes, open_with, run, says,
    tls::HERE,
};
use crate::support::{
    observer::Seen,
    ssh::{self, Options, PASSPHRASE, PASSWORD, USER},
    tls::AUTHORITY,
};

/// A server that sends back what it gets.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                copy(&mut read, &mut write).await
            });
        }
    });
    port
}

fn through(port: u16, more: Value) -> Value {
    let mut settings = json!({"tlsMode": "off", "sshHost": "127.0.0.1", "sshPort": port, "sshUser": USER});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

async fn open(settings: Value, port: u16) -> Result<Link> {
    open_with(settings, Protocol::Mongodb, "127.0.0.1", port, &run()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_login_reaches_the_server() {
    let (server, target, keys) = (ssh::shared(), echo().await, ssh::keys());
    for login in [
        json!({ "sshPassword": PASSWORD }),
        json!({ "sshKey": keys.ed25519 }),
        json!({ "sshKey": keys.rsa }),
        json!({ "sshKey": keys.rsa_pem }),
        json!({"sshKey": keys.with_passphrase, "sshKeyPassphrase": PASSPHRASE}),
        json!({"sshKey": keys.unknown, "sshPassword": PASSWORD}),
    ] {
        let run = run();
        let settings = through(server.port, login.clone());
        let link =
            open_with(settings, Protocol::Mongodb, "127.0.0.1", target, &run).await.unwrap_or_else(|error| panic!("{login}: {error}"));
        echoes(&link, &vec![9; 5_000_000]).await.unwrap();
        let facts = link.facts().ssh.unwrap();
        assert_eq!((facts.address, facts.host_key_known), (format!("{USER}@127.0.0.1:{}", server.port), false));
        assert_eq!(facts.host_key, server.fingerprint());
        assert_eq!(run.learned.settings()["sshHostKey"], server.fingerprint());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_says_what_the_server_offers() {
    let (server, target, keys) = (ssh::shared(), echo().await, ssh::keys());
    let wrong = |login: Value| open(through(server.port, login), target);
    says(
        &wrong(json!({ "sshPassword": SECRET })).await.unwrap_err(),
        "accepts not the password of 'tunnel'; it offers: publickey, password",
    );
    says(&wrong(json!({ "sshKey": keys.unknown })).await.unwrap_err(), "accepts not the key of 'tunnel'");
    says(&wrong(json!({ "sshKey": keys.with_passphrase })).await.unwrap_err(), "sshKey needs its passphrase");
    let passphrase = json!({"sshKey": keys.with_passphrase, "sshKeyPassphrase": SECRET});
    says(&wrong(passphrase).await.unwrap_err(), "sshKey cannot be decrypted");
    says(&wrong(json!({ "sshKey": SECRET })).await.unwrap_err(), "sshKey holds no private key");
    let keys_only = ssh::Server::start(Options { no_passwords: true, ..Options::default() });
    let error = open(through(keys_only.port, json!({ "sshPassword": PASSWORD })), target).await.unwrap_err();
    says(&error, "it offers: publickey");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_changed_is_refused() {
    let mut server = ssh::Server::start(Options::default());
    let target = echo().await;
    let old = server.fingerprint();
    let settings = through(server.port, json!({"sshPassword": SECRET, "sshHostKey": old}));
    let mut known = settings.clone();
    known["sshPassword"] = PASSWORD.into();
    assert!(open(known, target).await.unwrap().facts().ssh.unwrap().host_key_known);

    server.change_host_key();
    let error = open(settings, target).await.unwrap_err();
    says(&error, &format!("shows the host key {}, and {old} is the one that is known", server.fingerprint()));
    assert!(!error.retryable && error.kind == Kind::Database);
    // Nobody was let near the password.
    assert!(!server.log().contains("Failed password"), "{}", server.log());

    // What a run has learned counts for its next way.
    let run = run();
    run.learned.tell("sshHostKey", &old);
    let unknown = through(server.port, json!({ "sshPassword": PASSWORD }));
    let error = open_with(unknown, Protocol::Mongodb, "127.0.0.1", target, &run).await.unwrap_err();
    says(&error, "is the one that is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_behind_or_before_the_server_is_told_apart() {
    let (server, target) = (ssh::shared(), echo().await);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let login = json!({ "sshPassword": PASSWORD });
    says(&open(through(server.port, login.clone()), closed).await.unwrap_err(), &format!("cannot reach 127.0.0.1:{closed}"));
    says(&open(through(closed, login.clone()), target).await.unwrap_err(), &format!("the SSH server 127.0.0.1:{closed} cannot be reached"));
    says(&open(through(target, login.clone()), target).await.unwrap_err(), "");
    let prohibited = ssh::Server::start(Options { no_forwarding: true, ..Options::default() });
    says(&open(through(prohibited.port, login.clone()), target).await.unwrap_err(), "forbids forwarding");

    // Nobody speaks there: the time limit holds, and nothing of the attempt stays.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = through(silent.local_addr().unwrap().port(), login.clone());
    settings["connectTimeout"] = 1.into();
    says(&open(settings, target).await.unwrap_err(), "did not answer the greeting in 1 s");
    let (mut attempt, _) = silent.accept().await.unwrap();
    let mut greeting = Vec::new();
    timeout(Duration::from_secs(5), attempt.read_to_end(&mut greeting)).await.unwrap().unwrap();
    assert!(greeting.starts_with(b"SSH-2.0-"));

    let metadata = open_with(through(server.port, login), Protocol::Mongodb, "169.254.169.254", 80, &run()).await.unwrap_err();
    says(&metadata, "metadata");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_died_is_followed_by_another() {
    let mut server = ssh::Server::start(Options::default());
    let target = echo().await;
    let seen = Arc::new(Seen::default());
    let run = Run { observer: seen.clone(), ..run() };
    let login = through(server.port, json!({ "sshPassword": PASSWORD }));
    let link = open_with(login, Protocol::Mongodb, "127.0.0.1", target, &run).await.unwrap();
    let mut stream = TcpStream::connect((link.host(), link.port())).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_u8().await.unwrap();

    server.stop();
    assert!(timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap().is_err());
    let error = link.explain(Error::new(Kind::Database, "the driver broke"));
    assert!(error.to_string().contains("the SSH session with tunnel@"), "{error}");
    assert!(error.retryable);

    server.resume();
    echoes(&link, b"again").await.unwrap();
    let log = seen.log.lock().unwrap().join("\n");
    assert!(log.contains("had ended") && log.contains("logged in again"), "{log}");
    drop(link);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_holds_up_nobody_else() {
    let server = ssh::shared();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Sends without end to who says f, and back what it gets to everybody else.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut first = [0];
                stream.peek(&mut first).await.unwrap();
                if first == *b"f" {
                    while stream.write_all(&[0; 65_536]).await.is_ok() {}
                }
                let (mut read, mut write) = stream.split();
                copy(&mut read, &mut write).await
            });
        }
    });
    let link = open(through(server.port, json!({ "sshPassword": PASSWORD })), port).await.unwrap();
    let mut paused = TcpStream::connect((link.host(), link.port())).await.unwrap();
    paused.write_all(b"f").await.unwrap();
    paused.read_u8().await.unwrap();
    for _ in 0..3 {
        timeout(Duration::from_secs(10), echoes(&link, &[1; 100_000])).await.expect("no reader holds up another").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_proven_through_the_tunnel_too() {
    let server = ssh::shared();
    let login = |mode: &str| {
        let mut settings = through(server.port, json!({"sshKey": ssh::keys().ed25519, "tlsCa": AUTHORITY.certificate}));
        settings["tlsMode"] = mode.into();
        settings
    };
    let good = super::tls::echo(&AUTHORITY.server(HERE), None, false).await;
    let link = open(login("verify-full"), good).await.unwrap();
    echoes(&link, &vec![5; 2_000_000]).await.unwrap();
    assert!(link.facts().tls.is_some() && link.facts().ssh.is_some());
    let other = super::tls::echo(&AUTHORITY.server(&["elsewhere.example"]), None, false).await;
    says(&open(login("verify-full"), other).await.unwrap_err(), "but for elsewhere.example");
}

fn generate(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), algorithm).unwrap()
}

#[tokio::test]
async fn any_of_a_servers_host_keys_may_be_the_pinned_one() {
    let ecdsa = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
    let host_keys = vec![generate(Algorithm::Ed25519), generate(ecdsa.clone()), generate(Algorithm::Rsa { hash: None })];
    let server = Bastion::start(bastion::Options { host_keys: host_keys.clone(), answer: Some(SECRET), ..Default::default() }).await;
    let target = echo().await;
    let settings = |key: &PrivateKey| {
        let pin = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let mut settings = through(server.port, json!({"sshPassword": SECRET, "sshHostKey": pin}));
        settings["sshUser"] = bastion::USER.into();
        settings
    };
    for key in &host_keys {
        let link = open(settings(key), target).await.unwrap();
        echoes(&link, b"x").await.unwrap();
    }
    // One login carries one connection after another.
    let before = server.logins.load(Ordering::Relaxed);
    let link = open(settings(&host_keys[0]), target).await.unwrap();
    for _ in 0..5 {
        echoes(&link, b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(server.logins.load(Ordering::Relaxed) - before <= 2);
    says(&open(settings(&generate(Algorithm::Ed25519)), target).await.unwrap_err(), "is the one that is known");
}

#[tokio::test]
async fn private_keys_are_read_in_every_usual_form() {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |args: &[&str]| {
        let made = Command::new("openssl").args(args).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap()
    };
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem"]);
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem"]);
    openssl(&["genpkey", "-algorithm", "ED25519", "-out", "ed.pem"]);
    let encrypted = |file: &str| openssl(&["pkcs8", "-topk8", "-in", file, "-passout", &format!("pass:{SECRET}")]);
    let target = echo().await;
    for (name, text, passphrase) in [
        ("EC, PKCS #8", openssl(&["pkey", "-in", "ec.pem"]), None),
        ("EC, SEC 1", openssl(&["ec", "-in", "ec.pem"]), None),
        ("EC, encrypted PKCS #8", encrypted("ec.pem"), Some(SECRET)),
        ("RSA, PKCS #8", openssl(&["pkey", "-in", "rsa.pem"]), None),
        ("RSA, PKCS #1", openssl(&["rsa", "-in", "rsa.pem", "-traditional"]), None),
        ("RSA, encrypted PKCS #8", encrypted("rsa.pem"), Some(SECRET)),
        ("Ed25519, PKCS #8", openssl(&["pkey", "-in", "ed.pem"]), None),
    ] {
        let key = decode_secret_key(&text, passphrase).unwrap_or_else(|error| panic!("{name}: {error}"));
        let options = bastion::Options {
            host_keys: vec![generate(Algorithm::Ed25519)],
            user_key: Some(key.public_key().clone()),
            ..Default::default()
        };
        let server = Bastion::start(options).await;
        let mut settings = through(server.port, json!({ "sshKey": text }));
        settings["sshUser"] = bastion::USER.into();
        if let Some(passphrase) = passphrase {
            settings["sshKeyPassphrase"] = passphrase.into();
        }
        let link = open(settings, target).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        echoes(&link, b"x").await.unwrap();
    }
}
