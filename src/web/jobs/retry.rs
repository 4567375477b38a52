//! Queueing a job that did not complete once more.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Redirect};

use crate::{
    domain::{ids::JobId, job::Job},
    services::{Ctx, jobs},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Queues a failed, cancelled or interrupted job once more. Answers with the new job.
#[utoipa::path(post, path = "/api/jobs/{id}/retry", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 202, body = Envelope<Job>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>) -> Result<(StatusCode, Envelope<Job>), Failure> {
    Ok(envelope::accepted(jobs::retry(&ctx, &user, id).await?))
}

/// POST /jobs/{id}/retry
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>) -> Result<Redirect, Failure> {
    let job = jobs::retry(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/jobs/{}?notice=retried", job.id)))
}
