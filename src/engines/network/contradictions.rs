//! Connection fields that do not go together.

use rustls_pki_types::ServerName;

use super::{route::TlsMode, ssh_key::HostKey};
use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::{Error, Result},
};

/// What is wrong, by field.
#[derive(Default)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push((field.to_owned(), message.into()));
    }

    /// Errors with every problem at once.
    pub fn none(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::validation("the connection settings contradict each other").fields(self.0)) }
    }

    /// Each of `fields` that is set has the problem.
    fn unless_empty(&mut self, settings: &Settings, fields: &[&str], message: &str) {
        for field in fields.iter().filter(|field| settings.contains_key(**field)) {
            self.add(field, message);
        }
    }

    fn not_both(&mut self, settings: &Settings, text: &str, file: &str) {
        if settings.contains_key(text) && settings.contains_key(file) {
            self.add(file, format!("{text} is set too: keep one of them"));
        }
    }

    /// One line without anything that could end it, such as in the request to a proxy.
    fn one_word(&mut self, settings: &Settings, field: &str) {
        if settings.text(field).is_some_and(|text| text.chars().any(|c| c.is_whitespace() || c.is_control())) {
            self.add(field, "holds a space or control character");
        }
    }

    pub fn check_tls(&mut self, settings: &Settings, mode: TlsMode) {
        const CLIENT: &[&str] = &["tlsCert", "tlsCertFile", "tlsKey", "tlsKeyFile"];
        if !mode.verifies() {
            self.unless_empty(
                settings,
                &["tlsCa", "tlsCaFile"],
                &format!("tlsMode {mode} would not check it: choose verify-ca or verify-full"),
            );
        }
        if mode == TlsMode::Off {
            self.unless_empty(settings, CLIENT, "tlsMode is off: choose another mode, or leave it empty");
            self.unless_empty(settings, &["tlsServerName"], "tlsMode is off: choose another mode, or leave it empty");
        }
        for (text, file) in [("tlsCa", "tlsCaFile"), ("tlsCert", "tlsCertFile"), ("tlsKey", "tlsKeyFile")] {
            self.not_both(settings, text, file);
        }
        let has = |names: &[&str]| names.iter().any(|name| settings.contains_key(*name));
        match (has(&CLIENT[..2]), has(&CLIENT[2..])) {
            (true, false) => self.add("tlsKey", "is missing: a client certificate needs its key"),
            (false, true) => self.add("tlsCert", "is missing: a client key needs its certificate"),
            _ => {}
        }
        if let Some(name) = settings.text("tlsServerName")
            && ServerName::try_from(name).is_err()
        {
            self.add("tlsServerName", "is neither a host name nor an address");
        }
    }

    pub fn check_ssh(&mut self, settings: &Settings) {
        const LOGIN: &[&str] = &["sshUser", "sshPassword", "sshKey", "sshKeyFile", "sshKeyPassphrase", "sshHostKey"];
        if !settings.contains_key("sshHost") {
            return self.unless_empty(settings, LOGIN, "is set but sshHost is empty: set it, or leave this empty");
        }
        self.one_word(settings, "sshHost");
        self.not_both(settings, "sshKey", "sshKeyFile");
        if !settings.contains_key("sshUser") {
            self.add("sshUser", "is missing: sshHost is set");
        }
        let has_key = settings.contains_key("sshKey") || settings.contains_key("sshKeyFile");
        if !has_key && !settings.contains_key("sshPassword") {
            self.add("sshPassword", "is missing: give it, or sshKey, or sshKeyFile");
        }
        if !has_key && settings.contains_key("sshKeyPassphrase") {
            self.add("sshKeyPassphrase", "is set but there is no sshKey");
        }
        if settings.text("sshHostKey").is_some_and(|key| HostKey::read(key).is_none()) {
            self.add("sshHostKey", "must be a fingerprint as ssh-keygen -l shows it, SHA256:..., or the public key itself");
        }
    }

    pub fn check_proxy(&mut self, settings: &Settings) {
        let Some(kind) = settings.text("proxyType").filter(|kind| *kind != "none") else {
            return self.unless_empty(
                settings,
                &["proxyHost", "proxyPort", "proxyUser", "proxyPassword"],
                "is set but proxyType is none: choose one, or leave this empty",
            );
        };
        self.one_word(settings, "proxyHost");
        for field in ["proxyHost", "proxyPort"].into_iter().filter(|field| !settings.contains_key(*field)) {
            self.add(field, format!("is missing: proxyType is {kind}"));
        }
        if settings.contains_key("proxyPassword") && !settings.contains_key("proxyUser") {
            self.add("proxyUser", "is missing: proxyPassword is set");
        }
        match kind {
            "socks5" => {
                for field in ["proxyUser", "proxyPassword"] {
                    if settings.text(field).is_some_and(|text| text.len() > 255) {
                        self.add(field, "is longer than the 255 bytes that SOCKS5 carries");
                    }
                }
                if settings.contains_key("proxyUser") && !settings.contains_key("proxyPassword") {
                    self.add("proxyPassword", "is missing: SOCKS5 has no user without one");
                }
            }
            _ if settings.text("proxyUser").is_some_and(|user| user.contains(':')) => {
                self.add("proxyUser", "holds a ':', which an HTTP proxy cannot be told");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        domain::fields::validate,
        engines::network::{Route, fields::FIELDS},
    };

    fn refused(settings: Value, fields: &[&str]) {
        let error = Route::from_settings(&validate(&FIELDS, settings.as_object().unwrap()).unwrap())
            .err()
            .unwrap_or_else(|| panic!("{settings} was taken"));
        let named: Vec<_> = error.fields.iter().map(|field| field.0.as_str()).collect();
        assert_eq!(named, fields, "{settings}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_by_name() {
        refused(json!({"tlsCa": "x"}), &["tlsCa"]);
        refused(json!({"tlsMode": "require", "tlsCaFile": "/x"}), &["tlsCaFile"]);
        refused(
            json!({"tlsMode": "off", "tlsCert": "x", "tlsKey": "s3cret", "tlsServerName": "db"}),
            &["tlsCert", "tlsKey", "tlsServerName"],
        );
        refused(json!({"tlsCert": "x"}), &["tlsKey"]);
        refused(json!({"tlsKeyFile": "/x"}), &["tlsCert"]);
        refused(json!({"tlsMode": "verify-ca", "tlsCa": "x", "tlsCaFile": "/x"}), &["tlsCaFile"]);
        refused(json!({"tlsServerName": "not a name"}), &["tlsServerName"]);
        refused(json!({"sshUser": "u", "sshPassword": "s3cret"}), &["sshUser", "sshPassword"]);
        refused(json!({"sshHost": "h"}), &["sshUser", "sshPassword"]);
        refused(json!({"sshHost": "h", "sshUser": "u", "sshPassword": "p", "sshKeyPassphrase": "s3cret"}), &["sshKeyPassphrase"]);
        refused(json!({"sshHost": "h", "sshUser": "u", "sshKey": "s3cret", "sshKeyFile": "/x"}), &["sshKeyFile"]);
        refused(json!({"sshHost": "h", "sshUser": "u", "sshPassword": "p", "sshHostKey": "aa:bb"}), &["sshHostKey"]);
        refused(json!({"proxyHost": "p", "proxyPort": 1}), &["proxyHost", "proxyPort"]);
        refused(json!({"proxyType": "http"}), &["proxyHost", "proxyPort"]);
        refused(json!({"proxyType": "socks5", "proxyHost": "p", "proxyPort": 1, "proxyPassword": "s3cret"}), &["proxyUser"]);
        refused(json!({"proxyType": "socks5", "proxyHost": "p", "proxyPort": 1, "proxyUser": "u"}), &["proxyPassword"]);
        refused(json!({"proxyType": "http", "proxyHost": "p x", "proxyPort": 1, "proxyUser": "u:v"}), &["proxyHost", "proxyUser"]);
    }
}
