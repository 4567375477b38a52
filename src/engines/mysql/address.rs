//! What settings and URLs say of a server, one of its databases, and who asks.

use std::fmt;

use super::info;
use crate::{
    domain::{database::Settings, fields::SettingsExt, secret::Secret},
    engines::network::url::{self, Alias, Dialect},
    error::{Error, Result},
};

/// What MySQL's own programs and common drivers call the connection fields.
const ALIASES: &[Alias] = &[
    Alias::with_values("ssl-mode", "tlsMode", MODES),
    Alias::with_values("sslMode", "tlsMode", MODES),
    Alias::new("ssl-ca", "tlsCaFile"),
    Alias::new("ssl-cert", "tlsCertFile"),
    Alias::new("ssl-key", "tlsKeyFile"),
    Alias::new("connect-timeout", "connectTimeout"),
    Alias::new("socket", "host"),
    Alias::ignored("charset"),
    Alias::ignored("characterEncoding"),
];

const MODES: &[(&str, &str)] = &[
    ("DISABLED", "off"),
    ("PREFERRED", "prefer"),
    ("REQUIRED", "require"),
    ("VERIFY_CA", "verify-ca"),
    ("VERIFY_IDENTITY", "verify-full"),
];

/// What settings say of a server, one of its databases, and who asks.
#[derive(Debug, Clone)]
pub struct Address {
    /// A name, an address, or (beginning with `/`) the path of a Unix socket.
    pub host: String,
    pub port: u16,
    /// Empty: none is chosen.
    pub database: String,
    pub user: String,
    pub password: Option<Secret>,
}

impl Address {
    /// Reads validated settings. Errors on control characters: a line break could write a line of its own into an
    /// option file.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let text = |name: &str| settings.text(name).map(str::to_owned);
        let address = Self {
            host: text("host").unwrap_or_else(|| "localhost".into()),
            port: settings.integer("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(3306),
            database: text("database").unwrap_or_default(),
            user: text("user").ok_or_else(|| Error::validation("the setting 'user' is missing"))?,
            password: text("password").map(Secret::new),
        };
        let password = address.password.as_ref().map(Secret::expose).unwrap_or_default();
        let fields = [("host", address.host.as_str()), ("database", &address.database), ("user", &address.user), ("password", password)];
        for (name, value) in fields {
            if value.chars().any(char::is_control) {
                return Err(Error::validation(format!("the {name} holds a control character")).hint("write it without line breaks"));
            }
        }
        Ok(address)
    }

    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// For people: `user@host:port/database`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)?;
        if self.database.is_empty() { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

/// Settings from a `mysql://user:password@host:port/database` URL.
pub fn settings_from_url(url: &str) -> Result<Settings> {
    url::settings_from_url(url, &Dialect { fields: info::INFO.connection, aliases: ALIASES, hosts: None })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn urls_are_read_with_the_names_that_mysqls_programs_use() {
        let check = |url: &str, expect: Value| assert_eq!(Value::Object(settings_from_url(url).unwrap()), expect, "{url}");
        check("mysql://app@db/shop", json!({"user": "app", "host": "db", "database": "shop"}));
        check(
            "mariadb://a%40b:p%2Fw@[::1]:3307/%F0%9F%90%AC?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem",
            json!({"user": "a@b", "password": "p/w", "host": "::1", "port": "3307", "database": "🐬", "tlsMode": "verify-full", "tlsCaFile": "/ca.pem"}),
        );
        check("mysql://app@/?socket=/run/mysqld/s", json!({"user": "app", "host": "/run/mysqld/s"}));
        assert!(settings_from_url("mysql://app@db/shop?allowLocalInfile=1").is_err());
    }

    #[test]
    fn no_part_can_add_a_line_to_an_option_file() {
        for field in ["host", "user", "password", "database"] {
            let mut settings = json!({"host": "h", "user": "u", "password": "p", "database": "d"});
            settings[field] = "x\nlocal-infile=1".into();
            assert!(Address::from_settings(settings.as_object().unwrap()).is_err(), "{field}");
        }
    }
}
