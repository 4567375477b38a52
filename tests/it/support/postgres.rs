//! Throw-away PostgreSQL servers of each major release, made ready by scripts/test-peers.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio_postgres::{Client, NoTls};

use super::{
    leash::{self, Leash, as_server},
    tls::{Authority, Identity},
};

/// The superuser's password; every connection must give it.
pub const PASSWORD: &str = "Passw0rd!x:y\\z";
/// Servers that are tested against.
pub const MAJORS: [u32; 4] = [13, 15, 17, 18];

/// What a server of its own may be given.
#[derive(Default)]
pub struct Options<'a> {
    /// The server's certificate, and the authority of its clients' certificates; without them, it speaks no TLS.
    pub tls: Option<(&'a Identity, &'a Authority)>,
    /// pg_hba.conf, instead of passwords (SCRAM) for everybody from everywhere, such as
    /// `hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full`.
    pub access: Option<&'a str>,
    /// Further arguments.
    pub args: &'a [&'a str],
}

/// A running server. It ends when this is dropped, and when the test process ends in whatever way.
pub struct Server {
    pub major: u32,
    pub port: u16,
    data: PathBuf,
    _leash: Leash,
}

/// The folder with the programs of a major release.
pub fn programs(major: u32) -> PathBuf {
    let places = [leash::cache().join(format!("pg{major}/programs")), format!("/usr/lib/postgresql/{major}/bin").into()];
    let found = places.into_iter().find(|place| place.join("postgres").is_file());
    found.unwrap_or_else(|| panic!("PostgreSQL {major} is not there: run scripts/test-peers"))
}

/// The server of a major release that all tests of this process share.
pub fn shared(major: u32) -> &'static Server {
    static SERVERS: [OnceLock<Server>; MAJORS.len()] = [const { OnceLock::new() }; MAJORS.len()];
    let at = MAJORS.iter().position(|known| *known == major).expect("a known major release");
    SERVERS[at].get_or_init(|| Server::start(major))
}

impl Server {
    /// Starts a server of its own.
    pub fn start(major: u32) -> Self {
        Self::start_with(major, &Options::default())
    }

    /// Starts a server of its own.
    pub fn start_with(major: u32, options: &Options<'_>) -> Self {
        let folder = leash::folder(&format!("pg{major}"));
        let data = folder.join("data");
        leash::write(&folder.join("password"), PASSWORD);
        let bin = programs(major);
        leash::run(
            as_server(&bin.join("initdb"))
                .args(["--username=postgres", "--auth=scram-sha-256", "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync"])
                .arg(format!("--pwfile={}", folder.join("password").display()))
                .arg(format!("--pgdata={}", data.display())),
        );
        if let Some(lines) = options.access {
            leash::write(&data.join("pg_hba.conf"), lines);
        }
        let port = leash::free_port();
        let mut server = as_server(&bin.join("postgres"));
        server
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off"])
            .args(["-c", "wal_level=logical", "-c", "shared_buffers=64MB", "-c", "timezone=UTC"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.display()));
        if let Some((identity, authority)) = options.tls {
            let files = identity.write(&folder, authority);
            server
                .args(["-c", "ssl=on", "-c", &format!("ssl_ca_file={}", files.authority.display())])
                .args(["-c", &format!("ssl_cert_file={}", files.certificate.display())])
                .args(["-c", &format!("ssl_key_file={}", files.key.display())]);
        }
        server.args(options.args);
        let leash = Leash::start_ended_by("QUIT", &folder, &server);
        leash.wait_until(&format!("PostgreSQL {major}"), || {
            let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            state.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        });
        Self { major, port, data, _leash: leash }
    }

    /// Ends every process of the server at once, as a crash does.
    pub fn crash(&self) {
        let pid = fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.lines().next().unwrap().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres:{}@127.0.0.1:{}/{}", leash::encode(PASSWORD), self.port, leash::encode(database))
    }

    /// Connects as the superuser.
    pub async fn connect(&self, database: &str) -> Client {
        self.connect_as("postgres", PASSWORD, database).await
    }

    pub async fn connect_as(&self, user: &str, password: &str, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap_or_else(|error| panic!("{database}: {error:?}"));
        tokio::spawn(connection);
        client
    }

    /// Creates an empty database with a name of its own.
    pub async fn database(&self, purpose: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{purpose}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {} TEMPLATE template0", ident(&name));
        self.connect("postgres").await.batch_execute(&create).await.unwrap();
        name
    }

    /// Runs one of the server's own programs as the superuser and returns what it prints.
    pub fn program(&self, name: &str, args: &[&str]) -> Vec<u8> {
        let output = Command::new(programs(self.major).join(name))
            .args(args)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
