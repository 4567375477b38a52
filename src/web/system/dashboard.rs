//! The overview. Its first line answers: am I protected?

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        backup::{Backup, BackupStatus},
        filter::{BackupFilter, DatabaseFilter, JobFilter},
        job::{Job, JobStatus},
        notice::{Alert, Severity},
        page::PageRequest,
        time::Moment,
    },
    services::{
        Ctx, backup,
        databases::{self, DatabaseView},
        jobs, notices,
        schedules::{self, ScheduleView},
        system::{self, Stats},
    },
    web::{
        error::Failure,
        extract::User,
        filters,
        html::{Layout, render},
        state,
    },
};

/// The answer in one line, and why.
struct Verdict {
    class: &'static str,
    sign: &'static str,
    headline: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "pages/system/dashboard.html")]
struct Dashboard {
    layout: Layout,
    verdict: Verdict,
    stats: Stats,
    databases: Vec<DatabaseView>,
    running: Vec<Job>,
    recent: Vec<Backup>,
    upcoming: Vec<ScheduleView>,
    /// What is wrong now, the gravest first.
    alerts: Vec<Alert>,
}

/// GET /
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Html<String>, Failure> {
    let stats = system::stats(&ctx, &user).await?;
    let mut databases = databases::list(&ctx, &user, &DatabaseFilter::default(), PageRequest { page: 1, limit: 200 }).await?.items;
    // What needs attention comes first.
    databases.sort_by_key(|database| (protection(database).rank, database.name.to_lowercase()));
    let few = |status| JobFilter { status: Some(status), ..JobFilter::default() };
    let mut running = jobs::list(&ctx, &user, &few(JobStatus::Running), PageRequest { page: 1, limit: 10 }).await?.items;
    running.extend(jobs::list(&ctx, &user, &few(JobStatus::Queued), PageRequest { page: 1, limit: 10 }).await?.items);
    let recent = backup::list(&ctx, &user, &BackupFilter::default(), PageRequest { page: 1, limit: 6 }).await?.items;
    let upcoming = schedules::upcoming(&ctx, &user, 5).await?;
    let mut alerts = notices::alerts(&ctx, &user).await?;
    alerts.sort_by_key(|alert| std::cmp::Reverse(Severity::ALL.iter().position(|severity| *severity == alert.notice.severity)));
    let told = notices::notifiers::list(&ctx, &user).await?.iter().any(|notifier| notifier.enabled);
    let verdict = verdict(&stats, &databases, told);
    Ok(render(&ctx, &Dashboard { layout: layout.titled("Overview"), verdict, stats, databases, running, recent, upcoming, alerts })?)
}

/// How well one database is protected: class, sign, words, and its place in the list.
pub struct Protection {
    pub class: &'static str,
    pub sign: &'static str,
    pub word: &'static str,
    rank: u8,
}

/// Judged by the newest good backup only: a failed one protects nobody.
pub fn protection(database: &DatabaseView) -> Protection {
    let of = |class, sign, word, rank| Protection { class, sign, word, rank };
    match &database.last_good {
        None => of("bad", "✕", "no good backup", 0),
        Some(_) if database.expected_by.is_some_and(|expected| expected < Moment::now()) => of("warn", "!", "overdue", 1),
        Some(_) if database.last_backup.as_ref().is_some_and(|last| last.status == BackupStatus::Failed) => {
            of("warn", "!", "last try failed", 2)
        }
        Some(_) => of("ok", "✓", "protected", 3),
    }
}

/// `told` says that somebody is told of failures.
fn verdict(stats: &Stats, databases: &[DatabaseView], told: bool) -> Verdict {
    let named = |rank: u8| {
        let names: Vec<&str> =
            databases.iter().filter(|database| protection(database).rank == rank).map(|database| &*database.name).collect();
        match names.as_slice() {
            [] => None,
            [only] => Some((*only).to_owned()),
            [first, second] => Some(format!("{first} and {second}")),
            [first, second, rest @ ..] => Some(format!("{first}, {second} and {} more", rest.len())),
        }
    };
    let (total, protected) = (stats.databases, stats.protected);
    if total == 0 {
        return Verdict {
            class: "",
            sign: "○",
            headline: "Nothing is protected yet".into(),
            reason: "Add a database to make its first backup.".into(),
        };
    }
    let headline = match (protected, total) {
        (1, 1) => "Your database is protected".to_owned(),
        (protected, total) if protected == total => format!("All {total} databases are protected"),
        (0, 1) => "Your database is not protected".to_owned(),
        (0, total) => format!("None of your {total} databases is protected"),
        (protected, total) => format!("{protected} of {total} databases are protected"),
    };
    let mut reasons: Vec<String> = Vec::new();
    reasons.extend(named(0).map(|names| format!("No good backup of {names}.")));
    reasons.extend(named(1).map(|names| format!("A new good backup of {names} is overdue.")));
    reasons.extend(named(2).map(|names| format!("The last try failed for {names}.")));
    if reasons.is_empty() {
        reasons.push("Each has a good backup that is as new as it should be.".into());
    }
    if !told {
        reasons.push("Nobody is told when that changes: add a notifier.".into());
    }
    if databases.iter().all(|database| !database.scheduled) {
        reasons.push("Nothing is backed up by itself yet: add a schedule.".into());
    }
    let (class, sign) = match named(0) {
        Some(_) => ("bad", "✕"),
        None if protected < total || named(2).is_some() => ("warn", "!"),
        None => ("ok", "✓"),
    };
    Verdict { class, sign, headline, reason: reasons.join(" ") }
}
