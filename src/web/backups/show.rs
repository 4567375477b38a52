//! One backup: can it be trusted, what is in it, how it came to be.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        backup::{Backup, BackupStatus, VerifyState},
        ids::BackupId,
        job::{Job, LogLevel, LogLine},
    },
    services::{Ctx, backup, jobs},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
        state,
    },
};

/// Which log lines are shown.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub struct View {
    level: Option<LogLevel>,
}

#[derive(Template)]
#[template(path = "pages/backups/show.html")]
struct Show {
    layout: Layout,
    backup: Backup,
    /// The job that makes it, while it runs.
    running: Option<Job>,
    lines: Vec<LogLine>,
    /// The page's own address.
    here: String,
    /// The last line the page has; the live stream goes on after it.
    after: i64,
    /// The log level chosen; empty for all.
    level: &'static str,
    /// What has to be typed to delete it.
    confirm: String,
    store: String,
}

/// One backup with its artifacts and row counts.
#[utoipa::path(get, path = "/api/backups/{id}", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Backup>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Backup>, Failure> {
    Ok(envelope::ok(backup::get(&ctx, &user, id).await?))
}

/// GET /backups/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<BackupId>,
    Query(view): Query<View>,
) -> Result<Html<String>, Failure> {
    let backup = backup::get(&ctx, &user, id).await?;
    let running = match backup.job_id.filter(|_| !backup.status.is_over()) {
        Some(job) => Some(jobs::get(&ctx, &user, job).await?),
        None => None,
    };
    let lines = backup::logs(&ctx, &user, id, view.level, 0).await?;
    let level = view.level.map_or("", LogLevel::as_str);
    let here = format!("/backups/{id}");
    let after = lines.last().map_or(0, |line| line.seq);
    let store = crate::services::stores::get(&ctx, &user, backup.store_id).await?.name;
    let layout = layout.titled(format!("Backup of {}", backup.database_name));
    let confirm = super::delete::confirmation(&backup);
    Ok(render(&ctx, &Show { layout, backup, running, lines, here, after, level, confirm, store })?)
}
