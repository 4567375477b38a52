//! Database URLs, `scheme://user:password@host:port/database?parameter=value`, read into settings.
//!
//! A URL may hold passwords anywhere a person forgot to percent-encode them: no error repeats more of it than the name of
//! a parameter.

use percent_encoding::percent_decode_str;

use crate::{
    domain::{database::Settings, fields::Field},
    error::{Error, Result},
};

/// What an engine's URLs may say.
pub struct Dialect {
    /// The engine's connection fields: each may stand in the query by its own name.
    pub fields: &'static [Field],
    /// Other names for them, besides libpq's for TLS and the connect timeout, which every engine reads.
    pub aliases: &'static [Alias],
    /// The field that takes several hosts as `host:port,host:port`. Without it there is one, in `host` and `port`.
    pub hosts: Option<&'static str>,
}

/// A parameter of a URL that stands for a field. Names are compared without case.
pub struct Alias {
    name: &'static str,
    field: Option<&'static str>,
    /// Value in the URL (compared without case), value of the field; empty when every value stands for itself.
    values: &'static [(&'static str, &'static str)],
}

impl Alias {
    /// The field takes the parameter's value as it is.
    pub const fn new(name: &'static str, field: &'static str) -> Self {
        Self { name, field: Some(field), values: &[] }
    }

    /// Only these values are known; one that becomes `""` leaves the field unset.
    pub const fn with_values(name: &'static str, field: &'static str, values: &'static [(&'static str, &'static str)]) -> Self {
        Self { name, field: Some(field), values }
    }

    /// A parameter that other programs need and a backup does not.
    pub const fn ignored(name: &'static str) -> Self {
        Self { name, field: None, values: &[] }
    }
}

/// libpq's TLS modes; `allow`, which would rather not encrypt, becomes `prefer`.
const LIBPQ_MODES: &[(&str, &str)] = &[
    ("disable", "off"),
    ("allow", "prefer"),
    ("prefer", "prefer"),
    ("require", "require"),
    ("verify-ca", "verify-ca"),
    ("verify-full", "verify-full"),
];

const LIBPQ: &[Alias] = &[
    Alias::with_values("sslmode", "tlsMode", LIBPQ_MODES),
    Alias::new("sslrootcert", "tlsCaFile"),
    Alias::new("sslcert", "tlsCertFile"),
    Alias::new("sslkey", "tlsKeyFile"),
    Alias::new("connect_timeout", "connectTimeout"),
];

/// Settings from a URL, as text or as the URL has them: still to be validated. Parts that are absent or empty are left
/// out; a parameter overrides the part of the same field. A `+` stands for itself, as in libpq.
///
/// As in libpq, `sslmode=require` with a certificate authority checks it (`verify-ca`), and `sslrootcert=system` means
/// the authorities that this machine trusts.
///
/// Errors on a parameter that is not known, and on text that is no such URL.
pub fn settings_from_url(text: &str, dialect: &Dialect) -> Result<Settings> {
    let (_, rest) = text.split_once("://").ok_or_else(|| unreadable("it has no '://'"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if rest.contains('#') || query.contains('#') {
        return Err(unreadable("it holds a '#'"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if path.contains('@') {
        return Err(unreadable("an '@' follows the host"));
    }
    let (user, password) = login.split_once(':').unwrap_or((login, ""));

    let mut settings = Settings::new();
    match dialect.hosts {
        Some(field) => set(&mut settings, field, decode("host", hosts)?),
        None => {
            let (host, port) = host_and_port(hosts)?;
            set(&mut settings, "host", decode("host", host)?);
            set(&mut settings, "port", port.to_owned());
        }
    }
    set(&mut settings, "user", decode("user", user)?);
    set(&mut settings, "password", decode("password", password)?);
    set(&mut settings, "database", decode("database name", path)?);

    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode("name of a parameter", name)?, decode("value of a parameter", value)?);
        let Some((field, value)) = dialect.parameter(&name, value, pair.contains('@'))? else { continue };
        set(&mut settings, field, value);
    }
    if settings.get("tlsCaFile").is_some_and(|file| file == "system") {
        settings.remove("tlsCaFile");
        settings.entry("tlsMode").or_insert_with(|| "verify-full".into());
    }
    if (settings.contains_key("tlsCa") || settings.contains_key("tlsCaFile"))
        && settings.get("tlsMode").is_some_and(|mode| mode == "require")
    {
        settings.insert("tlsMode".into(), "verify-ca".into());
    }
    Ok(settings)
}

impl Dialect {
    /// The field and value that a parameter stands for; `None` when it is to be ignored. `suspect` text may be the rest
    /// of a password and is not repeated.
    fn parameter(&self, name: &str, value: String, suspect: bool) -> Result<Option<(&'static str, String)>> {
        let mut aliases = self.aliases.iter().chain(LIBPQ);
        if let Some(alias) = aliases.find(|alias| alias.name.eq_ignore_ascii_case(name)) {
            let Some(field) = alias.field else { return Ok(None) };
            if alias.values.is_empty() {
                return Ok(Some((field, value)));
            }
            let known = alias.values.iter().find(|known| known.0.eq_ignore_ascii_case(&value));
            return known.map(|known| Some((field, known.1.to_owned()))).ok_or_else(|| {
                let values: Vec<_> = alias.values.iter().map(|known| known.0).collect();
                Error::validation(format!("'{}' in the database URL has a value that is not known", alias.name))
                    .hint(format!("use one of: {}", values.join(", ")))
            });
        }
        if let Some(field) = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
            return Ok(Some((field.name, value)));
        }
        if suspect {
            return Err(unreadable("an '@' follows the host"));
        }
        let known = self.fields.iter().map(|field| field.name);
        let known: Vec<_> = self.aliases.iter().chain(LIBPQ).map(|alias| alias.name).chain(known).collect();
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        Err(Error::validation(format!("the database URL has an unknown parameter '{name}'"))
            .hint(format!("known are: {}", known.join(", "))))
    }
}

/// `host`, `host:port`, `[::1]:port`; each may be empty.
fn host_and_port(text: &str) -> Result<(&str, &str)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, ""),
        Some((host, rest)) => (host, rest.strip_prefix(':').ok_or_else(|| unreadable("the host is not followed by ':' and a port"))?),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if port.chars().any(|c| !c.is_ascii_digit()) {
        return Err(unreadable("the port is not a number"));
    }
    Ok((host, port))
}

