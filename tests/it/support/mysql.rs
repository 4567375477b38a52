//! Throw-away MySQL and MariaDB servers, made ready by scripts/test-peers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use mysql_async::{Conn, OptsBuilder, prelude::Queryable as _};

use super::{
    leash::{self, Leash, as_server},
    tls::{AUTHORITY, Authority, Identity},
};

/// The account that may do everything; it logs in with [`PASSWORD`] from anywhere, by caching_sha2_password on MySQL.
pub const ADMIN: &str = "admin";
/// The password of all accounts.
pub const PASSWORD: &str = r#"Pass w0rd!'"\#%x"#;
/// May do everything, over TLS only.
pub const TLS_ONLY: &str = "tls_only";
/// May do everything, with a client certificate of the server's authority only.
pub const CERTIFIED: &str = "certified";

/// Servers that are tested against, and the client tools that came with each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    MySql97,
    MariaDb1011,
    MariaDb118,
}

pub const FLAVOURS: [Flavour; 3] = [Flavour::MySql97, Flavour::MariaDb1011, Flavour::MariaDb118];

/// What a server of its own may be given.
#[derive(Default)]
pub struct Options<'a> {
    /// Further arguments, such as `--log-bin`.
    pub args: &'a [&'a str],
    /// The server's certificate and the authority of its clients' certificates, instead of [`AUTHORITY`]'s.
    pub tls: Option<(&'a Identity, &'a Authority)>,
    /// Without TLS.
    pub plain: bool,
}

/// A running server. It ends when this is dropped, and when the test process ends in whatever way.
pub struct Server {
    pub flavour: Flavour,
    pub port: u16,
    leash: Leash,
}

impl Flavour {
    pub fn is_mariadb(self) -> bool {
        self != Self::MySql97
    }

    fn peer(self) -> &'static str {
        match self {
            Self::MySql97 => "mysql9.7",
            Self::MariaDb1011 => "mariadb10.11",
            Self::MariaDb118 => "mariadb11.8",
        }
    }

    /// The server program with the arguments that make it run from its folder on `data`.
    fn server(self, data: &Path) -> Command {
        let usr = leash::cache().join(self.peer()).join("usr");
        let share = usr.join(if self == Self::MariaDb118 { "share/mariadb" } else { "share/mysql" });
        let mut command = as_server(&programs(self).join(if self.is_mariadb() { "mariadbd" } else { "mysqld" }));
        command
            .arg("--no-defaults")
            .arg(format!("--basedir={}", usr.display()))
            .arg(format!("--plugin-dir={}", usr.join("lib/mysql/plugin").display()))
            .arg(format!("--lc-messages-dir={}", share.display()))
            .arg(format!("--character-sets-dir={}", share.join("charsets").display()))
            .arg(format!("--datadir={}", data.display()));
        command
    }

    fn initialise(self, data: &Path) {
        if !self.is_mariadb() {
            leash::run(self.server(data).args(["--initialize-insecure", "--innodb-redo-log-capacity=16M"]));
            return;
        }
        let usr = leash::cache().join(self.peer()).join("usr");
        leash::run(
            as_server(&programs(self).join("mariadb-install-db"))
                .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=16M"])
                .arg(format!("--basedir={}", usr.display()))
                .arg(format!("--datadir={}", data.display())),
        );
    }
}

/// The folder with the client tools of a flavour: its dump program, its client.
pub fn programs(flavour: Flavour) -> PathBuf {
    leash::programs(flavour.peer())
}

/// The server of a flavour that all tests of this process share. It has TLS by [`AUTHORITY`], and no binary log.
pub fn shared(flavour: Flavour) -> &'static Server {
    static SERVERS: [OnceLock<Server>; FLAVOURS.len()] = [const { OnceLock::new() }; FLAVOURS.len()];
    SERVERS[flavour as usize].get_or_init(|| Server::start(flavour, &Options::default()))
}

