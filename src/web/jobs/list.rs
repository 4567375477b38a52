//! What runs, waits and has run.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        filter::JobFilter,
        job::{Job, JobKind, JobStatus},
        page::{Page, PageRequest},
    },
    services::{
        Ctx,
        jobs::{
            self,
            state::{self as queue, QueueState},
        },
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/jobs/list.html")]
struct List {
    layout: Layout,
    jobs: Page<Job>,
    filter: JobFilter,
    filtered: bool,
    /// Only dead letters are shown, to be retried or dropped.
    dead: bool,
    queue: QueueState,
    pager: Pager,
    here: String,
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(JobFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<Job>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<JobFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Job>>, Failure> {
    Ok(envelope::page(jobs::list(&ctx, &user, &filter, page).await?))
}

/// GET /jobs
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(filter): Query<JobFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let jobs = jobs::list(&ctx, &user, &filter, page).await?;
    let queue = queue::queue(&ctx, &user).await?;
    let dead = filter.dead == Some(true);
    let filtered = filter.status.is_some() || filter.kind.is_some() || filter.database_id.is_some();
    let pager = Pager::new(&uri, &jobs);
    let layout = layout.titled(if dead { "Dead letters" } else { "Jobs" });
    Ok(render(&ctx, &List { layout, jobs, filter, filtered, dead, queue, pager, here: uri.to_string() })?)
}
