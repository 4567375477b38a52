//! The peers themselves: each starts, and is reached in every way that the tests of the product reach it.

use ::mongodb::{
    Client, IndexModel,
    bson::{Document, doc},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt as _;
use mysql_async::{ClientIdentity, OptsBuilder, SslOpts, prelude::Queryable as _};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_socks::tcp::Socks5Stream;

use crate::support::{
    leash, mongodb,
    mysql::{self, FLAVOURS, Flavour},
    postgres,
    proxies::{self, Kind, Proxy},
    ssh,
    tls::{AUTHORITY, Authority},
};

#[tokio::test]
async fn mysql_and_mariadb_take_rows_and_give_them_back() {
    for flavour in FLAVOURS {
        let server = mysql::shared(flavour);
        let database = server.database("peers").await;
        let mut connection = server.connect(&database).await;
        connection.query_drop("CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(9))").await.unwrap();
        connection.query_drop("INSERT INTO t VALUES (1, 'ä')").await.unwrap();
        let rows: Vec<(i32, String)> = connection.query("SELECT a, b FROM t").await.unwrap();
        assert_eq!(rows, [(1, "ä".to_owned())], "{flavour:?}");
    }
}

#[tokio::test]
async fn every_mysql_client_logs_in_to_every_server_over_tls() {
    for flavour in FLAVOURS {
        let server = mysql::shared(flavour);
        for client in FLAVOURS {
            let program = if client.is_mariadb() { "mariadb" } else { "mysql" };
            let (required, verified) = match client {
                Flavour::MySql97 => ("--ssl-mode=REQUIRED", "--ssl-mode=REQUIRED"),
                _ => ("--ssl", "--skip-ssl-verify-server-cert"),
            };
            let answer = server.tool(client, program, &[required, verified, "-N", "-e", "SHOW STATUS LIKE 'Ssl_cipher'"]);
            assert!(answer.contains("TLS_"), "{client:?} at {flavour:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_mongodb_server_takes_documents_and_gives_them_back() {
    let server = mongodb::shared();
    let database = server.connect().await.database(&server.database("peers"));
    let documents = database.collection::<Document>("things");
    let inserted: Vec<_> = (0..3000).map(|number| doc! { "_id": number, "text": "ä".repeat(100) }).collect();
    documents.insert_many(&inserted).await.unwrap();
    documents.create_index(IndexModel::builder().keys(doc! { "text": 1 }).build()).await.unwrap();
    let found: Vec<Document> = documents.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(1000).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found, inserted);
    assert_eq!(documents.list_index_names().await.unwrap(), ["_id_", "text_1"]);
}

#[tokio::test]
async fn a_mongodb_reader_reads_and_cannot_write() {
    let server = mongodb::shared();
    let name = server.database("peers");
    server.connect().await.database(&name).collection::<Document>("things").insert_one(doc! { "_id": 1 }).await.unwrap();
    let reader = Client::with_uri_str(server.url_as(mongodb::READER, mongodb::PASSWORD, "admin")).await.unwrap();
    let things = reader.database(&name).collection::<Document>("things");
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);
    let error = things.insert_one(doc! { "_id": 2 }).await.unwrap_err().to_string();
    assert!(error.contains("not authorized"), "{error}");
    let stranger = Client::with_uri_str(server.url_as(mongodb::READER, "wrong", "admin")).await.unwrap();
    assert!(stranger.list_database_names().await.unwrap_err().to_string().contains("Authentication failed"));
}

#[tokio::test]
async fn a_mysql_account_may_need_a_client_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, &AUTHORITY.certificate).unwrap();
    for flavour in FLAVOURS {
        let server = mysql::shared(flavour);
        let log_in = async |ssl: Option<SslOpts>| {
            let options = OptsBuilder::default().ip_or_hostname("localhost").tcp_port(server.port).prefer_socket(false);
            let options = options.user(Some(mysql::CERTIFIED)).pass(Some(mysql::PASSWORD)).ssl_opts(ssl);
            mysql_async::Conn::new(options).await.map(drop).map_err(|error| error.to_string())
        };
        let trusting = SslOpts::default().with_root_certs(vec![authority.clone().into()]).with_disable_built_in_roots(true);
        let client = AUTHORITY.client("a client");
        let certified = trusting
            .clone()
            .with_client_identity(Some(ClientIdentity::new(client.certificate.into_bytes().into(), client.key.into_bytes().into())));
        log_in(Some(certified)).await.unwrap_or_else(|error| panic!("{flavour:?}: {error}"));
        assert!(log_in(Some(trusting)).await.unwrap_err().contains("Access denied"), "{flavour:?}");
        assert!(log_in(None).await.unwrap_err().contains("Access denied"), "{flavour:?}");
    }
}

