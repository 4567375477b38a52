//! Telegram: a bot that writes to a chat.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    Notifier, NotifierInfo, NotifierKind,
    http::Outbound,
    service,
    text::{clean, cut, escape_html, line, sign},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::{Notice, Severity},
        secret::Secret,
    },
    error::{Error, Result},
};

static INFO: NotifierInfo = NotifierInfo {
    id: "telegram",
    label: "Telegram",
    icon: "chat",
    settings: &[
        Field::new("token", "Bot token", FieldKind::Secret).required().help("From @BotFather, such as 123456:ABC-DEF."),
        Field::new("chatId", "Chat", FieldKind::Text)
            .required()
            .help("Number of the chat, or @name of a public channel. The bot must be in it; in a private chat, write to it first."),
        Field::new("threadId", "Topic", FieldKind::Integer { min: 1, max: i64::MAX }).help("Number of a topic in a group that has topics."),
        Field::new("baseUrl", "Server", FieldKind::Text)
            .default("https://api.telegram.org")
            .binds_secrets()
            .help("Another one where you run a Bot API server of your own."),
    ],
};

pub(super) struct Telegram;

impl NotifierKind for Telegram {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        format!("chat {}", settings.text("chatId").unwrap_or_default())
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        let token = settings.text("token").unwrap_or_default();
        if !token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_')) {
            return Err(service::wrong("token", "holds characters that no bot token has"));
        }
        Ok(Arc::new(Chat {
            http: Outbound::new("Telegram").hiding([Secret::new(token)]),
            url: Secret::new(format!("{}/bot{token}/sendMessage", service::base(settings, "baseUrl")?)),
            chat: settings.text("chatId").unwrap_or_default().to_owned(),
            thread: settings.integer("threadId"),
        }))
    }
}

struct Chat {
    http: Outbound,
    url: Secret,
    chat: String,
    thread: Option<i64>,
}

#[async_trait]
impl Notifier for Chat {
    async fn send(&self, notice: &Notice) -> Result<()> {
        let mut message = json!({
            "chat_id": self.chat,
            "text": message(notice),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true},
            "disable_notification": notice.severity == Severity::Info,
        });
        if let Some(thread) = self.thread {
            message["message_thread_id"] = thread.into();
        }
        let answer = service::post_json(&self.http, self.url.expose(), &[], &message).await?;
        match serde_json::from_str::<Value>(&answer.body).ok().and_then(|said| said["ok"].as_bool()) {
            Some(true) => Ok(()),
            None if !answer.whole => {
                Err(Error::internal("the answer of Telegram broke off").hint("a message is tried again by itself").retryable())
            }
            _ => Err(Error::internal("what answers for Telegram does not say that it took the message").hint("check the server's address")),
        }
    }
}

/// Telegram takes 4096 characters after the markup is read, so the parts are cut before they are escaped.
fn message(notice: &Notice) -> String {
    let text = |text: &str, limit: usize| escape_html(&cut(text, limit));
    let mut parts = vec![format!("<b>{} {}</b>", sign(notice), text(&line(&notice.title), 250)), text(&clean(&notice.what), 2000)];
    if !notice.next_step.is_empty() {
        parts.push(format!("<b>What to do:</b> {}", text(&clean(&notice.next_step), 800)));
    }
    let facts: Vec<_> = notice.facts.iter().take(10).map(|(name, value)| text(&format!("{}: {}", line(name), line(value)), 80)).collect();
    if !facts.is_empty() {
        parts.push(facts.join("\n"));
    }
    if let Some(link) = &notice.link {
        parts.push(format!("<a href=\"{}\">Open in DBSnap</a>", escape_html(link)));
    }
    parts.join("\n\n")
}
