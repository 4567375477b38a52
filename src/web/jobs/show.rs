//! One job and its log.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};
use serde_json::Value;

use crate::{
    domain::{
        ids::JobId,
        job::{Job, JobKind, JobStatus},
    },
    services::{Ctx, jobs},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
        jobs::{live::LiveLog, logs::LogQuery},
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/jobs/show.html")]
struct Show {
    layout: Layout,
    job: Job,
    log: LiveLog,
    report: Option<Report>,
}

/// What a job did or found.
struct Report {
    /// In sentences, where the job says it so.
    words: Vec<String>,
    /// All of it.
    json: String,
}

impl From<&Value> for Report {
    fn from(report: &Value) -> Self {
        let words = report["words"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        Self { words, json: format!("{report:#}") }
    }
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
    let log = LiveLog::load(&ctx, &user, Some(id), job.status.is_over(), format!("/jobs/{id}"), query.level).await?;
    let layout = layout.titled(format!("{} job {}", kind_word(job.kind), id.short()));
    let report = job.report.as_ref().map(Report::from);
    Ok(render(&ctx, &Show { layout, job, log, report })?)
}

/// The kind at the start of a sentence.
pub fn kind_word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "Backup",
        JobKind::Restore => "Restore",
        JobKind::Verify => "Verification",
        JobKind::Diff => "Comparison",
        JobKind::Retention => "Retention",
        JobKind::Copy => "Copy",
        JobKind::Maintenance => "Maintenance",
    }
}
