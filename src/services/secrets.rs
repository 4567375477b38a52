//! Secret settings: sealed on the way into the catalogue, opened just before use, never shown.

use serde_json::Value;

use super::learned;
use crate::{
    domain::{
        database::Settings,
        fields::{Field, validate},
    },
    error::{Error, Result},
    pipeline::keys::MasterKey,
};

/// Seals every secret field. `purpose` binds the sealed text to its place, so that it cannot be moved to another one.
pub fn seal(key: &MasterKey, purpose: &str, fields: &[Field], mut settings: Settings) -> Settings {
    for field in fields.iter().filter(|field| field.is_secret()) {
        if let Some(Value::String(text)) = settings.get_mut(field.name) {
            *text = key.seal_text(&place(purpose, field), text);
        }
    }
    settings
}

/// Opens every secret field. Errors when the sealed text was altered, moved, or sealed under another key.
pub fn open(key: &MasterKey, purpose: &str, fields: &[Field], mut settings: Settings) -> Result<Settings> {
    for field in fields.iter().filter(|field| field.is_secret()) {
        if let Some(Value::String(text)) = settings.get_mut(field.name) {
            let secret = key
                .open_text(&place(purpose, field), text)
                .map_err(|error| error.while_doing(format!("opening the stored {}", field.label)))?;
            *text = secret.expose().to_owned();
        }
    }
    Ok(settings)
}

/// Settings as they may be shown: without secrets. The second value names the secret fields that are set.
pub fn public(fields: &[Field], mut settings: Settings) -> (Settings, Vec<&'static str>) {
    let set = fields.iter().filter(|field| field.is_secret() && settings.remove(field.name).is_some()).map(|field| field.name).collect();
    (settings, set)
}

/// New settings over old ones (both in clear): a secret that is absent or blank in `new` keeps its old value, as long as
/// the fields that say where it is sent are as they were. Otherwise who may change the settings could have it sent to a
/// server of their own. A setting that was learned at a place (a host key) is kept when `new` does not speak of it, and
/// forgotten when it is as it was and the place is another. Errors with every field that is not valid.
pub fn merge(fields: &[Field], mut new: Settings, old: &Settings) -> Result<Settings> {
    for field in fields.iter().filter(|field| !field.learned_from.is_empty()) {
        let stays = learned::found_at_same_place(field, fields, &new, old);
        match old.get(field.name) {
            Some(known) if stays && !new.contains_key(field.name) => {
                new.insert(field.name.to_owned(), known.clone());
            }
            Some(_) if !stays && field.is_same(&new, old) => {
                new.remove(field.name);
            }
            _ => {}
        }
    }
    let moved = fields.iter().any(|field| !field.keeps_secrets(&new, old));
    let mut problems = Vec::new();
    for field in fields.iter().filter(|field| field.is_secret()) {
        let blank = matches!(new.get(field.name), None | Some(Value::Null)) || new.get(field.name).and_then(Value::as_str) == Some("");
        match old.get(field.name) {
            Some(_) if blank && moved => {
                problems.push((field.name.to_owned(), "enter it again: where or how it is sent has changed".to_owned()))
            }
            Some(value) if blank => {
                new.insert(field.name.to_owned(), value.clone());
            }
            _ => {}
        }
    }
    match validate(fields, &new) {
        Ok(valid) if problems.is_empty() => return Ok(valid),
        Ok(_) => {}
        Err(error) => {
            problems.extend(error.fields.into_iter().filter(|(name, _)| problems.iter().all(|known| known.0 != *name)).collect::<Vec<_>>())
        }
    }
    Err(Error::validation("checking the settings: some settings are not valid").fields(problems))
}

