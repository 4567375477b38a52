//! Where a MySQL database is, and connections to it: our own and those of the client programs.

use std::{sync::Arc, time::Duration};

use mysql_async::{Conn, Error as DriverError, OptsBuilder, SslOpts};

use super::{address::Address, option_file::OptionFile, tools::Tool};
use crate::{
    domain::{
        database::{ConnectionFacts, Settings},
        run::Run,
        secret::Secret,
    },
    engines::{
        network::{Link, Protocol, Route},
        process::Program,
    },
    error::{Error, Kind, Result},
};

/// The largest packet that is taken from a server: the protocol's own limit.
pub const LARGEST_PACKET: usize = 1 << 30;
/// Between signs of life on an idle connection of ours.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// No time limit that the server or the account carries may end a session of ours, and no mode changes how names and
/// texts are quoted. Both flavours and every supported release know these.
const PREPARE: &str =
    "SET NAMES utf8mb4, SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES', wait_timeout = 86400, net_write_timeout = 3600,
    net_read_timeout = 3600, time_zone = '+00:00', group_concat_max_len = 1048576";

/// One database of one server and the open way to it. Clones share the way.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: Address,
    link: Arc<Link>,
    connect_timeout: Duration,
}

impl Target {
    /// Opens the way that validated settings describe.
    pub async fn open(settings: &Settings, run: &Run) -> Result<Self> {
        let address = Address::from_settings(settings)?;
        let route = Route::from_settings(settings)?;
        let connect_timeout = route.connect_timeout;
        let opening = Link::open(&route, Protocol::Mysql, &address.host, address.port, run);
        let link = Arc::new(run.until_cancelled(opening).await?);
        Ok(Self { address, link, connect_timeout })
    }

    /// Another database of the same server.
    pub fn with_database(&self, database: &str) -> Self {
        Self { address: Address { database: database.to_owned(), ..self.address.clone() }, ..self.clone() }
    }

    /// The database's name. Errors when none is chosen.
    pub fn database(&self) -> Result<&str> {
        match self.address.database.as_str() {
            "" => Err(Error::validation("the setting 'database' is missing").hint("name a database")),
            name => Ok(name),
        }
    }

    pub fn facts(&self) -> ConnectionFacts {
        self.link.facts()
    }

    /// What of the way will stop working soon.
    pub fn warnings(&self) -> Vec<String> {
        self.link.warnings()
    }

    /// The error as the way knows it, see [`Link::explain`].
    pub fn explain(&self, error: Error) -> Error {
        self.link.explain(error)
    }

    /// Opens a connection with the database selected.
    pub async fn connect(&self, run: &Run) -> Result<Conn> {
        self.connect_to(Some(self.database()?), run).await
    }

    /// Opens a connection with no database selected.
    pub async fn connect_to_server(&self, run: &Run) -> Result<Conn> {
        self.connect_to(None, run).await
    }

    async fn connect_to(&self, database: Option<&str>, run: &Run) -> Result<Conn> {
        let mut options = OptsBuilder::default()
            .user(Some(&self.address.user))
            .pass(self.address.password.as_ref().map(Secret::expose))
            .db_name(database)
            // A server could otherwise send the driver to a socket of this machine.
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEP_ALIVE))
            .max_allowed_packet(Some(LARGEST_PACKET))
            .wait_timeout(Some(86_400))
            .setup(vec![PREPARE]);
        options = if self.address.is_socket() {
            options.socket(Some(&self.address.host)).prefer_socket(true)
        } else {
            options.ip_or_hostname(self.link.host()).tcp_port(self.link.port())
        };
        if let Some(authority) = self.link.local_authority() {
            let authority = authority.as_bytes().to_vec().into();
            options = options.ssl_opts(SslOpts::default().with_root_certs(vec![authority]).with_disable_built_in_roots(true));
        }
        let opening = async {
            let limit = self.connect_timeout * 2;
            match tokio::time::timeout(limit, Conn::new(options)).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(cause)) => Err(self.explain(self.refused(cause))),
                Err(_) => Err(self
                    .explain(Error::new(Kind::Database, format!("{} did not answer in {} s", self.address, limit.as_secs())).retryable())),
            }
        };
        run.until_cancelled(opening).await
    }

    fn refused(&self, cause: DriverError) -> Error {
        let code = if let DriverError::Server(server) = &cause { Some(server.code) } else { None };
        let error = failed(format!("connecting to {}", self.address), cause);
        match code {
            Some(1045 | 1698) => error.hint("check user and password, and from which hosts the server admits the user"),
            Some(1044) => error.hint("check the database name, and that the user has a right on it"),
            Some(1049) => error.hint("check the database name"),
            Some(1130) => error.hint("the server admits no user from this host: create the user for it"),
            Some(3159) => error.hint("the server wants TLS: set the TLS mode to require or higher"),
            Some(1040 | 1203 | 1226) => error.hint("the server has no connection left: raise its limits, or try again later").retryable(),
            Some(_) => error,
            None => error.hint("check host and port, and that the server listens there").retryable(),
        }
    }

    /// A client program for this target: how it gets there and who asks stand in an option file in the run's scratch
    /// folder, nothing on its command line. The database is not named. Further arguments are to be added after.
    pub fn program(&self, tool: &Tool, run: &Run) -> Result<Program> {
        self.program_without(tool, &[], run)
    }

    /// As [`Target::program`], for a dump that leaves out tables, named `database.table`.
    pub fn program_without(&self, tool: &Tool, ignored: &[String], run: &Run) -> Result<Program> {
        let file = OptionFile {
            tool,
            socket: self.address.is_socket().then_some(self.address.host.as_str()),
            host: self.link.host(),
            port: self.link.port(),
            user: &self.address.user,
            password: self.address.password.as_ref(),
            authority: self.link.local_authority(),
            connect_timeout: self.connect_timeout,
            ignored,
        };
        let path = file.write(&run.scratch)?;
        let mut argument = std::ffi::OsString::from("--defaults-file=");
        argument.push(path);
        let program = Program::new(&tool.path).arg(argument);
        Ok(match &self.address.password {
            Some(password) => program.secret(password.clone()),
            None => program,
        })
    }
}

/// A driver error as a person reads it.
pub fn failed(doing: impl Into<String>, cause: DriverError) -> Error {
    let words = match &cause {
        DriverError::Server(server) => clean(&format!("{} (error {})", server.message, server.code)),
        other => clean(&other.to_string()),
    };
    Error::new(Kind::Database, format!("{}: {words}", doing.into()))
}

/// A server's text with its control characters made visible.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An identifier, quoted for SQL.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string literal, quoted for SQL in sessions of ours, in which a backslash is a plain character.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
