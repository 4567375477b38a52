//! The first run: whoever has the token from the log creates the administrator.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Redirect, Response},
};

use super::login::{self, Address};
use crate::{
    domain::permissions::Actor,
    error::Error,
    services::{Ctx, accounts},
    web::{
        error::{Failure, message, status},
        extract::Form,
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "pages/account/setup.html")]
struct Page {
    layout: Layout,
    name: String,
    problem: Option<(String, Option<String>)>,
}

/// GET /setup; once there is an administrator it leads to the login.
pub async fn page(State(ctx): State<Arc<Ctx>>, uri: Uri, headers: HeaderMap) -> Result<Response, Failure> {
    if !accounts::setup_needed(&ctx).await? {
        return Ok(Redirect::to("/login").into_response());
    }
    draw(&ctx, &uri, &headers, "", None)
}

/// POST /setup
pub async fn submit(State(ctx): State<Arc<Ctx>>, address: Address, uri: Uri, headers: HeaderMap, form: Form) -> Result<Response, Failure> {
    let made = if form.raw("password") == form.raw("again") {
        accounts::setup(&ctx, form.text("token"), form.text("name"), form.raw("password"), address.client(&headers)).await
    } else {
        Err(Error::validation("the two passwords differ"))
    };
    match made {
        Ok((_, token)) => Ok((login::cookie(&ctx, token.expose()), Redirect::to("/")).into_response()),
        Err(error) => draw(&ctx, &uri, &headers, form.text("name"), Some(&error)),
    }
}

fn draw(ctx: &Ctx, uri: &Uri, headers: &HeaderMap, name: &str, error: Option<&Error>) -> Result<Response, Failure> {
    let layout = Layout::of(Actor::anonymous(), false, uri, headers).titled("Set up");
    let problem = error.map(|error| (message(error), error.hint.clone()));
    let page = render(ctx, &Page { layout, name: name.to_owned(), problem })?;
    Ok((error.map_or(axum::http::StatusCode::OK, status), page).into_response())
}
