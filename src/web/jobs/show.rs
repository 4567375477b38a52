//! One job and its log.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        ids::JobId,
        job::{Job, JobKind, JobStatus, LogLevel, LogLine},
    },
    services::{Ctx, jobs},
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
#[template(path = "pages/jobs/show.html")]
struct Show {
    layout: Layout,
    job: Job,
    lines: Vec<LogLine>,
    /// The page's own address.
    here: String,
    /// The last line the page has; the live stream goes on after it.
    after: i64,
    /// The log level chosen; empty for all.
    level: &'static str,
}

/// One job.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = Envelope<Job>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>) -> Result<Envelope<Job>, Failure> {
    Ok(envelope::ok(jobs::get(&ctx, &user, id).await?))
}

/// GET /jobs/{id}
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<JobId>,
    Query(query): Query<LogQuery>,
) -> Result<Html<String>, Failure> {
    let job = jobs::get(&ctx, &user, id).await?;
    let lines = jobs::logs(&ctx, &user, id, query.level, 0).await?;
    let level = query.level.map_or("", LogLevel::as_str);
    let here = format!("/jobs/{id}");
    let after = lines.last().map_or(0, |line| line.seq);
    let layout = layout.titled(format!("{} job {}", kind_word(job.kind), id.short()));
    Ok(render(&ctx, &Show { layout, job, lines, here, after, level })?)
}

/// The kind at the start of a sentence.
pub fn kind_word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "Backup",
        JobKind::Restore => "Restore",
        JobKind::Verify => "Verification",
    }
}
