//! Where a PostgreSQL database is, and connections to it: our own and those of the client programs.

use std::{collections::HashMap, fmt, fs, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tokio_postgres::{Client, Config, NoTls, error::SqlState};
use url::Url;

use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run, secret::Secret},
    engines::process::Program,
    error::{Context, Error, Kind, Result},
};

/// No time limit that the account carries may end a long dump, and no schema of the database may shadow the catalogue.
const PREPARE: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN
    ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout');
    SET search_path = pg_catalog";

/// One database of one server, and who asks.
#[derive(Clone)]
pub struct Target {
    /// A name, an address, or (beginning with `/`) the folder of a Unix socket.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
    pub connect_timeout: Duration,
}

impl Target {
    /// Reads validated settings.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let needed = |name: &str| text(name).ok_or_else(|| Error::validation(format!("the setting '{name}' is missing")));
        let target = Self {
            host: text("host").unwrap_or_else(|| "localhost".into()),
            port: settings.integer("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(5432),
            database: needed("database")?,
            user: needed("user")?,
            password: text("password").map(Secret::new),
            connect_timeout: Duration::from_secs(settings.integer("connectTimeout").and_then(|s| u64::try_from(s).ok()).unwrap_or(10)),
        };
        target.checked()
    }

    /// A line break in any of these could write a line of its own into a password file.
    pub fn checked(self) -> Result<Self> {
        let fields = [("host", &self.host), ("database", &self.database), ("user", &self.user)];
        let password = self.password.as_ref().map(Secret::expose).unwrap_or_default();
        for (name, value) in fields.into_iter().map(|(name, value)| (name, value.as_str())).chain([("password", password)]) {
            if value.chars().any(char::is_control) {
                return Err(Error::validation(format!("the {name} holds a control character")).hint("write it without line breaks"));
            }
        }
        Ok(self)
    }

    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// Opens a connection that ends when the client is dropped.
    pub async fn connect(&self, run: &Run) -> Result<Client> {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
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
        tokio::spawn(connection);
        client.batch_execute(PREPARE).await.map_err(|cause| failed(format!("preparing the connection to {self}"), &cause))?;
        Ok(client)
    }