fn place(purpose: &str, field: &Field) -> String {
    format!("{purpose}:{}", field.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        fields::FieldKind::{self, Text},
        secret::Secret,
    };

    const FIELDS: &[Field] = &[
        Field::new("host", "Host", Text).required().default("localhost").binds_secrets(),
        Field::new("database", "Database", Text),
        Field::new("password", "Password", FieldKind::Secret).required(),
    ];

    const CONNECTION: &[Field] = &crate::engines::network::fields::FIELDS;

    fn merged(new: Value) -> Result<Settings> {
        let old = json!({"host": "localhost", "database": "shop", "password": "kept"});
        merge(FIELDS, new.as_object().unwrap().clone(), old.as_object().unwrap())
    }

    #[test]
    fn a_secret_is_kept_while_it_goes_where_it_went() {
        for new in [json!({"database": "other"}), json!({"host": "", "password": ""}), json!({"host": "localhost", "password": null})] {
            assert_eq!(merged(new).unwrap()["password"], "kept");
        }
        assert_eq!(merged(json!({"host": "elsewhere", "password": "new"})).unwrap()["password"], "new");
    }

    #[test]
    fn a_secret_is_asked_for_again_when_it_would_go_elsewhere() {
        for new in [json!({"host": "elsewhere"}), json!({"host": 7, "password": ""})] {
            let error = merged(new).unwrap_err();
            assert!(error.fields.iter().any(|(name, problem)| name == "password" && problem.contains("enter it again")), "{error}");
            assert_eq!(error.fields.iter().filter(|(name, _)| name == "password").count(), 1, "{error}");
        }
    }

    #[test]
    fn a_learned_setting_goes_with_the_place_it_was_found_at() {
        let old = json!({"sshHost": "bastion", "sshPort": 22, "sshHostKey": "SHA256:old"});
        let check = |new: Value, expect: Option<&str>| {
            let merged = merge(CONNECTION, new.as_object().unwrap().clone(), old.as_object().unwrap()).unwrap();
            assert_eq!(merged.get("sshHostKey").and_then(Value::as_str), expect, "{new}");
        };
        check(json!({"sshHost": "bastion"}), Some("SHA256:old"));
        check(json!({"sshHost": "bastion", "sshPort": "22", "sshHostKey": "SHA256:old"}), Some("SHA256:old"));
        check(json!({"sshHost": "bastion", "sshHostKey": ""}), None);
        check(json!({"sshHost": "bastion", "sshHostKey": "SHA256:new"}), Some("SHA256:new"));
        check(json!({"sshHost": "other", "sshHostKey": "SHA256:old"}), None);
        check(json!({"sshHost": "other"}), None);
        check(json!({"sshHost": "bastion", "sshPort": 23, "sshHostKey": "SHA256:old"}), None);
        check(json!({"sshHost": "other", "sshHostKey": "SHA256:new"}), Some("SHA256:new"));
    }

    #[test]
    fn every_secret_of_a_connection_is_kept_only_while_nothing_that_binds_it_changes() {
        let old = json!({"sshHost": "bastion", "tlsMode": "verify-full", "tlsKey": "-----BEGIN\nkey", "sshKey": "k", "sshKeyPassphrase": "p", "proxyPassword": "q"});
        let old = old.as_object().unwrap();
        let secrets = ["tlsKey", "sshKey", "sshKeyPassphrase", "proxyPassword"];
        let weaker = json!({"sshHost": "bastion", "tlsMode": "require", "proxyPassword": "q"});
        let stronger = json!({"sshHost": "bastion", "tlsMode": "verify-ca"}).as_object().unwrap().clone();
        assert_eq!(merge(CONNECTION, stronger, weaker.as_object().unwrap()).unwrap()["proxyPassword"], "q");
        let kept = merge(CONNECTION, json!({"sshHost": "bastion", "tlsMode": "verify-full"}).as_object().unwrap().clone(), old).unwrap();
        assert!(secrets.iter().all(|name| kept[*name] == old[*name]));
        for change in [
            json!({"tlsMode": "off"}),
            json!({"sshHost": "other"}),
            json!({"sshPort": 23}),
            json!({"sshUser": "root"}),
            json!({"proxyType": "http"}),
            json!({"proxyHost": "p"}),
            json!({"proxyPort": 1}),
            json!({"proxyUser": "u"}),
        ] {
            let mut new = json!({"sshHost": "bastion", "tlsMode": "verify-full"}).as_object().unwrap().clone();
            new.extend(change.as_object().unwrap().clone());
            let error = merge(CONNECTION, new, old).unwrap_err();
            assert!(secrets.iter().all(|name| error.fields.iter().any(|field| field.0 == *name)), "{change}: {error}");
        }
    }

    #[test]
    fn lines_are_sealed_as_other_secrets_are() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n";
        let settings = json!({"sshHost": "bastion", "sshKey": key, "sshPassword": "correct horse"}).as_object().unwrap().clone();
        let key_of_all = MasterKey::generate(&Secret::new("a passphrase of the tests that is long enough"));
        let sealed = seal(&key_of_all, "database:1", CONNECTION, settings.clone());
        assert_eq!(sealed["sshHost"], "bastion");
        let text = Value::Object(sealed.clone()).to_string();
        assert!(!text.contains("OPENSSH") && !text.contains("correct horse"), "{text}");
        assert_eq!(open(&key_of_all, "database:1", CONNECTION, sealed.clone()).unwrap(), settings);
        assert!(open(&key_of_all, "database:2", CONNECTION, sealed.clone()).is_err(), "sealed to its place");
        assert_eq!(public(CONNECTION, sealed), (json!({"sshHost": "bastion"}).as_object().unwrap().clone(), vec!["sshPassword", "sshKey"]));
    }
}
