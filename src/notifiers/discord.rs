//! Discord: a channel's webhook with an embed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Notifier, NotifierInfo, NotifierKind, service,
    text::{clean, color, cut, line, sign},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::Notice,
    },
    error::Result,
};

static INFO: NotifierInfo = NotifierInfo {
    id: "discord",
    label: "Discord",
    icon: "chat",
    settings: &[Field::new("url", "Webhook URL", FieldKind::Secret).required().help(
        "From the channel: Edit Channel, Integrations, Webhooks, Copy Webhook URL. It begins with https://discord.com/api/webhooks/.",
    )],
};

pub(super) struct Discord;

impl NotifierKind for Discord {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        service::place(settings.text("url"))
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        service::Channel::open(settings, "Discord", message)
    }
}

/// Within Discord's limits: title 256, description 4096, value 1024 characters, 6000 in all.
fn message(notice: &Notice) -> Value {
    let mut text = escape(&clean(&notice.what), 2400);
    if !notice.next_step.is_empty() {
        text.push_str(&format!("\n\n**What to do:** {}", escape(&clean(&notice.next_step), 1200)));
    }
    let fields: Vec<_> = notice
        .facts
        .iter()
        // A field without text would have the whole message refused.
        .filter(|(name, value)| !line(name).is_empty() && !line(value).is_empty())
        .take(10)
        .map(|(name, value)| json!({"name": escape(&line(name), 60), "value": escape(&line(value), 120), "inline": true}))
        .collect();
    let mut embed = json!({
        "title": escape(&format!("{} {}", sign(notice), line(&notice.title)), 250),
        "description": text,
        "color": color(notice),
        "fields": fields,
        "timestamp": notice.at,
        "footer": {"text": "DBSnap"},
    });
    if let Some(link) = &notice.link {
        embed["url"] = link.as_str().into();
    }
    // Nobody is mentioned, whatever a database is called.
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
}

/// Text in which nothing is Markdown, cut to so many characters, never within an escape.
fn escape(text: &str, limit: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    for c in text.chars() {
        let mark = c.is_ascii_punctuation() && !matches!(c, '.' | ',' | '\'' | '"' | '/' | ';' | '=' | '?' | '%' | '&' | '$' | '{' | '}');
        length += if mark { 2 } else { c.len_utf16() };
        if length > limit {
            escaped.push('…');
            break;
        }
        if mark {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    cut(&escaped, limit + 1)
}
