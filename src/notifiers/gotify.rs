//! Gotify: a server of one's own.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Notifier, NotifierInfo, NotifierKind,
    http::Outbound,
    service,
    text::{cut, is_good, line, plain_within},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::{Notice, Severity},
        secret::Secret,
    },
    error::Result,
};

static INFO: NotifierInfo = NotifierInfo {
    id: "gotify",
    label: "Gotify",
    icon: "bell",
    settings: &[
        Field::new("baseUrl", "Server", FieldKind::Text).required().binds_secrets().help("Such as https://gotify.example.org."),
        Field::new("token", "Application token", FieldKind::Secret).required().help("From Gotify: Apps, Create Application."),
        service::AUTHORITY,
    ],
};

pub(super) struct Gotify;

impl NotifierKind for Gotify {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        service::place(settings.text("baseUrl"))
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        let token = Secret::new(settings.text("token").unwrap_or_default());
        Ok(Arc::new(Application {
            http: Outbound::new("Gotify").trusting(service::authority(settings)?).hiding([token.clone()]),
            url: format!("{}/message", service::base(settings, "baseUrl")?),
            token,
        }))
    }
}

struct Application {
    http: Outbound,
    url: String,
    token: Secret,
}

#[async_trait]
impl Notifier for Application {
    async fn send(&self, notice: &Notice) -> Result<()> {
        service::post_json(&self.http, &self.url, &[("x-gotify-key", self.token.expose())], &message(notice)).await.map(drop)
    }
}

fn message(notice: &Notice) -> Value {
    // Above 7 the phone rings; 0 is silent.
    let priority = match notice.severity {
        _ if is_good(notice) => 2,
        Severity::Info => 2,
        Severity::Warning => 5,
        Severity::Error => 8,
        Severity::Critical => 10,
    };
    let mut extras = json!({"client::display": {"contentType": "text/plain"}});
    if let Some(link) = &notice.link {
        extras["client::notification"] = json!({"click": {"url": link}});
    }
    json!({"title": cut(&line(&notice.title), 250), "message": plain_within(notice, 8000), "priority": priority, "extras": extras})
}
