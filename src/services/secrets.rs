//! Secret settings: sealed on the way into the catalogue, opened just before use, never shown.

use serde_json::Value;

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

/// New settings over old ones (both in clear): a secret that is absent or blank in `new` keeps its old value.
/// Errors with every field that is not valid.
pub fn merge(fields: &[Field], mut new: Settings, old: &Settings) -> Result<Settings> {
    for field in fields.iter().filter(|field| field.is_secret()) {
        let blank = matches!(new.get(field.name), None | Some(Value::Null)) || new.get(field.name).and_then(Value::as_str) == Some("");
        if let (true, Some(value)) = (blank, old.get(field.name)) {
            new.insert(field.name.to_owned(), value.clone());
        }
    }
    validate(fields, &new).map_err(|error: Error| error.while_doing("checking the settings"))
}

fn place(purpose: &str, field: &Field) -> String {
    format!("{purpose}:{}", field.name)
}
