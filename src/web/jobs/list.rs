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
    services::{Ctx, jobs},
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
    let filtered = filter.status.is_some() || filter.kind.is_some() || filter.database_id.is_some();
    let pager = Pager::new(&uri, &jobs);
    Ok(render(&ctx, &List { layout: layout.titled("Jobs"), jobs, filter, filtered, pager, here: uri.to_string() })?)
}
