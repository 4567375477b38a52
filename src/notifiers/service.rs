//! What notifiers that speak JSON over HTTP share.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use url::Url;

use super::{
    Notifier,
    http::{Answer, Outbound},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::Notice,
        secret::Secret,
    },
    error::{Error, Result},
};

/// For servers whose certificate an authority of one's own has signed.
pub(super) const AUTHORITY: Field = Field::new("caCertificate", "Certificate authority", FieldKind::Lines)
    .help("PEM, for a server whose certificate an authority of your own has signed.")
    .section("Own certificate authority");

/// The certificate authority in the settings; errors unless it looks like one.
pub(super) fn authority(settings: &Settings) -> Result<Option<&str>> {
    match settings.text(AUTHORITY.name) {
        Some(text) if !text.contains("-----BEGIN CERTIFICATE-----") => {
            Err(wrong(AUTHORITY.name, "is no certificate in PEM form: it begins with -----BEGIN CERTIFICATE-----"))
        }
        authority => Ok(authority),
    }
}

/// Posts JSON; errors unless it was accepted.
pub(super) async fn post_json(http: &Outbound, url: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
    let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(headers.iter().copied()).collect();
    let answer = http.post(url, &headers, body.to_string()).await?;
    http.accepted(&answer)?;
    Ok(answer)
}

/// The address in a setting; errors unless it is one of http or https.
pub(super) fn address(settings: &Settings, name: &str) -> Result<Secret> {
    let text = settings.text(name).unwrap_or_default().trim();
    let valid = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match valid {
        true => Ok(Secret::new(text)),
        false => Err(wrong(name, "must be an address that begins with https:// or http://")),
    }
}

/// The address of a service, to which a path is added.
pub(super) fn base(settings: &Settings, name: &str) -> Result<String> {
    let address = address(settings, name)?;
    let text = address.expose();
    match text.contains(['?', '#']) {
        true => Err(wrong(name, "must end with the path: no ? and no #")),
        false => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// A channel of a chat service: one secret address in the setting `url` that takes its own form of JSON.
pub(super) struct Channel {
    http: Outbound,
    url: Secret,
    message: fn(&Notice) -> Value,
}

impl Channel {
    /// `service` names it for people. Errors unless the setting is an address.
    pub(super) fn open(settings: &Settings, service: &'static str, message: fn(&Notice) -> Value) -> Result<Arc<dyn Notifier>> {
        let url = address(settings, "url")?;
        Ok(Arc::new(Self { http: Outbound::new(service).hiding_address(&url), url, message }))
    }
}

#[async_trait]
impl Notifier for Channel {
    async fn send(&self, notice: &Notice) -> Result<()> {
        post_json(&self.http, self.url.expose(), &[], &(self.message)(notice)).await.map(drop)
    }
}

/// Scheme and host of an address, which hold no secret.
pub(super) fn place(address: Option<&str>) -> String {
    let Some(url) = address.and_then(|address| Url::parse(address.trim()).ok()) else { return String::new() };
    super::http::place(&url)
}

/// One setting is not valid.
pub(super) fn wrong(field: &str, message: &str) -> Error {
    Error::validation("some settings are not valid").fields(vec![(field.to_owned(), message.to_owned())])
}