#[tokio::test]
async fn a_mongodb_server_speaks_tls_and_asks_for_a_client_certificate() {
    let server = mongodb::Server::start(&mongodb::Options { tls: Some(&AUTHORITY.server(&["127.0.0.1"])), clients: Some(&AUTHORITY) });
    let folder = tempfile::tempdir().unwrap();
    let client = AUTHORITY.client("a client");
    let (authority, certificate) = (folder.path().join("ca.pem"), folder.path().join("client.pem"));
    std::fs::write(&authority, &AUTHORITY.certificate).unwrap();
    std::fs::write(&certificate, client.certificate + &client.key).unwrap();
    let url = format!("{}&tlsCAFile={}&serverSelectionTimeoutMS=3000", server.url("admin"), leash::encode(authority.to_str().unwrap()));
    let with_certificate = format!("{url}&tlsCertificateKeyFile={}", leash::encode(certificate.to_str().unwrap()));
    Client::with_uri_str(with_certificate).await.unwrap().list_database_names().await.unwrap();
    Client::with_uri_str(url).await.unwrap().list_database_names().await.unwrap_err();
    server.crash();
}

#[tokio::test]
async fn postgresql_speaks_tls_and_asks_for_a_client_certificate() {
    let server = postgres::Server::start_with(
        18,
        &postgres::Options {
            tls: Some((&AUTHORITY.server(&["localhost", "127.0.0.1"]), &AUTHORITY)),
            access: Some("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n"),
            args: &[],
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let log_in = |name: &str, authority: &Authority| {
        let client = AUTHORITY.client(name).write(folder.path(), authority);
        std::process::Command::new(postgres::programs(18).join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &server.port.to_string(),
                "-U",
                "postgres",
                "-Atc",
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            ])
            .env("PGPASSWORD", postgres::PASSWORD)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", client.authority)
            .env("PGSSLCERT", client.certificate)
            .env("PGSSLKEY", root_owned(&client.key))
            .output()
            .unwrap()
    };
    let says = |name, authority: &Authority, expected: &str| {
        let output = log_in(name, authority);
        let text = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&text).contains(expected), "{}", String::from_utf8_lossy(&text));
    };
    says("postgres", &AUTHORITY, "t\n");
    says("somebody", &AUTHORITY, "authentication failed");
    says("postgres", &Authority::new("foreign"), "certificate verify failed");
}

#[test]
fn certificates_expire() {
    let expired = AUTHORITY.expired(&["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    let server = mysql::Server::start(Flavour::MariaDb118, &mysql::Options { tls: Some((&expired, &AUTHORITY)), ..Default::default() });
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, &AUTHORITY.certificate).unwrap();
    let output = std::process::Command::new(mysql::programs(Flavour::MariaDb118).join("mariadb"))
        .args(["--no-defaults", "--host=localhost", "--protocol=tcp", "--ssl-verify-server-cert", "--user=nobody"])
        .arg(format!("--port={}", server.port))
        .arg(format!("--ssl-ca={}", authority.display()))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("certificate has expired"), "{error}");
    server.crash();
}

