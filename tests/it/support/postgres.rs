//! Throw-away PostgreSQL servers of each major release, made ready by scripts/test-peers.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};

/// The superuser's password; every connection must give it.
pub const PASSWORD: &str = "Passw0rd!x:y\\z";
/// Servers that are tested against.
pub const MAJORS: [u32; 4] = [13, 15, 17, 18];
const START: Duration = Duration::from_secs(60);
/// The account of servers when the tests run as root, which PostgreSQL refuses to run as.
const NOBODY: u32 = 65_534;

/// A running server. It ends when this is dropped, and when the test process ends in whatever way.
pub struct Server {
    pub major: u32,
    pub port: u16,
    data: PathBuf,
    /// Ends the server when its other end, this, is closed.
    leash: Option<ChildStdin>,
    supervisor: Child,
}

/// The folder with the programs of a major release.
pub fn programs(major: u32) -> PathBuf {
    let cache = std::env::var_os("DBSNAP_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/dbsnap-test")))
        .expect("HOME or DBSNAP_TEST_CACHE is set");
    let places = [cache.join(format!("pg{major}/programs")), format!("/usr/lib/postgresql/{major}/bin").into()];
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
        let folder = tempfile::Builder::new().prefix(&format!("dbsnap-pg{major}-")).tempdir().unwrap().keep();
        let data = folder.join("data");
        let root = rustix::process::geteuid().is_root();
        if root {
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::write(folder.join("password"), PASSWORD).unwrap();
        let bin = programs(major);
        let made = as_server(root, &bin.join("initdb"))
            .args(["--username=postgres", "--auth=scram-sha-256", "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync"])
            .arg(format!("--pwfile={}", folder.join("password").display()))
            .arg(format!("--pgdata={}", data.display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb {major}: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = as_server(root, &bin.join("postgres"));
        let mut supervisor = Command::new("/bin/sh")
            .arg("-c")
            .arg("folder=$1; shift; \"$@\" >\"$folder/log\" 2>&1 </dev/null & server=$!; cat >/dev/null; kill -QUIT $server; wait $server; rm -rf \"$folder\"")
            .arg("supervisor")
            .arg(&folder)
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off"])
            .args(["-c", "wal_level=logical", "-c", "shared_buffers=64MB", "-c", "timezone=UTC"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.display()))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let leash = supervisor.stdin.take();
        let server = Self { major, port, data, leash, supervisor };
        server.wait_until_ready(&folder);
        server
    }

    fn wait_until_ready(&self, folder: &Path) {
        let deadline = Instant::now() + START;
        let state = || fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        while state().lines().nth(7).is_none_or(|line| line.trim() != "ready") {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL {} did not start: {}", self.major, log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends every process of the server at once, as a crash does.
    pub fn crash(&self) {
        let pid = fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.lines().next().unwrap().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
    }

    pub fn url(&self, database: &str) -> String {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        format!("postgresql://postgres:{}@127.0.0.1:{}/{}", encode(PASSWORD), self.port, encode(database))
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

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.leash.take());
        // The supervisor ends by itself; there is nothing to do about an error here.
        let _ = self.supervisor.wait();
    }
}

pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A command under an account that PostgreSQL runs as. The capability lets it read the cache in root's home.
fn as_server(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .args(["--clear-groups", "--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"])
        .arg(program);
    command
}
