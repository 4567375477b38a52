//! Notifiers: how a notice reaches people. A new one is a file here and a line in [`registry`].
//!
//! A notifier sends one notice once. Retries, grouping and the delivery log are around it, in `services::notices`.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    domain::{database::Settings, fields::Field, notice::Notice},
    error::{Error, Result},
};

mod discord;
mod email;
mod gotify;
pub mod http;
mod ntfy;
mod pagerduty;
mod service;
mod slack;
mod smtp;
mod teams;
mod telegram;
mod text;
mod webhook;

/// Every notifier of this build, in the order people see them.
pub fn registry() -> &'static [&'static dyn NotifierKind] {
    &[
        &email::Email,
        &webhook::Webhook,
        &slack::Slack,
        &discord::Discord,
        &teams::Teams,
        &telegram::Telegram,
        &ntfy::Ntfy,
        &gotify::Gotify,
        &pagerduty::PagerDuty,
    ]
}

/// The kind of notifier with this id.
pub fn find(id: &str) -> Result<&'static dyn NotifierKind> {
    registry().iter().copied().find(|kind| kind.info().id == id).ok_or_else(|| {
        let known: Vec<_> = registry().iter().map(|kind| kind.info().id).collect();
        Error::validation(format!("notifier '{id}' is not known")).hint(format!("use one of: {}", known.join(", ")))
    })
}

/// What a kind of notifier is, as data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotifierInfo {
    pub id: &'static str,
    pub label: &'static str,
    /// Name of a symbol in static/icons.svg.
    pub icon: &'static str,
    pub settings: &'static [Field],
}

/// A kind of notifier: makes notifiers from validated settings with secrets in clear.
pub trait NotifierKind: Send + Sync {
    fn info(&self) -> &'static NotifierInfo;

    /// Where it goes, for people and without secrets: addresses, a chat, the host of a webhook.
    fn address(&self, settings: &Settings) -> String;

    /// Errors when the settings contradict each other; makes no connection.
    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>>;
}

/// One opened notifier.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Sends one notice, within half a minute. An error says by `retryable` whether trying again may help.
    async fn send(&self, notice: &Notice) -> Result<()>;
}
