//! Where a PostgreSQL database is and who asks, as the settings say it.

use std::fmt;

use super::info;
use crate::{
    domain::{database::Settings, fields::SettingsExt, secret::Secret},
    engines::network::url::{self, Alias, Dialect},
    error::{Error, Result},
};

/// One database of one server, and who asks.
#[derive(Clone)]
pub struct Address {
    /// A name, an address, or (beginning with `/`) the folder of a Unix socket.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
}

impl Address {
    /// Reads validated settings.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let needed = |name: &str| text(name).ok_or_else(|| Error::validation(format!("the setting '{name}' is missing")));
        let address = Self {
            host: text("host").unwrap_or_else(|| "localhost".into()),
            port: settings.integer("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(5432),
            database: needed("database")?,
            user: needed("user")?,
            password: text("password").map(Secret::new),
        };
        address.checked()
    }

    pub fn with_database(&self, database: &str) -> Result<Self> {
        Self { database: database.to_owned(), ..self.clone() }.checked()
    }

    /// A line break in any of these could write a line of its own into a password file.
    fn checked(self) -> Result<Self> {
        let fields = [("host", &self.host), ("database", &self.database), ("user", &self.user)];
        let password = self.password.as_ref().map(Secret::expose).unwrap_or_default();
        for (name, value) in fields.into_iter().map(|(name, value)| (name, value.as_str())).chain([("password", password)]) {
            if value.chars().any(char::is_control) {
                return Err(Error::validation(format!("the {name} holds a control character")).hint("write it without line breaks"));
            }
        }
        Ok(self)
    }

    /// The line of a password file for this user: one file for one user on one server, reached at `port`; the wildcards
    /// spare libpq's rules on how socket folders are named.
    pub fn password_line(&self, port: u16, password: &Secret) -> String {
        let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        format!("*:{port}:*:{}:{}\n", escape(&self.user), escape(password.expose()))
    }

    /// `dbname='...'`, quoted so that no name can be read as an option, a URL or further connection settings.
    pub fn conninfo(&self) -> String {
        format!("dbname='{}'", self.database.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// For people: `user@host:port/database`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// Other names in URLs, besides those that every engine knows. What is left out says nothing of which database is meant, or
/// (`channel_binding`) cannot be had through a link, which proves the server by its certificate.
const ALIASES: &[Alias] = &[
    Alias::new("dbname", "database"),
    Alias::ignored("application_name"),
    Alias::ignored("channel_binding"),
    Alias::ignored("gssencmode"),
    Alias::ignored("client_encoding"),
];

/// Settings from a `postgresql://user:password@host:port/database` URL. As in libpq its parameters may name any part, and a
/// database that is not named has the user's name.
pub fn settings_from_url(url: &str) -> Result<Settings> {
    let mut settings = url::settings_from_url(url, &Dialect { fields: info::INFO.connection, aliases: ALIASES, hosts: None })?;
    if let Some(user) = settings.get("user").cloned() {
        settings.entry("database").or_insert(user);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(url: &str, expect: Result<serde_json::Value, &str>) {
        match (settings_from_url(url), expect) {
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
            Ok(json!({"user": "a@b", "password": "p/w d", "host": "::1", "port": "6000", "database": "🐘 x", "connectTimeout": "3",
                "tlsMode": "prefer"})),
        );
        check("postgresql:///?user=app&host=/run/pg&dbname=-h", Ok(json!({"user": "app", "host": "/run/pg", "database": "-h"})));
        check("postgresql://app@db", Ok(json!({"user": "app", "host": "db", "database": "app"})));
        check(
            "postgresql://app@db/shop?sslmode=verify-full&channel_binding=require&sslrootcert=/etc/ca.pem",
            Ok(json!({"user": "app", "host": "db", "database": "shop", "tlsMode": "verify-full", "tlsCaFile": "/etc/ca.pem"})),
        );
        check("postgresql://app@db/shop?options=-c%20x", Err("unknown parameter 'options'"));
    }

    fn target(database: &str) -> Address {
        let settings = json!({"host": "h", "database": database, "user": "u:1", "password": "p\\:w"});
        Address::from_settings(settings.as_object().unwrap()).unwrap()
    }

    #[test]
    fn no_database_name_can_be_read_as_anything_else() {
        for (name, expect) in [("-h", "dbname='-h'"), ("host=evil", "dbname='host=evil'"), ("a'b\\c", "dbname='a\\'b\\\\c'")] {
            assert_eq!(target(name).conninfo(), expect);
        }
    }

    #[test]
    fn a_password_line_is_escaped_and_line_breaks_are_refused() {
        let target = target("d");
        assert_eq!(target.password_line(6000, target.password.as_ref().unwrap()), "*:6000:*:u\\:1:p\\\\\\:w\n");
        let settings = json!({"host": "h", "database": "d", "user": "u", "password": "p\nw"});
        assert!(Address::from_settings(settings.as_object().unwrap()).is_err());
    }
}
