//! `mongodb://` and `mongodb+srv://` URLs, by the
//! [connection string options](https://www.mongodb.com/docs/manual/reference/connection-string-options/) of MongoDB.

use super::{
    address::{self, Address},
    info::INFO,
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, SettingsExt},
    },
    engines::network::url::{self, Alias, Dialect},
    error::{Error, Result},
};

/// Parameters that become settings only together with others.
const INSECURE: &str = "tlsInsecure";
const ANY_NAME: &str = "tlsAllowInvalidHostnames";
const TIMEOUT: &str = "connectTimeoutMS";

const FLAG: &[(&str, &str)] = &[("true", "true"), ("false", "")];
const TLS: &[(&str, &str)] = &[("true", "verify-full"), ("false", "off")];

const ALIASES: &[Alias] = &[
    Alias::with_values("tls", "tlsMode", TLS),
    Alias::with_values("ssl", "tlsMode", TLS),
    Alias::new("tlsCertificateKeyFile", "tlsCertFile"),
    Alias::with_values(INSECURE, INSECURE, FLAG),
    Alias::with_values("tlsAllowInvalidCertificates", INSECURE, FLAG),
    Alias::with_values(ANY_NAME, ANY_NAME, FLAG),
    Alias::new(TIMEOUT, TIMEOUT),
    Alias::new("proxyUsername", "proxyUser"),
    Alias::with_values("loadBalanced", "loadBalanced", &[("false", "")]),
    // How an application writes, pools and waits is no matter of a backup.
    Alias::ignored("appName"),
    Alias::ignored("compressors"),
    Alias::ignored("zlibCompressionLevel"),
    Alias::ignored("heartbeatFrequencyMS"),
    Alias::ignored("journal"),
    Alias::ignored("localThresholdMS"),
    Alias::ignored("maxConnecting"),
    Alias::ignored("maxIdleTimeMS"),
    Alias::ignored("maxPoolSize"),
    Alias::ignored("minPoolSize"),
    Alias::ignored("readConcernLevel"),
    Alias::ignored("retryReads"),
    Alias::ignored("retryWrites"),
    Alias::ignored("serverMonitoringMode"),
    Alias::ignored("serverSelectionTimeoutMS"),
    Alias::ignored("socketTimeoutMS"),
    Alias::ignored("srvMaxHosts"),
    Alias::ignored("timeoutMS"),
    Alias::ignored("uuidRepresentation"),
    Alias::ignored("w"),
    Alias::ignored("waitQueueTimeoutMS"),
    Alias::ignored("wtimeoutMS"),
];

static DIALECT: Dialect = Dialect { fields: FIELDS, aliases: ALIASES, hosts: Some("hosts") };
const FIELDS: &[Field] = INFO.connection;

