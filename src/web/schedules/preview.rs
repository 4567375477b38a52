//! What comes next: of a schedule, and of an expression that is being typed.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};
use chrono_tz::Tz;

use super::{create::Choice, form, words};
use crate::{
    domain::{cron, ids::ScheduleId, permissions::Permission, time::Moment},
    error::Error,
    services::{
        Ctx,
        schedules::{self, PreviewInput},
    },
    web::{
        envelope::{self, Envelope},
        error::{Failure, message},
        extract::{Body, Form, Id, Query, User},
        html::render,
    },
};

/// How many runs are told.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Count {
    /// 1 to 200; 10 when left out.
    #[serde(default = "ten")]
    count: usize,
}

fn ten() -> usize {
    10
}

/// The next runs as the form shows them.
#[derive(Template)]
#[template(path = "pages/schedules/next.html")]
struct Next {
    runs: Vec<String>,
    problem: Option<String>,
}

/// The next moments at which a schedule is due, as if it were enabled; none for one that runs after another.
#[utoipa::path(get, path = "/api/schedules/{id}/next-runs", tag = "schedules", params(("id" = ScheduleId, Path), Count),
    responses((status = 200, body = Envelope<Vec<Moment>>)))]
pub async fn api_stored(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<ScheduleId>,
    Query(count): Query<Count>,
) -> Result<Envelope<Vec<Moment>>, Failure> {
    Ok(envelope::ok(schedules::next_runs(&ctx, &user, id, count.count).await?))
}

/// The next moments of an expression in a zone. Nothing is stored.
#[utoipa::path(post, path = "/api/schedules/preview", tag = "schedules", request_body = PreviewInput,
    responses((status = 200, body = Envelope<Vec<Moment>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Body(input): Body<PreviewInput>) -> Result<Envelope<Vec<Moment>>, Failure> {
    user.require(Permission::Configure)?;
    Ok(envelope::ok(schedules::preview(&ctx, &user, &input)?))
}

/// POST /schedules/preview: the part of the form that follows what is typed.
pub async fn form_part(State(ctx): State<Arc<Ctx>>, user: User, form: Form) -> Result<Html<String>, Failure> {
    user.require(Permission::Configure)?;
    let told = next(&ctx, &user, &form);
    let problem = told.as_ref().err().map(|error| format!("{}{}", message(error), words::hint(error)));
    Ok(render(&ctx, &Next { runs: told.unwrap_or_default(), problem })?)
}

/// GET /schedules/tables: the part of the form that names the tables of the chosen database.
pub async fn tables_part(State(ctx): State<Arc<Ctx>>, user: User, Query(choice): Query<Choice>) -> Result<Html<String>, Failure> {
    user.require(Permission::Configure)?;
    Ok(render(&ctx, &form::Tables::of(&ctx, &user, choice.database_id).await?)?)
}

/// The next runs of what a form says, in its zone and in words.
pub(super) fn next(ctx: &Ctx, user: &crate::domain::permissions::Actor, form: &Form) -> Result<Vec<String>, Error> {
    let Some(cron) = form::cron(form)? else { return Ok(Vec::new()) };
    let zone = form.text("timeZone").to_owned();
    let tz: Tz = cron::zone(if zone.is_empty() { "UTC" } else { &zone })?;
    let runs = schedules::preview(ctx, user, &PreviewInput { cron, time_zone: Some(tz.name().to_owned()), count: 5 })?;
    Ok(runs.into_iter().map(|run| words::local(run, tz)).collect())
}
