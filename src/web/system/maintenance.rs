//! Upkeep on demand.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    services::{
        Ctx,
        system::{self, MaintenanceTask},
    },
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

#[derive(Serialize, utoipa::ToSchema)]
pub struct MaintenanceResult {
    /// What was done, for people.
    done: String,
}

/// Runs a task: `cleanup` removes what has expired, `vacuum` compacts the catalogue, `verify` checks its integrity.
#[utoipa::path(post, path = "/api/system/maintenance", tag = "system", request_body = MaintenanceRequest,
    responses((status = 200, body = Envelope<MaintenanceResult>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<MaintenanceRequest>,
) -> Result<Envelope<MaintenanceResult>, Failure> {
    Ok(envelope::ok(MaintenanceResult { done: system::maintenance(&ctx, &user, request.task).await? }))
}

/// POST /settings/maintenance
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Redirect, Failure> {
    let task = match form.text("task") {
        "cleanup" => MaintenanceTask::Cleanup,
        "vacuum" => MaintenanceTask::Vacuum,
        "verify" => MaintenanceTask::Verify,
        other => return Err(Error::validation(format!("'{other}' is not a maintenance task")).into()),
    };
    system::maintenance(&ctx, &user, task).await?;
    Ok(Redirect::to("/settings?notice=maintained"))
}