/// libpq takes a key only when it belongs to the account that runs it.
fn root_owned(key: &std::path::Path) -> &std::path::Path {
    std::os::unix::fs::chown(key, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    key
}

/// Accepts whatever host key it sees.
struct Trusting;

impl russh::client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// Logs in by a password, or by a key with a passphrase; the session when the server takes it.
async fn session(port: u16, secret: Result<&str, (&str, Option<&str>)>) -> Option<russh::client::Handle<Trusting>> {
    let mut session = russh::client::connect(russh::client::Config::default().into(), ("127.0.0.1", port), Trusting).await.unwrap();
    let answer = match secret {
        Ok(password) => session.authenticate_password(ssh::USER, password).await,
        Err((key, passphrase)) => {
            let key = decode_secret_key(key, passphrase).unwrap();
            let hash = session.best_supported_rsa_hash().await.unwrap().flatten();
            session.authenticate_publickey(ssh::USER, PrivateKeyWithHashAlg::new(key.into(), hash)).await
        }
    };
    answer.unwrap().success().then_some(session)
}

#[tokio::test]
async fn an_ssh_server_takes_the_password_and_every_kind_of_key() {
    let (server, keys) = (ssh::shared(), ssh::keys());
    assert!(session(server.port, Ok(ssh::PASSWORD)).await.is_some(), "{}", server.log());
    assert!(session(server.port, Ok("wrong")).await.is_none());
    for key in [&keys.ed25519, &keys.rsa, &keys.rsa_pem] {
        assert!(session(server.port, Err((key, None))).await.is_some(), "{}", server.log());
    }
    assert!(session(server.port, Err((&keys.with_passphrase, Some(ssh::PASSPHRASE)))).await.is_some(), "{}", server.log());
    assert!(session(server.port, Err((&keys.unknown, None))).await.is_none());
}

#[tokio::test]
async fn an_ssh_server_forwards_unless_told_not_to() {
    let database = mysql::shared(Flavour::MariaDb1011);
    let forward = async |port: u16| {
        let session = session(port, Ok(ssh::PASSWORD)).await.unwrap();
        let channel = session.channel_open_direct_tcpip("127.0.0.1", database.port.into(), "127.0.0.1", 1).await.ok()?;
        Some(greeting(channel.into_stream()).await)
    };
    assert!(forward(ssh::shared().port).await.unwrap().contains("MariaDB"));
    let closed = ssh::Server::start(ssh::Options { no_forwarding: true, no_passwords: false });
    assert!(forward(closed.port).await.is_none());
}

#[tokio::test]
async fn an_ssh_server_stops_comes_back_and_changes_its_key() {
    let mut server = ssh::Server::start(ssh::Options { no_forwarding: false, no_passwords: true });
    let open = session(server.port, Err((&ssh::keys().ed25519, None))).await.unwrap();
    server.stop();
    crate::support::served::wait_until("the session is closed", async || open.is_closed()).await;
    assert!(!leash::listens(server.port));
    server.resume();
    assert!(session(server.port, Ok(ssh::PASSWORD)).await.is_none());
    let before = server.fingerprint();
    server.change_host_key();
    assert_ne!(server.fingerprint(), before);
    assert!(session(server.port, Err((&ssh::keys().ed25519, None))).await.is_some());
}

#[tokio::test]
async fn proxies_lead_to_a_server_with_their_login_only() {
    let database = mysql::shared(Flavour::MariaDb1011);
    let target = ("127.0.0.1", database.port);
    for login in [false, true] {
        let socks = Proxy::start(Kind::Socks5, login);
        let address = ("127.0.0.1", socks.port);
        let stream = Socks5Stream::connect_with_password(address, target, proxies::USER, proxies::PASSWORD).await;
        assert!(greeting(stream.unwrap()).await.contains("MariaDB"), "{}", socks.log());
        assert_eq!(Socks5Stream::connect(address, target).await.is_ok(), !login);

        let http = Proxy::start(Kind::Http, login);
        let credentials = STANDARD.encode(format!("{}:{}", proxies::USER, proxies::PASSWORD));
        let answer = connect(http.port, target.1, &format!("Proxy-Authorization: Basic {credentials}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("MariaDB"), "{answer}: {}", http.log());
        assert_eq!(connect(http.port, target.1, "").await.starts_with("HTTP/1.0 407"), login);
        http.crash();
    }
}

/// What an HTTP proxy answers to CONNECT, and the first that comes through it.
async fn connect(proxy: u16, port: u16, header: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).await.unwrap();
    stream.write_all(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{header}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("MariaDB") && !answer.contains("</html>") {
        answer += &greeting(&mut stream).await;
    }
    answer
}

/// The first bytes that a server sends.
async fn greeting(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let mut bytes = [0; 4096];
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read(&mut bytes)).await.expect("the server speaks").unwrap();
    assert!(read > 0, "the connection was closed");
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}
