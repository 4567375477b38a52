//! Removing a schedule; its backups stay.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::ScheduleId, permissions::Permission},
    services::{Ctx, schedules},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Id, User},
    },
};

/// Removes a schedule and its history. Its backups stay.
#[utoipa::path(delete, path = "/api/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<Envelope<Nothing>, Failure> {
    schedules::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /schedules/{id}/delete
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<Redirect, Failure> {
    user.require(Permission::Configure)?;
    schedules::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/schedules?notice=schedule-removed"))
}
