//! Upkeep on demand.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Redirect};
use serde::Deserialize;

use crate::{
    domain::{job::Job, maintenance::MaintenanceTask},
    services::{Ctx, maintenance},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, User},
    },
};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    task: MaintenanceTask,
}

/// Queues a task: `cleanup` removes what has expired and old history, `vacuum` compacts the catalogue, `verify` checks it and
/// verifies backups. The job's `report` says what was done. A task that is queued or runs already is not queued again.
#[utoipa::path(post, path = "/api/system/maintenance", tag = "system", request_body = MaintenanceRequest,
    responses((status = 202, body = Envelope<Job>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<MaintenanceRequest>,
) -> Result<(StatusCode, Envelope<Job>), Failure> {
    Ok(envelope::accepted(maintenance::start(&ctx, &user, request.task).await?))
}

/// POST /settings/maintenance
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Redirect, Failure> {
    maintenance::start(&ctx, &user, maintenance::task(form.text("task"))?).await?;
    Ok(Redirect::to("/settings?notice=maintained"))
}
