//! Adding a database.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::form::{self, DatabaseForm};
use crate::{
    domain::permissions::Permission,
    services::{
        Ctx,
        databases::{self, DatabaseInput, DatabaseView},
    },
    web::{
        envelope::{self, Envelope},
        error::{Failure, message, status},
        extract::{Body, Form, Query, User},
        html::{Layout, render},
    },
};

/// Which engine's form is shown.
#[derive(serde::Deserialize)]
pub struct Choice {
    engine: Option<String>,
}

/// Adds a database. Secret settings are sealed and never returned.
#[utoipa::path(post, path = "/api/databases", tag = "databases", request_body = DatabaseInput,
    responses((status = 201, body = Envelope<DatabaseView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(input): Body<DatabaseInput>,
) -> Result<(StatusCode, Envelope<DatabaseView>), Failure> {
    Ok(envelope::created(databases::create(&ctx, &user, input).await?))
}

/// GET /databases/new
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Query(choice): Query<Choice>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let form = DatabaseForm::blank(&ctx, &user, choice.engine.as_deref()).await?;
    Ok(render(&ctx, &form::Page::new(layout.titled("Add a database"), form))?.into_response())
}

/// POST /databases/new: the form, filled from a connection URL. What cannot be read is told without repeating it.
pub async fn from_url(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let layout = layout.titled("Add a database");
    match databases::draft::draft(&ctx, &user, form.text("url")) {
        Ok(draft) => {
            let shown = DatabaseForm::drafted(&ctx, &user, draft).await?;
            Ok(render(&ctx, &form::Page::new(layout, shown))?.into_response())
        }
        Err(error) => {
            let mut shown = DatabaseForm::blank(&ctx, &user, Some(form.text("engine")).filter(|engine| !engine.is_empty())).await?;
            shown.url_problem = Some((message(&error), error.hint.clone()));
            // htmx shows an error only when it is told that it may.
            Ok((status(&error), [("x-fragment", "form")], render(&ctx, &form::Page::new(layout, shown))?).into_response())
        }
    }
}

/// POST /databases
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let result = match form::read(&form) {
        Ok(input) => databases::create(&ctx, &user, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(database) => Ok(Redirect::to(&format!("/databases/{}?notice=added", database.id)).into_response()),
        Err(error) => {
            let shown = DatabaseForm::typed(&ctx, &user, &form, None, &error).await?;
            let page = render(&ctx, &form::Page::new(layout.titled("Add a database"), shown))?;
            Ok((status(&error), page).into_response())
        }
    }
}