/// Settings from a URL, still to be validated. As MongoDB has it, TLS is off unless it is asked for, on with `+srv`, and
/// then proves the server whole; the user is defined in the database of the URL unless `authSource` says another.
pub fn settings_from_url(text: &str) -> Result<Settings> {
    let mut settings = url::settings_from_url(text, &DIALECT)?;
    let srv = text.get(..12).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mongodb+srv:"));
    let mut take = |name: &str| match settings.remove(name) {
        Some(serde_json::Value::String(text)) => Some(text),
        _ => None,
    };
    let (insecure, any_name, timeout) = (take(INSECURE).is_some(), take(ANY_NAME).is_some(), take(TIMEOUT));
    let mut put = |name: &str, value: &str| settings.insert(name.to_owned(), value.into());
    if srv {
        put("srv", "true");
    }
    if let Some(text) = timeout {
        let millis: u64 =
            text.parse().map_err(|_| Error::validation("connectTimeoutMS in the database URL is no number of milliseconds"))?;
        // 0 waits for ever; the field has no such value.
        put("connectTimeout", &if millis == 0 { 600 } else { millis.div_ceil(1000).min(600) }.to_string());
    }

    let asks_for_tls =
        srv || insecure || any_name || ["tlsCa", "tlsCaFile", "tlsCert", "tlsCertFile"].iter().any(|name| settings.contains_key(*name));
    let mode = match settings.text("tlsMode") {
        Some("verify-full") | None if asks_for_tls || settings.contains_key("tlsMode") => match () {
            () if insecure => "require",
            () if any_name => "verify-ca",
            () => "verify-full",
        },
        None => "off",
        Some(mode) => mode,
    };
    settings.insert("tlsMode".to_owned(), mode.into());
    if !settings.contains_key("tlsKey")
        && !settings.contains_key("tlsKeyFile")
        && let Some(both) = settings.get("tlsCertFile").cloned()
    {
        settings.insert("tlsKeyFile".to_owned(), both);
    }
    if settings.contains_key("proxyHost") {
        settings.entry("proxyType").or_insert_with(|| "socks5".into());
    }
    // The TXT record of a seed list may say another authentication database than the URL's.
    if !srv
        && settings.contains_key("user")
        && !settings.contains_key("authMechanism")
        && let Some(database) = settings.get("database").cloned()
    {
        settings.entry("authSource").or_insert(database);
    }
    let hosts = settings.text("hosts").unwrap_or_default();
    match srv {
        true if hosts.contains([',', ':']) => Err(Error::validation("a mongodb+srv URL has one host, without a port")
            .hint("write it as mongodb+srv://user:password@name/database")),
        true => Ok(settings),
        false if hosts.is_empty() => Ok(settings),
        // What stands there may be the rest of a password: it is not repeated.
        false => match hosts.split(',').find_map(|host| Address::read(host).err()) {
            Some(why) => Err(Error::validation(format!("a host in the database URL cannot be read: {why}")).hint(address::FORM)),
            None => Ok(settings),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::fields::validate;

    fn check(url: &str, expect: Result<Value, &str>) {
        match (settings_from_url(url), expect) {
            (Ok(settings), Ok(expect)) => {
                validate(INFO.connection, &settings).unwrap();
                assert_eq!(Value::Object(settings), expect, "{url}");
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{url}: {error}");
                assert!(!error.to_string().contains("s3cret"), "{url}: {error}");
            }
            (got, expect) => panic!("{url}: {got:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn urls_are_read_as_drivers_read_them() {
        check("mongodb://db", Ok(json!({"hosts": "db", "tlsMode": "off"})));
        check(
            "mongodb://u:p%40ss@a:1,b:2,[::1]:3/shop?replicaSet=rs0&readPreference=secondaryPreferred&retryWrites=true&w=majority",
            Ok(
                json!({"hosts": "a:1,b:2,[::1]:3", "user": "u", "password": "p@ss", "database": "shop", "authSource": "shop", "replicaSet": "rs0",
                "readPreference": "secondaryPreferred", "tlsMode": "off"}),
            ),
        );
        check(
            "mongodb://u@db/shop?authSource=admin&authMechanism=SCRAM-SHA-1&directConnection=true&connectTimeoutMS=1500",
            Ok(json!({"hosts": "db", "user": "u", "database": "shop", "authSource": "admin", "authMechanism": "SCRAM-SHA-1",
                "directConnection": "true", "connectTimeout": "2", "tlsMode": "off"})),
        );
        check(
            "mongodb+srv://u:p@cluster.example.net/shop?retryWrites=true",
            Ok(
                json!({"hosts": "cluster.example.net", "srv": "true", "user": "u", "password": "p", "database": "shop", "tlsMode": "verify-full"}),
            ),
        );
    }

    #[test]
    fn tls_is_off_unless_asked_for_and_then_proves_the_server() {
        let check_mode = |query: &str, mode: &str| {
            assert_eq!(settings_from_url(&format!("mongodb://db/?{query}")).unwrap().text("tlsMode"), Some(mode), "{query}");
        };
        check_mode("", "off");
        check_mode("tls=false", "off");
        check_mode("tls=true", "verify-full");
        check_mode("ssl=true", "verify-full");
        check_mode("tls=true&tlsAllowInvalidCertificates=true", "require");
        check_mode("tls=true&tlsInsecure=true", "require");
        check_mode("tls=true&tlsAllowInvalidHostnames=true", "verify-ca");
        check_mode("tls=true&tlsAllowInvalidHostnames=false", "verify-full");
        check_mode("tlsCAFile=/ca.pem", "verify-full");
        check_mode("tlsMode=prefer", "prefer");
        assert_eq!(settings_from_url("mongodb+srv://db/?tls=false").unwrap().text("tlsMode"), Some("off"));
        check(
            "mongodb://db/?tls=true&tlsCertificateKeyFile=/both.pem&tlsCAFile=/ca.pem&authMechanism=MONGODB-X509",
            Ok(
                json!({"hosts": "db", "tlsMode": "verify-full", "tlsCertFile": "/both.pem", "tlsKeyFile": "/both.pem", "tlsCaFile": "/ca.pem",
                "authMechanism": "MONGODB-X509"}),
            ),
        );
    }

    #[test]
    fn ways_and_what_cannot_be_honoured() {
        check(
            "mongodb://db/?proxyHost=p&proxyPort=1080&proxyUsername=u&sshHost=bastion",
            Ok(
                json!({"hosts": "db", "tlsMode": "off", "proxyHost": "p", "proxyPort": "1080", "proxyUser": "u", "proxyType": "socks5", "sshHost": "bastion"}),
            ),
        );
        check("mongodb://db/?maxStalenessSeconds=90", Err("unknown parameter 'maxStalenessSeconds'"));
        check("mongodb://db/?loadBalanced=true", Err("loadBalanced"));
        check("mongodb://db/?connectTimeoutMS=soon", Err("connectTimeoutMS"));
        check("mongodb+srv://a:1/x", Err("without a port"));
        check("mongodb://%2Ftmp%2Fmongodb-27017.sock/x", Err("Unix sockets"));
        check("mongodb://u:s3cret/x@db", Err("percent-encoded"));
        check("mongodb://db:s3cret/x", Err("the port is no number"));
    }
}
