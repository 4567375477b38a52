//! Removing a schedule; its backups stay.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::ScheduleId, permissions::Permission},
    services::{
        Ctx,
        schedules::{self, Removal},
    },
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Form, Id, Query, User},
    },
};

/// Removes a schedule and its history. Its backups stay. CONFLICT names the schedules that run after it, unless they are to be
/// disabled.
#[utoipa::path(delete, path = "/api/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path), Removal),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<ScheduleId>,
    Query(removal): Query<Removal>,
) -> Result<Envelope<Nothing>, Failure> {
    schedules::delete(&ctx, &user, id, removal).await?;
    Ok(envelope::done())
}

/// POST /schedules/{id}/delete
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>, form: Form) -> Result<Redirect, Failure> {
    user.require(Permission::Configure)?;
    schedules::delete(&ctx, &user, id, Removal { disable_dependents: form.has("disableDependents") }).await?;
    Ok(Redirect::to("/schedules?notice=schedule-removed"))
}
