//! A retention run on demand.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Redirect};
use serde::Deserialize;

use crate::{
    domain::{ids::DatabaseId, job::Job},
    services::{Ctx, retention},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, User},
    },
};

/// What a run goes over.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RunRequest {
    /// One database; all of them when it is left out.
    database_id: Option<DatabaseId>,
}

/// Queues a run that deletes what the policies no longer keep. The job's report says what it did.
#[utoipa::path(post, path = "/api/retention-policies/run", tag = "retention", request_body = RunRequest,
    responses((status = 202, body = Envelope<Job>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Body(request): Body<RunRequest>) -> Result<(StatusCode, Envelope<Job>), Failure> {
    Ok(envelope::accepted(retention::start(&ctx, &user, request.database_id).await?))
}

/// POST /retention-policies/run
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Redirect, Failure> {
    let job = retention::start(&ctx, &user, None).await?;
    Ok(Redirect::to(&format!("/jobs/{}", job.id)))
}
