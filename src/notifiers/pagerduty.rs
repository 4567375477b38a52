//! PagerDuty: incidents that open with a failure and close with the recovery from it (Events API v2).

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{
    Notifier, NotifierInfo, NotifierKind,
    http::Outbound,
    service,
    text::{bounded, clean, cut, line},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::{Notice, NoticeEvent, Severity},
        secret::Secret,
    },
    error::Result,
};

static INFO: NotifierInfo = NotifierInfo {
    id: "pagerduty",
    label: "PagerDuty",
    icon: "bell",
    settings: &[
        Field::new("routingKey", "Integration key", FieldKind::Secret)
            .required()
            .help("From the service: Integrations, Add integration, Events API V2. 32 letters and digits."),
        Field::new("baseUrl", "Server", FieldKind::Text)
            .default("https://events.pagerduty.com")
            .binds_secrets()
            .help("https://events.eu.pagerduty.com for accounts in the EU."),
    ],
};

pub(super) struct PagerDuty;

impl NotifierKind for PagerDuty {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        service::place(settings.text("baseUrl"))
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        let key = settings.text("routingKey").unwrap_or_default();
        if key.len() != 32 || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(service::wrong("routingKey", "must be the 32 letters and digits of an Events API V2 integration"));
        }
        let key = Secret::new(key);
        Ok(Arc::new(Integration { http: Outbound::new("PagerDuty").hiding([key.clone()]), base: service::base(settings, "baseUrl")?, key }))
    }
}

struct Integration {
    http: Outbound,
    base: String,
    key: Secret,
}

#[async_trait]
impl Notifier for Integration {
    async fn send(&self, notice: &Notice) -> Result<()> {
        match notice.event {
            NoticeEvent::BackupRecovered | NoticeEvent::Resolved => self.enqueue(&self.event("resolve", notice)).await,
            // Nobody's incident stays open for a test.
            NoticeEvent::Test => {
                self.enqueue(&self.event("trigger", notice)).await?;
                self.enqueue(&self.event("resolve", notice)).await
            }
            // What nobody has to act on is a change, not an incident.
            _ if notice.severity == Severity::Info => self.post("/v2/change/enqueue", &self.change(notice)).await,
            _ => self.enqueue(&self.event("trigger", notice)).await,
        }
    }
}

impl Integration {
    async fn enqueue(&self, event: &Value) -> Result<()> {
        self.post("/v2/enqueue", event).await
    }

    async fn post(&self, path: &str, event: &Value) -> Result<()> {
        service::post_json(&self.http, &format!("{}{path}", self.base), &[], event).await.map(drop)
    }

    fn event(&self, action: &str, notice: &Notice) -> Value {
        let mut payload = self.payload(notice);
        payload["severity"] = notice.severity.as_str().into();
        payload["class"] = notice.event.as_str().into();
        payload["group"] = cut(&line(&notice.group), 250).into();
        json!({
            "routing_key": self.key.expose(),
            "event_action": action,
            "dedup_key": cut(&line(&notice.group), 255),
            "payload": payload,
            "links": links(notice),
            "client": "DBSnap",
        })
    }

    fn change(&self, notice: &Notice) -> Value {
        json!({"routing_key": self.key.expose(), "payload": self.payload(notice), "links": links(notice)})
    }

    fn payload(&self, notice: &Notice) -> Value {
        let notice = &bounded(notice);
        let mut details = Map::new();
        details.insert("What happened".into(), cut(&clean(&notice.what), 10_000).into());
        if !notice.next_step.is_empty() {
            details.insert("What to do".into(), cut(&clean(&notice.next_step), 10_000).into());
        }
        details.extend(notice.facts.iter().take(50).map(|(name, value)| (line(name), line(value).into())));
        json!({
            "summary": cut(&line(&notice.title), 1024),
            "source": cut(&line(&notice.subject), 250),
            "timestamp": notice.at,
            "custom_details": details,
        })
    }
}

fn links(notice: &Notice) -> Vec<Value> {
    notice.link.iter().map(|link| json!({"href": link, "text": "Open in DBSnap"})).collect()
}
