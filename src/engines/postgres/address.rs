//! Where a PostgreSQL database is and who asks, as the settings say it.

use std::{collections::HashMap, fmt};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::{
    domain::{database::Settings, fields::SettingsExt, secret::Secret},
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