impl Server {
    /// Starts a server of its own.
    pub fn start(flavour: Flavour, options: &Options<'_>) -> Self {
        let folder = leash::folder(flavour.peer());
        let data = folder.join("data");
        leash::copy_of_template(flavour.peer(), "data", &data, |data| flavour.initialise(data));
        leash::write(&folder.join("accounts.sql"), accounts());
        let port = leash::free_port();
        let mut server = flavour.server(&data);
        server
            .args([format!("--port={port}"), "--bind-address=127.0.0.1".to_owned()])
            .arg(format!("--socket={}", folder.join("socket").display()))
            // A server that starts removes the temporary tables of others in a shared one.
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--pid-file={}", folder.join("server.pid").display()))
            .arg(format!("--init-file={}", folder.join("accounts.sql").display()))
            .args(["--skip-name-resolve", "--max-connect-errors=1000000", "--default-time-zone=+00:00", "--performance-schema=OFF"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF", "--innodb-flush-method=nosync"])
            .args(["--innodb-buffer-pool-size=64M", "--max-allowed-packet=64M"]);
        if !flavour.is_mariadb() {
            server.args(["--mysqlx=OFF", "--innodb-redo-log-capacity=64M", "--disable-log-bin"]);
            server.arg(format!("--secure-file-priv={}", folder.display()));
        }
        if options.plain {
            server.args(if flavour.is_mariadb() { &["--skip-ssl"][..] } else { &["--tls-version="][..] });
        } else {
            let own = AUTHORITY.server(&["localhost", "127.0.0.1"]);
            let (identity, authority) = options.tls.unwrap_or((&own, &AUTHORITY));
            let files = identity.write(&folder, authority);
            server
                .arg(format!("--ssl-ca={}", files.authority.display()))
                .arg(format!("--ssl-cert={}", files.certificate.display()))
                .arg(format!("--ssl-key={}", files.key.display()));
        }
        server.args(options.args);
        let server = Self { flavour, port, leash: Leash::start(&folder, &server) };
        server.leash.wait_until(flavour.peer(), || leash::greets(port));
        server
    }

    /// Ends the server at once, as a crash does.
    pub fn crash(&self) {
        self.leash.kill();
    }

    pub fn url(&self, database: &str) -> String {
        format!("mysql://{ADMIN}:{}@127.0.0.1:{}/{}", leash::encode(PASSWORD), self.port, leash::encode(database))
    }

    /// Connects as [`ADMIN`]; no database is selected when its name is empty.
    pub async fn connect(&self, database: &str) -> Conn {
        self.connect_as(ADMIN, PASSWORD, database).await
    }

    pub async fn connect_as(&self, user: &str, password: &str, database: &str) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(database).filter(|name| !name.is_empty()));
        Conn::new(options).await.unwrap_or_else(|error| panic!("{user} at {database}: {error:?}"))
    }

    /// Creates an empty database with a name of its own.
    pub async fn database(&self, purpose: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{purpose}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.connect("").await;
        connection.query_drop(format!("CREATE DATABASE {} CHARACTER SET utf8mb4", ident(&name))).await.unwrap();
        connection.disconnect().await.unwrap();
        name
    }

    /// Runs a client tool of a flavour against this server as [`ADMIN`] and returns what it prints.
    pub fn tool(&self, client: Flavour, name: &str, args: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("client.cnf");
        let password = PASSWORD.replace('\\', r"\\").replace('"', "\\\"");
        fs::write(&file, format!("[client]\nhost=127.0.0.1\nport={}\nuser={ADMIN}\npassword=\"{password}\"\n", self.port)).unwrap();
        leash::run(Command::new(programs(client).join(name)).env_clear().arg(format!("--defaults-file={}", file.display())).args(args))
    }
}

pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// One statement a line, as `--init-file` wants them.
fn accounts() -> String {
    let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
    [(ADMIN, ""), (TLS_ONLY, " REQUIRE SSL"), (CERTIFIED, " REQUIRE X509")]
        .map(|(name, require)| {
            format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'{require};\nGRANT ALL ON *.* TO '{name}'@'%' WITH GRANT OPTION;\n")
        })
        .concat()
}
