//! Notifiers against sinks that really receive, and that take only what their services' documents allow.

mod bench;
mod dead_man;
mod docs;
mod email;
mod http;
mod jobs;
mod limits;
mod pages;
mod real;
mod settings;
mod sink;
mod told;

use dbsnap::{
    domain::{
        database::Settings,
        fields::validate,
        ids::{DatabaseId, NoticeId, ProjectId},
        notice::{Notice, NoticeEvent, Severity},
        time::Moment,
    },
    error::Result,
    notifiers,
};
use serde_json::Value;

/// Sends as the product does: with settings that were validated first.
async fn send(kind: &str, settings: &Value, notice: &Notice) -> Result<()> {
    let kind = notifiers::find(kind)?;
    let settings: Settings = validate(kind.info().settings, settings.as_object().unwrap())?;
    kind.open(&settings)?.send(notice).await
}

/// What somebody reads at three in the morning.
fn failure() -> Notice {
    Notice {
        id: NoticeId::new(),
        event: NoticeEvent::BackupFailed,
        severity: Severity::Error,
        at: Moment(1_795_000_000_000),
        project_id: Some(ProjectId::DEFAULT),
        database_id: Some(DatabaseId::new()),
        subject: "shop".into(),
        title: "Backup of shop failed".into(),
        what: "pg_dump ended with code 1: connection refused by db.internal:5432.".into(),
        next_step: "Check that the server runs, then run the backup again.".into(),
        link: Some("https://dbsnap.example.org/jobs/1?a=1&b=2".into()),
        facts: vec![("Attempts".into(), "3 of 3".into()), ("Last good backup".into(), "2 days ago".into())],
        group: "backup:1".into(),
    }
}

fn recovery() -> Notice {
    Notice { event: NoticeEvent::BackupRecovered, severity: Severity::Info, title: "Backup of shop works again".into(), ..failure() }
}

/// Text that is markup somewhere, breaks lines and headers, mentions people, turns lines around and is far too long.
fn hostile() -> Notice {
    let text = "</p><script>alert(1)</script> <!channel> <@U1> @everyone *b* _i_ `c` [x](https://evil.example) <a href=\"x\">\
                \r\nBcc: victim@example.org\r\n\r\n\u{202e}gpj.exe \u{1b}[2J {\"a\": \"b\\\"} 🐘 ${x} {{y}} %0a";
    let long = format!("{text} {}", "ä".repeat(30_000));
    Notice {
        subject: long.clone(),
        title: format!("Backup of {long} failed"),
        what: long.clone(),
        next_step: long.clone(),
        link: Some("https://dbsnap.example.org/a?x=\"><b>&y=<c>|d".into()),
        facts: (0..60).map(|n| (format!("{n} {long}"), long.clone())).collect(),
        group: long,
        ..failure()
    }
}
