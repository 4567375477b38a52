//! Connections to a PostgreSQL database: our own and those of the client programs, all over one open link.

use std::{fmt, fs, io::Write, ops::Deref, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

use tokio::task::AbortHandle;
use tokio_postgres::{Client, Config, NoTls, config::SslMode, error::SqlState};

use super::address::Address;
use crate::{
    domain::{
        database::{ConnectionFacts, Settings},
        run::Run,
    },
    engines::{
        network::{Link, Protocol, Route},
        process::Program,
    },
    error::{Context, Error, Kind, Result},
};

/// No time limit that the account carries may end a long dump, and no schema of the database may shadow the catalogue.
const PREPARE: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN
    ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout');
    SET search_path = pg_catalog";

/// A database that the way is open to. Clones share the way; it closes with the last of them.
#[derive(Clone)]
pub struct Target {
    address: Address,
    link: Arc<Link>,
    connect_timeout: Duration,
}

impl Deref for Target {
    type Target = Address;

    fn deref(&self) -> &Address {
        &self.address
    }
}

impl Target {
    /// Reads validated settings and opens the way to the server.
    pub async fn open(settings: &Settings, run: &Run) -> Result<Self> {
        let address = Address::from_settings(settings)?;
        let route = Route::from_settings(settings)?;
        let connect_timeout = route.connect_timeout;
        let opening = async {
            let opened = Link::open(&route, Protocol::Postgres, &address.host, address.port, run).await;
            opened.map_err(|error| if error.is_cancelled() { error } else { error.while_doing(format!("connecting to {address}")) })
        };
        let link = run.until_cancelled(opening).await?;
        Ok(Self { link: Arc::new(link), connect_timeout, address })
    }

    /// Another database of the same server, over the same way.
    pub fn with_database(&self, database: &str) -> Result<Self> {
        Ok(Self { address: self.address.with_database(database)?, ..self.clone() })
    }

    /// How the server is reached and what is proven of it.
    pub fn facts(&self) -> ConnectionFacts {
        self.link.facts()
    }

    /// What of the way will stop working soon.
    pub fn warnings(&self) -> Vec<String> {
        self.link.warnings()
    }

    /// The error of an operation on this target, with the reason where the link knows a better one.
    pub fn explain(&self, error: Error) -> Error {
        if error.is_cancelled() { error } else { self.link.explain(error) }
    }

    /// Opens a connection that ends when the client is dropped and has no more to do.
    pub async fn connect(&self, run: &Run) -> Result<Client> {
        self.connect_held(run).await.map(|(client, _)| client)
    }

    /// The same, with what ends it at once.
    pub async fn connect_held(&self, run: &Run) -> Result<(Client, AbortHandle)> {
        let mut config = Config::new();
        config
            .host(self.link.host())
            .port(self.link.port())
            .user(&self.user)
            .dbname(&self.database)
            .ssl_mode(SslMode::Disable)
            .connect_timeout(self.connect_timeout)
            .application_name("dbsnap");
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        let opening = async {
            // The driver's own limit covers the socket alone; a server that accepts and says nothing is caught here.
            let opened = tokio::time::timeout(self.connect_timeout * 2, config.connect(NoTls)).await.map_err(|_| {
                Error::new(Kind::Database, format!("{self} did not answer in {} s", self.connect_timeout.as_secs() * 2)).retryable()
            })?;
            opened.map_err(|cause| self.refused(&cause))
        };
        let (client, connection) = run.until_cancelled(opening).await?;
        // Its end is seen by the client: every call on it then errors.
        let connection = tokio::spawn(connection).abort_handle();
        client.batch_execute(PREPARE).await.map_err(|cause| failed(format!("preparing the connection to {self}"), &cause))?;
        Ok((client, connection))
    }

    fn refused(&self, cause: &tokio_postgres::Error) -> Error {
        let error = failed(format!("connecting to {self}"), cause);
        let Some(server) = cause.as_db_error() else {
            return error.hint("check host and port, and that the server listens there").retryable();
        };
        let code = server.code();
        if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            && server.message().ends_with("no encryption")
            && self.facts().tls.is_none()
        {
            error.hint("the server may admit only encrypted connections: set the TLS mode to require, or better verify-full")
        } else if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
            error.hint("check user and password, and the server's pg_hba.conf")
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            error.hint("check the database name")
        } else {
            error
        }
    }

    /// Gives a client program this target: a password file in the run's scratch folder and `PG*` variables, nothing on
    /// its command line. What names the database there is [`Address::conninfo`].
    pub fn give_to(&self, program: Program, run: &Run) -> Result<Program> {
        let mut program = program
            .env("PGHOST", self.link.host())
            .env("PGPORT", self.link.port().to_string())
            .env("PGUSER", &self.user)
            .env("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().max(2).to_string())
            .env("PGAPPNAME", "dbsnap")
            .env("PGCLIENTENCODING", "UTF8")
            // Whether the server is spoken to over TLS, and what of it is proven, is the link's business.
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable");
        if let Some(password) = &self.password {
            let path = run.scratch.join(format!("pgpass-{}", uuid::Uuid::new_v4().simple()));
            let line = self.password_line(self.link.port(), password);
            write_private(&path, &line).context(Kind::Internal, || format!("writing {}", path.display()))?;
            program = program.env("PGPASSFILE", path).secret(password.clone());
        } else {
            // A file that is not there: libpq warns of one that is no plain file.
            program = program.env("PGPASSFILE", run.scratch.join("no-pgpass"));
        }
        Ok(program)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// A driver error as a person reads it: the server's own words where it sent some.
pub fn failed(doing: impl Into<String>, cause: &tokio_postgres::Error) -> Error {
    let doing = doing.into();
    match cause.as_db_error() {
        Some(server) => {
            let mut words = format!("{}: {}", server.severity(), server.message());
            for more in [server.detail(), server.hint()].into_iter().flatten() {
                words.push_str("; ");
                words.push_str(more);
            }
            Error::new(Kind::Database, format!("{doing}: {words}"))
        }
        None => {
            let mut words = cause.to_string();
            let mut source = std::error::Error::source(cause);
            while let Some(inner) = source {
                words = format!("{words}: {inner}");
                source = inner.source();
            }
            Error::new(Kind::Database, format!("{doing}: {words}"))
        }
    }
}

/// An identifier, quoted for SQL.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal, quoted for SQL whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_files_are_private() {
        let path = tempfile::tempdir().unwrap().keep().join("pass");
        write_private(&path, "x").unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!((ident("a\"b"), literal("it's"), literal("a\\b'")), ("\"a\"\"b\"".into(), "'it''s'".into(), "E'a\\\\b'''".into()));
    }
}
