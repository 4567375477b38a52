//! Throw-away MongoDB servers: tests/peers/mongo_front.py before PostgreSQL with DocumentDB, made ready by scripts/test-peers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use mongodb::{Client, options::ClientOptions};
use rustix::process::{Pid, Signal};

use super::{
    leash::{self, Leash, as_server},
    tls::{Authority, Identity},
};

/// May do everything.
pub const ADMIN: &str = "tester";
/// May read all databases and change nothing.
pub const READER: &str = "reader";
/// The password of both.
pub const PASSWORD: &str = r#"Pass w0rd!'"\#%x"#;
const PEER: &str = "documentdb";

/// What a server of its own may be given.
#[derive(Default)]
pub struct Options<'a> {
    /// The server's certificate; without it, it speaks no TLS.
    pub tls: Option<&'a Identity>,
    /// Clients must show a certificate of this authority.
    pub clients: Option<&'a Authority>,
}

/// A running server. It ends when this is dropped, and when the test process ends in whatever way.
pub struct Server {
    pub port: u16,
    tls: bool,
    front: Leash,
    _database: Leash,
}

/// The server that all tests of this process share. It speaks no TLS.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&Options::default()))
}

impl Server {
    /// Starts a server of its own.
    pub fn start(options: &Options<'_>) -> Self {
        let folder = leash::folder(PEER);
        let data = folder.join("data");
        leash::copy_of_template(PEER, "data", &data, initialise);
        let database = Leash::start_ended_by("QUIT", &folder, &postgres(&data, &folder));
        database.wait_until(PEER, || is_ready(&data));

        let front_folder = leash::folder("mongo-front");
        let port = leash::free_port();
        let mut front = Command::new(python());
        front.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/mongo_front.py"));
        front.arg(format!("host={} user=postgres dbname=postgres", folder.display())).arg(port.to_string());
        if let Some(identity) = options.tls {
            let files = identity.write(&front_folder, options.clients.unwrap_or(&super::tls::AUTHORITY));
            front.arg("--tls-cert").arg(files.certificate).arg("--tls-key").arg(files.key);
            if options.clients.is_some() {
                front.arg("--tls-ca").arg(files.authority);
            }
        }
        let front = Leash::start(&front_folder, &front);
        front.wait_until("mongo_front.py", || front.log().starts_with("ready"));
        Self { port, tls: options.tls.is_some(), front, _database: database }
    }

    /// Ends the server at once, as a crash does: connections break, and no new one is taken.
    pub fn crash(&self) {
        self.front.kill();
    }

    /// Logs in as [`ADMIN`]. `database` is where the URL points; accounts are in `admin`.
    pub fn url(&self, database: &str) -> String {
        self.url_as(ADMIN, PASSWORD, database)
    }

    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        let (password, database) = (leash::encode(password), leash::encode(database));
        let tls = if self.tls { "&tls=true" } else { "" };
        format!("mongodb://{user}:{password}@127.0.0.1:{}/{database}?authSource=admin&directConnection=true{tls}", self.port)
    }

    /// Connects as [`ADMIN`], without TLS.
    pub async fn connect(&self) -> Client {
        Client::with_options(ClientOptions::parse(self.url("admin")).await.unwrap()).unwrap()
    }

    /// A name for a database that no other test uses; MongoDB makes it at the first insert.
    pub fn database(&self, purpose: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        format!("{purpose}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

fn python() -> PathBuf {
    let python = std::env::var_os("DBSNAP_TEST_PYTHON").map_or_else(|| leash::cache().join("python/bin/python"), PathBuf::from);
    let complete = Command::new(&python).args(["-c", "import bson, psycopg"]).stderr(Stdio::null()).status();
    assert!(complete.is_ok_and(|status| status.success()), "{} does not run or lacks packages: run scripts/test-tools", python.display());
    python
}

/// PostgreSQL on its socket in `sockets` alone.
fn postgres(data: &Path, sockets: &Path) -> Command {
    let mut command = as_server(&leash::programs(PEER).join("postgres"));
    command
        .arg("-D")
        .arg(data)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300"])
        .args(["-c", "shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb,pg_documentdb_extended_rum"])
        .args(["-c", "cron.database_name=postgres", "-c", "cron.launch_active_jobs=off"])
        .args(["-c", &format!("documentdb.localhost_connection_string=host={}", sockets.display())])
        .args(["-c", &format!("unix_socket_directories={}", sockets.display())]);
    command
}

fn psql(sockets: &Path) -> Command {
    let mut command = Command::new(leash::programs(PEER).join("psql"));
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]).arg("-h").arg(sockets);
    command
}

fn is_ready(data: &Path) -> bool {
    let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    state.lines().nth(7).is_some_and(|line| line.trim() == "ready")
}

/// Makes a data folder with the extension and the accounts.
fn initialise(data: &Path) {
    let initdb = leash::programs(PEER).join("initdb");
    leash::run(as_server(&initdb).args(["--username=postgres", "--auth=trust", "--locale=C.UTF-8", "--no-sync"]).arg("--pgdata").arg(data));
    let sockets = leash::folder("documentdb-sockets");
    let mut server = postgres(data, &sockets).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let account = |name: &str, roles: &[&str]| {
        let roles: Vec<_> = roles.iter().map(|role| serde_json::json!({"role": role, "db": "admin"})).collect();
        let command = serde_json::json!({"createUser": name, "pwd": PASSWORD, "roles": roles}).to_string();
        format!("SELECT documentdb_api.create_user('{}')", command.replace('\'', "''"))
    };
    let made = std::panic::catch_unwind(|| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_ready(data) {
            assert!(std::time::Instant::now() < deadline, "PostgreSQL with DocumentDB did not start on {}", data.display());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        leash::run(
            psql(&sockets)
                .args(["-c", "SET client_min_messages = error", "-c", "CREATE EXTENSION documentdb CASCADE"])
                .args(["-c", &account(ADMIN, &["clusterAdmin", "readWriteAnyDatabase"])])
                .args(["-c", &account(READER, &["readAnyDatabase"])]),
        );
    });
    rustix::process::kill_process(Pid::from_child(&server), Signal::INT).unwrap();
    server.wait().unwrap();
    fs::remove_dir_all(sockets).unwrap();
    made.expect("DocumentDB is initialised");
}
