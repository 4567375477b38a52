//! One restore: how it goes, or how it went.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        ids::RestoreId,
        job::{Job, LogLevel, LogLine},
        restore::{Restore, RestoreMode, RestoreStatus},
    },
    services::{Ctx, jobs, restore},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
        jobs::logs::LogQuery,
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/restores/show.html")]
struct Show {
    layout: Layout,
    restore: Restore,
    running: Option<Job>,
    lines: Vec<LogLine>,
    /// The page's own address.
    here: String,
    /// The last line the page has; the live stream goes on after it.
    after: i64,
    /// The log level chosen; empty for all.
    level: &'static str,
}

/// One restore.
#[utoipa::path(get, path = "/api/restores/{id}", tag = "restores", params(("id" = RestoreId, Path)),
    responses((status = 200, body = Envelope<Restore>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<RestoreId>) -> Result<Envelope<Restore>, Failure> {
    Ok(envelope::ok(restore::get(&ctx, &user, id).await?))
}

/// GET /restores/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<RestoreId>,
    Query(query): Query<LogQuery>,
) -> Result<Html<String>, Failure> {
    let restore = restore::get(&ctx, &user, id).await?;
    let running = match restore.job_id.filter(|_| !restore.status.is_over()) {
        Some(job) => Some(jobs::get(&ctx, &user, job).await?),
        None => None,
    };
    let lines = restore::logs(&ctx, &user, id, query.level, 0).await?;
    let level = query.level.map_or("", LogLevel::as_str);
    let here = format!("/restores/{id}");
    let after = lines.last().map_or(0, |line| line.seq);
    let layout = layout.titled(format!("Restore of {}", restore.source_label));
    Ok(render(&ctx, &Show { layout, restore, running, lines, here, after, level })?)
}
