//! Cancelling a job.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::JobId, job::Job},
    services::{Ctx, jobs},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Cancels a queued or running job.
#[utoipa::path(post, path = "/api/jobs/{id}/cancel", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = Envelope<Job>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>) -> Result<Envelope<Job>, Failure> {
    Ok(envelope::ok(jobs::cancel(&ctx, &user, id).await?))
}

/// POST /jobs/{id}/cancel
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>) -> Result<Redirect, Failure> {
    jobs::cancel(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/jobs/{id}?notice=cancelling")))
}
