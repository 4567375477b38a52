//! Putting a waiting job before others, or after them.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use serde::Deserialize;

use crate::{
    domain::{ids::JobId, job::Job},
    error::Error,
    services::{Ctx, jobs},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, Id, User},
    },
};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// From -100 to 100; of the jobs that are due, those with a larger number start first.
    priority: i32,
}

/// Changes the priority of a job that waits.
#[utoipa::path(put, path = "/api/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)), request_body = Change,
    responses((status = 200, body = Envelope<Job>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>, Body(change): Body<Change>) -> Result<Envelope<Job>, Failure> {
    Ok(envelope::ok(jobs::set_priority(&ctx, &user, id, change.priority).await?))
}

/// POST /jobs/{id}/priority
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<JobId>, form: Form) -> Result<Redirect, Failure> {
    jobs::get(&ctx, &user, id).await?;
    let text = form.text("priority");
    let priority = text.parse().map_err(|_| Error::validation(format!("the priority '{text}' is not a whole number from -100 to 100")))?;
    jobs::set_priority(&ctx, &user, id, priority).await?;
    Ok(Redirect::to(&format!("/jobs/{id}?notice=saved")))
}
