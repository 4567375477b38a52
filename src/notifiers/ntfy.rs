//! ntfy: a topic on ntfy.sh or a server of one's own.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
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
    id: "ntfy",
    label: "ntfy",
    icon: "bell",
    settings: &[
        Field::new("baseUrl", "Server", FieldKind::Text).default("https://ntfy.sh").binds_secrets(),
        Field::new("topic", "Topic", FieldKind::Text)
            .required()
            .help("Letters, digits, - and _. On a public server whoever knows it can read along: choose one that nobody guesses."),
        Field::new("token", "Access token", FieldKind::Secret).help("Where the topic asks for one. It begins with tk_."),
        Field::new("username", "User", FieldKind::Text).help("Instead of a token.").section("Sign-in by password"),
        Field::new("password", "Password", FieldKind::Secret).section("Sign-in by password"),
        service::AUTHORITY,
    ],
};

pub(super) struct Ntfy;

impl NotifierKind for Ntfy {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        format!("{}/{}", service::place(settings.text("baseUrl")), settings.text("topic").unwrap_or_default())
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        let topic = settings.text("topic").unwrap_or_default();
        if topic.len() > 64 || !topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            return Err(service::wrong("topic", "must be 1 to 64 letters, digits, - or _"));
        }
        let (token, password) = (settings.text("token"), settings.text("password"));
        let authorization = match (token, settings.text("username")) {
            (Some(token), None) => Some(format!("Bearer {token}")),
            (None, Some(user)) => Some(format!("Basic {}", basic(user, password))),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(service::wrong("username", "is not used with an access token: leave one of the two out")),
        };
        Ok(Arc::new(Topic {
            http: Outbound::new("ntfy")
                .trusting(service::authority(settings)?)
                .hiding([token, password].into_iter().flatten().map(Secret::new))
                .hiding(settings.text("username").map(|user| Secret::new(basic(user, password)))),
            url: service::base(settings, "baseUrl")?,
            topic: topic.to_owned(),
            authorization: authorization.map(Secret::new),
        }))
    }
}

/// The account as HTTP's basic sign-in encodes it.
fn basic(user: &str, password: Option<&str>) -> String {
    STANDARD.encode(format!("{user}:{}", password.unwrap_or_default()))
}

struct Topic {
    http: Outbound,
    url: String,
    topic: String,
    authorization: Option<Secret>,
}

#[async_trait]
impl Notifier for Topic {
    async fn send(&self, notice: &Notice) -> Result<()> {
        let headers: Vec<_> = self.authorization.iter().map(|value| ("authorization", value.expose())).collect();
        service::post_json(&self.http, &self.url, &headers, &message(&self.topic, notice)).await.map(drop)
    }
}

/// Published as JSON, so that no name ends up in a header. What is above 4096 bytes would become an attachment.
fn message(topic: &str, notice: &Notice) -> Value {
    let (priority, tag) = match notice.severity {
        _ if is_good(notice) => (2, "white_check_mark"),
        Severity::Info => (2, "information_source"),
        Severity::Warning => (3, "warning"),
        Severity::Error => (4, "x"),
        Severity::Critical => (5, "rotating_light"),
    };
    let message = plain_within(&Notice { link: None, ..notice.clone() }, 4000);
    let mut body =
        json!({"topic": topic, "title": cut(&line(&notice.title), 200), "message": message, "priority": priority, "tags": [tag]});
    if let Some(link) = &notice.link {
        body["click"] = link.as_str().into();
    }
    body
}