    fn refused(&self, cause: &tokio_postgres::Error) -> Error {
        let error = failed(format!("connecting to {self}"), cause);
        match cause.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                error.hint("check user and password, and the server's pg_hba.conf")
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => error.hint("check the database name"),
            Some(_) => error,
            None => error.hint("check host and port, and that the server listens there").retryable(),
        }
    }

    /// Gives a client program this target: a password file in the run's scratch folder and `PG*` variables, nothing on
    /// its command line. What names the database there is [`Target::conninfo`].
    pub fn give_to(&self, program: Program, run: &Run) -> Result<Program> {
        let mut program = program
            .env("PGHOST", &self.host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGCONNECT_TIMEOUT", self.connect_timeout.as_secs().max(2).to_string())
            .env("PGAPPNAME", "dbsnap")
            .env("PGCLIENTENCODING", "UTF8")
            .env("PGSSLMODE", "prefer")
            .env("PGGSSENCMODE", "disable");
        if let Some(password) = &self.password {
            let path = run.scratch.join(format!("pgpass-{}", uuid::Uuid::new_v4().simple()));
            self.write_password(&path, password).context(Kind::Internal, || format!("writing {}", path.display()))?;
            program = program.env("PGPASSFILE", path).secret(password.clone());
        } else {
            // A file that is not there: libpq warns of one that is no plain file.
            program = program.env("PGPASSFILE", run.scratch.join("no-pgpass"));
        }
        Ok(program)
    }

    fn write_password(&self, path: &PathBuf, password: &Secret) -> std::io::Result<()> {
        let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // One file for one user on one server; the wildcards spare libpq's rules on how socket folders are named.
        writeln!(file, "*:{}:*:{}:{}", self.port, escape(&self.user), escape(password.expose()))
    }

    /// `dbname='...'`, quoted so that no name can be read as an option, a URL or further connection settings.
    pub fn conninfo(&self) -> String {
        format!("dbname='{}'", self.database.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// For people: `user@host:port/database`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// Settings from a `postgresql://user:password@host:port/database` URL. As in libpq, `host`, `port`, `user`, `password`,
/// `dbname`, `connect_timeout` and `sslmode` may stand in its query; anything else is refused.
pub fn settings_from_url(url: &Url) -> Result<Settings> {
    let decode = |what: &str, text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| Error::validation(format!("the {what} in the database URL is not UTF-8")))
    };
    let mut found = HashMap::new();
    let mut set = |name: &'static str, value: String| {
        if !value.is_empty() {
            found.insert(name, value);
        }
    };
    set("host", decode("host", url.host_str().unwrap_or_default().trim_matches(['[', ']']))?);
    set("port", url.port().map(|port| port.to_string()).unwrap_or_default());
    set("user", decode("user", url.username())?);
    set("password", decode("password", url.password().unwrap_or_default())?);
    set("database", decode("database name", url.path().strip_prefix('/').unwrap_or_default())?);
    for (name, value) in url.query_pairs() {
        let field = match &*name {
            "host" => "host",
            "port" => "port",
            "user" => "user",
            "password" => "password",
            "dbname" => "database",
            "connect_timeout" => "connectTimeout",
            "sslmode" if ["disable", "allow", "prefer"].contains(&&*value) => continue,
            "sslmode" => {
                return Err(Error::validation(format!("sslmode={value} cannot be honoured: this version opens no TLS connections"))
                    .hint("use sslmode=prefer on a trusted network, or wait for the version with TLS"));
            }
            other => {
                return Err(Error::validation(format!("the database URL has an unknown parameter '{other}'"))
                    .hint("use host, port, user, password, dbname, connect_timeout or sslmode"));
            }
        };
        set(field, value.into_owned());
    }
    if let Some(user) = found.get("user").cloned() {
        found.entry("database").or_insert(user);
    }
    Ok(found.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
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
    use serde_json::json;

    use super::*;

    fn check(url: &str, expect: Result<serde_json::Value, &str>) {
        match (settings_from_url(&Url::parse(url).unwrap()), expect) {
            (Ok(settings), Ok(expect)) => assert_eq!(serde_json::Value::Object(settings), expect, "{url}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{url}: {error}"),
            (got, expect) => panic!("{url}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        check("postgresql://app@db/shop", Ok(json!({"user": "app", "host": "db", "database": "shop"})));
        check(
            "postgres://a%40b:p%2Fw%20d@[::1]:6000/%F0%9F%90%98%20x?connect_timeout=3&sslmode=prefer",
            Ok(json!({"user": "a@b", "password": "p/w d", "host": "::1", "port": "6000", "database": "🐘 x", "connectTimeout": "3"})),
        );
        check("postgresql:///?user=app&host=/run/pg&dbname=-h", Ok(json!({"user": "app", "host": "/run/pg", "database": "-h"})));
        check("postgresql://app@db", Ok(json!({"user": "app", "host": "db", "database": "app"})));
        check("postgresql://app@db/shop?sslmode=verify-full", Err("TLS"));
        check("postgresql://app@db/shop?options=-c%20x", Err("unknown parameter 'options'"));
    }

    fn target(database: &str) -> Target {
        let settings = json!({"host": "h", "database": database, "user": "u:1", "password": "p\\:w"});
        Target::from_settings(settings.as_object().unwrap()).unwrap()
    }

    #[test]
    fn no_database_name_can_be_read_as_anything_else() {
        for (name, expect) in [("-h", "dbname='-h'"), ("host=evil", "dbname='host=evil'"), ("a'b\\c", "dbname='a\\'b\\\\c'")] {
            assert_eq!(target(name).conninfo(), expect);
        }
    }

    #[test]
    fn the_password_file_is_private_and_escaped_and_line_breaks_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        let target = target("d");
        target.write_password(&path, target.password.as_ref().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "*:5432:*:u\\:1:p\\\\\\:w\n");
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
        let settings = json!({"host": "h", "database": "d", "user": "u", "password": "p\nw"});
        assert!(Target::from_settings(settings.as_object().unwrap()).is_err());
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!((ident("a\"b"), literal("it's"), literal("a\\b'")), ("\"a\"\"b\"".into(), "'it''s'".into(), "E'a\\\\b'''".into()));
    }
}
