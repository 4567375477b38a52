//! Changing a schedule.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::form::{self, ScheduleForm};
use crate::{
    domain::{ids::ScheduleId, permissions::Permission},
    services::{
        Ctx,
        schedules::{self, ScheduleInput, ScheduleView},
    },
    web::{
        envelope::{self, Envelope},
        error::{Failure, status},
        extract::{Body, Form, Id, User},
        html::{Layout, render},
    },
};

/// Replaces a schedule. A heartbeat address that is left out stays as it is.
#[utoipa::path(put, path = "/api/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path)), request_body = ScheduleInput,
    responses((status = 200, body = Envelope<ScheduleView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<ScheduleId>,
    Body(input): Body<ScheduleInput>,
) -> Result<Envelope<ScheduleView>, Failure> {
    Ok(envelope::ok(schedules::update(&ctx, &user, id, input).await?))
}

/// GET /schedules/{id}/edit
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<ScheduleId>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let before = schedules::get(&ctx, &user, id).await?.schedule;
    let layout = layout.titled(format!("Edit {}", before.name));
    let form = ScheduleForm::draw(&ctx, &user, form::filled(&ctx, &user, &before).await?, Some(&before), None).await?;
    Ok(render(&ctx, &form::Page::new(layout, form))?.into_response())
}

/// POST /schedules/{id}
pub async fn submit(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<ScheduleId>,
    form: Form,
) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let before = schedules::get(&ctx, &user, id).await?.schedule;
    let result = match form::read(&ctx, &user, &form, Some(&before)).await {
        Ok(input) => schedules::update(&ctx, &user, id, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Ok(Redirect::to(&format!("/schedules/{id}?notice=saved")).into_response()),
        Err(error) => {
            let layout = layout.titled(format!("Edit {}", before.name));
            let shown = ScheduleForm::draw(&ctx, &user, form, Some(&before), Some(&error)).await?;
            Ok((status(&error), render(&ctx, &form::Page::new(layout, shown))?).into_response())
        }
    }
}
