//! Slack: incoming webhooks with blocks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Notifier, NotifierInfo, NotifierKind, service,
    text::{clean, cut, escape_html, line, sign},
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
    id: "slack",
    label: "Slack",
    icon: "chat",
    settings: &[Field::new("url", "Webhook URL", FieldKind::Secret)
        .required()
        .help("From the Slack app: Incoming Webhooks, Add New Webhook to Workspace. It begins with https://hooks.slack.com/services/.")],
};

pub(super) struct Slack;

impl NotifierKind for Slack {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        service::place(settings.text("url"))
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        service::Channel::open(settings, "Slack", message)
    }
}

/// Names and reasons are in `plain_text`, in which nothing is markup; only the link is `mrkdwn`, and escaped.
fn message(notice: &Notice) -> Value {
    let plain = |text: &str, limit: usize| json!({"type": "plain_text", "emoji": false, "text": cut(text, limit)});
    let mut blocks = vec![
        json!({"type": "header", "text": plain(&format!("{} {}", sign(notice), line(&notice.title)), 150)}),
        json!({"type": "section", "text": plain(&clean(&notice.what), 3000)}),
    ];
    if !notice.next_step.is_empty() {
        blocks.push(json!({"type": "section", "text": plain(&format!("What to do: {}", clean(&notice.next_step)), 3000)}));
    }
    let facts: Vec<_> =
        notice.facts.iter().take(10).map(|(name, value)| plain(&format!("{}: {}", line(name), line(value)), 2000)).collect();
    if !facts.is_empty() {
        blocks.push(json!({"type": "section", "fields": facts}));
    }
    if let Some(link) = &notice.link {
        let link = link.replace('|', "%7C");
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("<{}|Open in DBSnap>", escape_html(&link))}}));
    }
    // What a phone's notification shows. Nothing in it is linked or mentions anyone.
    json!({"text": escape_html(&line(&notice.title)), "blocks": blocks, "unfurl_links": false})
}
