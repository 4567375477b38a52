//! PostgreSQL over TLS: what each mode proves, and that pg_dump and pg_restore take the same way.

use dbsnap::{
    domain::{database::Settings, restore::RestoreMode},
    engines::Engine,
    error::Result,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Bench, ENGINE, plan_into, refused, settings};
use crate::support::{
    postgres::{Server, shared},
    tls::{AUTHORITY, Authority, Identity},
};

/// A server that admits nothing but TLS, and where its certificate's files are.
struct Secured {
    server: Server,
    _files: TempDir,
}

impl Secured {
    async fn start(major: u32, identity: &Identity, rule: &str) -> Self {
        let server = Server::start(major);
        server.connect("postgres").await.batch_execute(FILL).await.unwrap();
        let files = tempfile::Builder::new().prefix("dbsnap-tls-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let written = identity.write(files.path(), &AUTHORITY);
        let client = server.connect("postgres").await;
        let hba: String = client.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
        for (name, path) in [("ssl_ca_file", &written.authority), ("ssl_cert_file", &written.certificate), ("ssl_key_file", &written.key)] {
            client.batch_execute(&format!("ALTER SYSTEM SET {name} = '{}'", path.display())).await.unwrap();
        }
        client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let on = async || server.connect("postgres").await.query_one("SHOW ssl", &[]).await.unwrap().get::<_, String>(0) == "on";
        crate::support::served::wait_until("the server offers TLS", on).await;
        client.batch_execute(&format!("COPY (SELECT '{rule}') TO '{hba}'")).await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let closed = async || {
            let mut plain = settings(&server, "postgres");
            plain.insert("tlsMode".into(), "off".into());
            ENGINE.probe(&plain, &Bench::new().run()).await.is_err()
        };
        crate::support::served::wait_until("the server admits only TLS", closed).await;
        Self { server, _files: files }
    }

    fn settings(&self, changes: Value) -> Settings {
        let mut settings = settings(&self.server, "postgres");
        settings.extend(changes.as_object().unwrap().clone());
        settings
    }

    async fn probe(&self, changes: Value) -> Result<dbsnap::domain::database::Probe> {
        ENGINE.probe(&self.settings(changes), &Bench::new().run()).await
    }
}

const FILL: &str = "CREATE TABLE letters (id int PRIMARY KEY, body text); INSERT INTO letters SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i";
const PASSWORD_ONLY: &str = "hostssl all all 127.0.0.1/32 scram-sha-256";
const WITH_CERTIFICATE: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full";

#[tokio::test]
async fn each_mode_proves_what_it_says() {
    let secured = Secured::start(17, &AUTHORITY.server(&["db.internal"]), PASSWORD_ONLY).await;
    let authority = &AUTHORITY.certificate;
    refused(secured.probe(json!({"tlsMode": "off"})).await, &["admit only encrypted connections"]);
    for mode in ["prefer", "require"] {
        let tls = secured.probe(json!({"tlsMode": mode})).await.unwrap().connection.unwrap().tls.expect(mode);
        assert_eq!((tls.version.as_str(), tls.verified.as_str(), tls.client_certificate), ("TLS 1.3", "nothing", false), "{mode}: {tls:?}");
        assert!(tls.subject.contains("db.internal") && tls.issuer.contains("DBSnap tests") && tls.expires_at.is_some(), "{tls:?}");
    }
    let tls = secured.probe(json!({"tlsMode": "verify-ca", "tlsCa": authority})).await.unwrap().connection.unwrap().tls.unwrap();
    assert_eq!(tls.verified, "authority");
    let named = json!({"tlsMode": "verify-full", "tlsCa": authority, "tlsServerName": "db.internal"});
    let tls = secured.probe(named).await.unwrap().connection.unwrap().tls.unwrap();
    assert_eq!(tls.verified, "authority and name");
    refused(secured.probe(json!({"tlsMode": "verify-full", "tlsCa": authority})).await, &["127.0.0.1"]);
    let foreign = Authority::new("somebody else").certificate;
    for (mode, authority) in [("verify-ca", json!(foreign)), ("verify-full", json!(foreign)), ("verify-ca", Value::Null)] {
        refused(secured.probe(json!({"tlsMode": mode, "tlsCa": authority})).await, &["certificate"]);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_where_certificates_are_verified() {
    let secured = Secured::start(15, &AUTHORITY.expired(&["127.0.0.1"]), PASSWORD_ONLY).await;
    refused(secured.probe(json!({"tlsMode": "verify-ca", "tlsCa": AUTHORITY.certificate})).await, &["expired"]);
    assert!(secured.probe(json!({"tlsMode": "require"})).await.is_ok());
}

#[tokio::test]
async fn a_dump_and_its_restore_take_mutual_tls_as_their_programs_do() {
    let secured = Secured::start(17, &AUTHORITY.server(&["127.0.0.1", "localhost"]), WITH_CERTIFICATE).await;
    let own = AUTHORITY.client("postgres");
    let mutual = json!({"tlsMode": "verify-full", "tlsCa": AUTHORITY.certificate, "tlsCert": own.certificate, "tlsKey": own.key});
    refused(secured.probe(json!({"tlsMode": "verify-full", "tlsCa": AUTHORITY.certificate})).await, &["certificate"]);
    let other = AUTHORITY.client("somebody");
    let other = json!({"tlsMode": "require", "tlsCert": other.certificate, "tlsKey": other.key});
    refused(secured.probe(other).await, &["authentication failed"]);

    let probe = secured.probe(mutual.clone()).await.unwrap();
    let tls = probe.connection.unwrap().tls.unwrap();
    assert!(tls.client_certificate && tls.verified == "authority and name", "{tls:?}");
    let bench = Bench::new();
    let settings = secured.settings(mutual);
    let dumped = bench.dump_with(&settings, json!({"globals": true})).await.unwrap();
    assert_eq!(dumped.tables.iter().map(|table| table.rows).sum::<u64>(), 20_000);
    let restored = bench.restore_with(&settings, &dumped, plan_into(RestoreMode::New, "copy")).await.unwrap();
    assert_eq!(restored.tables.iter().map(|table| table.rows).sum::<u64>(), 20_000);
}

#[tokio::test]
async fn a_server_without_tls_is_reached_by_prefer_and_by_nothing_stronger() {
    let server = shared(15);
    let bench = Bench::new();
    let mut own = settings(server, "postgres");
    let probe = ENGINE.probe(&own, &bench.run()).await.unwrap();
    assert_eq!(probe.connection.unwrap().tls, None);
    for mode in ["require", "verify-ca", "verify-full"] {
        own.insert("tlsMode".into(), mode.into());
        refused(ENGINE.probe(&own, &bench.run()).await, &["TLS"]);
    }
}