fn set(settings: &mut Settings, field: &str, value: String) {
    if !value.is_empty() {
        settings.insert(field.to_owned(), value.into());
    }
}

fn decode(what: &str, text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Error::validation(format!("the {what} in the database URL is not UTF-8")))
}

fn unreadable(why: &str) -> Error {
    Error::validation(format!("the database URL cannot be read: {why}"))
        .hint("write it as scheme://user:password@host:port/name, with special characters in user, password and name percent-encoded")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::fields::{FieldKind, join},
        engines::network::fields,
    };

    const OWN: [Field; 4] = [
        Field::new("host", "", FieldKind::Text),
        Field::new("port", "", FieldKind::Text),
        Field::new("user", "", FieldKind::Text),
        Field::new("password", "", FieldKind::Secret),
    ];
    const DIALECT: Dialect = Dialect {
        fields: &join::<4, { fields::COUNT }, { 4 + fields::COUNT }>(OWN, fields::FIELDS),
        aliases: &[
            Alias::new("dbname", "database"),
            Alias::with_values("ssl-mode", "tlsMode", &[("DISABLED", "off"), ("VERIFY_IDENTITY", "verify-full")]),
            Alias::ignored("retryWrites"),
        ],
        hosts: None,
    };

    fn check_with(dialect: &Dialect, url: &str, expect: Result<Value, &str>) {
        match (settings_from_url(url, dialect), expect) {
            (Ok(settings), Ok(expect)) => assert_eq!(Value::Object(settings), expect, "{url}"),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{url}: {error}");
                assert!(!error.to_string().contains("s3cret"), "{url}: {error}");
            }
            (got, expect) => panic!("{url}: {got:?}, expected {expect:?}"),
        }
    }

    fn check(url: &str, expect: Result<Value, &str>) {
        check_with(&DIALECT, url, expect);
    }

    #[test]
    fn parts_and_parameters_are_decoded() {
        check("db://app@db/shop", Ok(json!({"user": "app", "host": "db", "database": "shop"})));
        check(
            "db://a%40b:p%2Fw%20d@[::1]:6000/%F0%9F%90%98%20x?connect_timeout=3&sslmode=prefer",
            Ok(json!({"user": "a@b", "password": "p/w d", "host": "::1", "port": "6000", "database": "🐘 x", "connectTimeout": "3",
                "tlsMode": "prefer"})),
        );
        check("db:///?user=app&host=/run/pg&dbname=-h", Ok(json!({"user": "app", "host": "/run/pg", "database": "-h"})));
        check("db://u:p@ss@db", Ok(json!({"user": "u", "password": "p@ss", "host": "db"})));
        check("db://", Ok(json!({})));
        check("db://first?host=second", Ok(json!({"host": "second"})));
    }

    #[test]
    fn every_connection_field_may_stand_in_the_query() {
        check(
            "db://db/?sshHost=bastion&sshhostkey=SHA256:a+b/c&proxyType=socks5&tlsServerName=db.example",
            Ok(
                json!({"host": "db", "sshHost": "bastion", "sshHostKey": "SHA256:a+b/c", "proxyType": "socks5", "tlsServerName": "db.example"}),
            ),
        );
    }

    #[test]
    fn tls_modes_are_read_in_every_dialect() {
        let check_mode = |query: &str, mode: &str| check(&format!("db://?{query}"), Ok(json!({"tlsMode": mode})));
        check_mode("sslmode=disable", "off");
        check_mode("sslmode=allow", "prefer");
        check_mode("sslmode=verify-full", "verify-full");
        check_mode("tlsMode=verify-ca", "verify-ca");
        check_mode("ssl-mode=verify_identity&retryWrites=true", "verify-full");
        check_mode("sslrootcert=system", "verify-full");
        check("db://?sslmode=require&sslrootcert=/ca.pem", Ok(json!({"tlsMode": "verify-ca", "tlsCaFile": "/ca.pem"})));
        check("db://?sslmode=full", Err("disable, allow, prefer"));
    }

    #[test]
    fn several_hosts_are_one_field() {
        let dialect = Dialect { hosts: Some("hosts"), ..DIALECT };
        check_with(
            &dialect,
            "db://u:p@a:1,[::1]:2,c/d",
            Ok(json!({"hosts": "a:1,[::1]:2,c", "user": "u", "password": "p", "database": "d"})),
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_and_never_repeated() {
        check("db://app@db/shop?options=-c%20x", Err("unknown parameter 'options'"));
        check("db://app@db/shop?options=-c%20x", Err("known are: dbname, ssl-mode"));
        check("db://app:pw?s3cret@db/shop", Err("percent-encoded"));
        check("db://app:s3cret/x@db/shop", Err("percent-encoded"));
        check("db://app:12/s3cret@db/shop", Err("percent-encoded"));
        check("db://app:s3cret#x@db/shop", Err("'#'"));
        check("db://db:s3cret/shop", Err("port is not a number"));
        check("db:s3cret", Err("no '://'"));
        check("db://u:s3cret%ff@db", Err("password in the database URL is not UTF-8"));
    }
}
