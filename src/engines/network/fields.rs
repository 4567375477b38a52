//! The connection fields that every network engine has.

use crate::domain::fields::{
    Field,
    FieldKind::{Choice, Integer, Lines, Path, Secret, SecretLines, Text},
};

/// As libpq orders them: each checks more than the one before.
pub const TLS_MODES: &[&str] = &["off", "prefer", "require", "verify-ca", "verify-full"];

/// What a mode comes to, in a few words.
pub fn tls_meaning(mode: &str) -> &'static str {
    match mode {
        "off" => "not encrypted",
        "prefer" => "encrypted where the server can, not verified",
        "require" => "encrypted, server not verified",
        "verify-ca" => "encrypted, certificate verified",
        "verify-full" => "encrypted, certificate and name verified",
        _ => "",
    }
}

const FILE: &str = "A path on the machine that DBSnap runs on, in the place of the text.";
const TLS: &str = "TLS";
const SSH: &str = "SSH tunnel";
const PROXY: &str = "Proxy";
const PORT: crate::domain::fields::FieldKind = Integer { min: 1, max: 65_535 };

/// Number of [`FIELDS`].
pub const COUNT: usize = 24;

/// To be appended to an engine's own fields with [`crate::domain::fields::join`].
pub const FIELDS: [Field; COUNT] = [
    Field::new("connectTimeout", "Connect timeout", Integer { min: 1, max: 600 }).default("10").help("Seconds."),
    Field::new("tlsMode", "TLS mode", Choice { of: TLS_MODES })
        .default("prefer")
        .section(TLS)
        .help("verify-full proves the server by its certificate and name; verify-ca by its certificate alone; require and prefer encrypt and prove nothing.")
        .binds_secrets()
        .safer_later(),
    Field::new("tlsCa", "Certificate authority", Lines)
        .section(TLS)
        .help("PEM text. Without one the authorities that this machine trusts are used."),
    Field::new("tlsCaFile", "Certificate authority, as a file", Path).section(TLS).help(FILE),
    Field::new("tlsCert", "Client certificate", Lines).section(TLS).help("PEM text, with its chain."),
    Field::new("tlsCertFile", "Client certificate, as a file", Path).section(TLS).help(FILE),
    Field::new("tlsKey", "Client key", SecretLines).section(TLS).help("PEM text."),
    Field::new("tlsKeyFile", "Client key, as a file", Path).section(TLS).help(FILE),
    Field::new("tlsServerName", "Server name", Text)
        .section(TLS)
        .help("The name that verify-full expects in the certificate, where it is not the host."),
    Field::new("sshHost", "SSH host", Text).section(SSH).help("The database is reached through this server.").binds_secrets(),
    Field::new("sshPort", "SSH port", PORT).default("22").section(SSH).binds_secrets(),
    Field::new("sshUser", "SSH user", Text).section(SSH).binds_secrets(),
    Field::new("sshPassword", "SSH password", Secret).section(SSH),
    Field::new("sshKey", "SSH private key", SecretLines).section(SSH).help("As ssh-keygen writes it."),
    Field::new("sshKeyFile", "SSH private key, as a file", Path).section(SSH).help(FILE),
    Field::new("sshKeyPassphrase", "Passphrase of the private key", Secret).section(SSH),
    Field::new("sshHostKey", "SSH host key", Text)
        .section(SSH)
        .help("Fingerprint such as SHA256:... Left empty, the first key seen is kept and every later one must equal it.")
        .learned_from(&["sshHost", "sshPort"]),
    Field::new("sshKeepAlive", "SSH keep-alive", Integer { min: 0, max: 3600 })
        .default("15")
        .section(SSH)
        .help("Seconds between signs of life; 0 sends none."),
    Field::new("proxyType", "Proxy type", Choice { of: &["none", "socks5", "http"] }).default("none").section(PROXY).binds_secrets(),
    Field::new("proxyHost", "Proxy host", Text).section(PROXY).binds_secrets(),
    Field::new("proxyPort", "Proxy port", PORT).section(PROXY).binds_secrets(),
    Field::new("proxyUser", "Proxy user", Text).section(PROXY).binds_secrets(),
    Field::new("proxyPassword", "Proxy password", Secret).section(PROXY),
    Field::new("proxyResolves", "Names are resolved by", Choice { of: &["proxy", "here"] })
        .default("proxy")
        .section(PROXY)
        .help("Who looks up the server's name when a SOCKS5 proxy is used."),
];
