//! Switching a schedule on and off.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::ids::ScheduleId,
    services::{
        Ctx,
        schedules::{self, ScheduleView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Form, Id, User},
    },
};

/// Enables a schedule: it is due from now on, and nothing of the pause is caught up.
#[utoipa::path(post, path = "/api/schedules/{id}/enable", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 200, body = Envelope<ScheduleView>)))]
pub async fn api_enable(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<Envelope<ScheduleView>, Failure> {
    Ok(envelope::ok(schedules::set_enabled(&ctx, &user, id, true).await?))
}

/// Disables a schedule: it is no longer due. A backup that runs goes on.
#[utoipa::path(post, path = "/api/schedules/{id}/disable", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 200, body = Envelope<ScheduleView>)))]
pub async fn api_disable(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>) -> Result<Envelope<ScheduleView>, Failure> {
    Ok(envelope::ok(schedules::set_enabled(&ctx, &user, id, false).await?))
}

/// POST /schedules/{id}/enabled
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ScheduleId>, form: Form) -> Result<Redirect, Failure> {
    schedules::set_enabled(&ctx, &user, id, form.text("enabled") == "true").await?;
    Ok(Redirect::to(&format!("/schedules/{id}?notice=saved")))
}
