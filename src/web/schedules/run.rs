//! Running a schedule now.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Redirect};

use crate::{
    domain::{ids::ScheduleId, schedule::ScheduleRun},
    services::{Ctx, schedules},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Runs a schedule now, enabled or not, whatever its blackouts and its load condition say.
#[utoipa::path(post, path = "/api/schedules/{id}/run", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 202, body = Envelope<ScheduleRun>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<(StatusCode, Envelope<ScheduleRun>), Failure> {
    Ok(envelope::accepted(schedules::run_now(&ctx, &user, id).await?))
}

/// POST /schedules/{id}/run
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<Redirect, Failure> {
    schedules::run_now(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/schedules/{id}")))
}
