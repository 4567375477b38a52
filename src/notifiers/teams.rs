//! Microsoft Teams: a Workflows webhook that posts an adaptive card.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Notifier, NotifierInfo, NotifierKind, service,
    text::{clean, cut, is_good, line, sign},
};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        notice::{Notice, Severity},
    },
    error::Result,
};

static INFO: NotifierInfo = NotifierInfo {
    id: "teams",
    label: "Microsoft Teams",
    icon: "chat",
    settings: &[Field::new("url", "Workflow URL", FieldKind::Secret).required().help(
        "From the channel: Workflows, \u{201c}Send webhook alerts to a channel\u{201d}. The address that the workflow shows at its end.",
    )],
};

pub(super) struct Teams;

impl NotifierKind for Teams {
    fn info(&self) -> &'static NotifierInfo {
        &INFO
    }

    fn address(&self, settings: &Settings) -> String {
        service::place(settings.text("url"))
    }

    fn open(&self, settings: &Settings) -> Result<Arc<dyn Notifier>> {
        service::Channel::open(settings, "Microsoft Teams", message)
    }
}

/// Text runs, unlike text blocks, hold no Markdown: names are shown as they are. A card has at most 28 KB; each character may
/// take three bytes.
fn message(notice: &Notice) -> Value {
    let block = |runs: Vec<Value>| json!({"type": "RichTextBlock", "inlines": runs});
    let run = |text: &str, limit: usize| json!({"type": "TextRun", "text": cut(text, limit)});
    let bold = |text: &str| json!({"type": "TextRun", "text": text, "weight": "bolder"});
    let color = match notice.severity {
        _ if is_good(notice) => "good",
        Severity::Info => "accent",
        Severity::Warning => "warning",
        Severity::Error | Severity::Critical => "attention",
    };
    let title = cut(&format!("{} {}", sign(notice), line(&notice.title)), 250);
    let mut body = vec![
        block(vec![json!({"type": "TextRun", "text": title, "weight": "bolder", "size": "large", "color": color})]),
        block(vec![run(&clean(&notice.what), 3600)]),
    ];
    if !notice.next_step.is_empty() {
        body.push(block(vec![bold("What to do: "), run(&clean(&notice.next_step), 1600)]));
    }
    for (name, value) in notice.facts.iter().take(10) {
        body.push(block(vec![bold(&format!("{}: ", cut(&line(name), 60))), run(&line(value), 150)]));
    }
    let actions: Vec<_> =
        notice.link.iter().map(|link| json!({"type": "Action.OpenUrl", "title": "Open in DBSnap", "url": link})).collect();
    json!({"type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": null,
        "content": {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "msteams": {"width": "Full"},
            "body": body,
            "actions": actions,
        },
    }]})
}
