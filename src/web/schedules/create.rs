//! Adding a schedule.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::form::{self, ScheduleForm};
use crate::{
    domain::{ids::DatabaseId, permissions::Permission},
    services::{
        Ctx,
        schedules::{self, ScheduleInput, ScheduleView},
    },
    web::{
        envelope::{self, Envelope},
        error::{Failure, status},
        extract::{Body, Form, Query, User},
        html::{Layout, render},
    },
};

/// Which database the form is opened for.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    pub(super) database_id: Option<DatabaseId>,
}

/// Adds a schedule. It is due from now on.
#[utoipa::path(post, path = "/api/schedules", tag = "schedules", request_body = ScheduleInput,
    responses((status = 201, body = Envelope<ScheduleView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(input): Body<ScheduleInput>,
) -> Result<(StatusCode, Envelope<ScheduleView>), Failure> {
    Ok(envelope::created(schedules::create(&ctx, &user, input).await?))
}

/// GET /schedules/new
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Query(choice): Query<Choice>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let form = ScheduleForm::draw(&ctx, &user, form::blank(&ctx, choice.database_id), None, None).await?;
    Ok(render(&ctx, &form::Page::new(layout.titled("Add a schedule"), form))?.into_response())
}

/// POST /schedules
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let result = match form::read(&ctx, &user, &form, None).await {
        Ok(input) => schedules::create(&ctx, &user, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(made) => Ok(Redirect::to(&format!("/schedules/{}?notice=saved", made.schedule.id)).into_response()),
        Err(error) => {
            let shown = ScheduleForm::draw(&ctx, &user, form, None, Some(&error)).await?;
            Ok((status(&error), render(&ctx, &form::Page::new(layout.titled("Add a schedule"), shown))?).into_response())
        }
    }
}
