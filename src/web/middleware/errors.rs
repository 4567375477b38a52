//! Writes an error in the shape the request asked for: JSON for the API, a notice for htmx, a page for everyone else.
//! It is also where an error of a request is logged, once.

use std::sync::Arc;

use askama::Template;
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{identity::Identity, request::RequestId};
use crate::{
    domain::permissions::Actor,
    error::{Error, Kind},
    services::Ctx,
    web::{
        envelope,
        error::{message, status},
        html::{Layout, render},
    },
};

#[derive(Template)]
#[template(path = "pages/error.html")]
struct Page {
    layout: Layout,
    message: String,
    hint: Option<String>,
    fields: Vec<(String, String)>,
    request_id: String,
}

#[derive(Template)]
#[template(path = "pages/error_alone.html")]
struct PageAlone {
    layout: Layout,
    message: String,
    hint: Option<String>,
    request_id: String,
}

#[derive(Template)]
#[template(path = "parts/error.html")]
struct Part {
    message: String,
    hint: Option<String>,
    fields: Vec<(String, String)>,
}

/// What of the request decides the answer.
struct Asked {
    uri: Uri,
    headers: HeaderMap,
    request_id: String,
    identity: Option<Identity>,
}

pub async fn answer(State(ctx): State<Arc<Ctx>>, request: Request, next: Next) -> Response {
    let asked = Asked {
        uri: request.uri().clone(),
        headers: request.headers().clone(),
        request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        identity: request.extensions().get::<Identity>().cloned(),
    };
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<Arc<Error>>() else { return response };
    if response.status().is_server_error() {
        tracing::error!(error = %error, code = error.kind.code(), "the request failed");
    } else {
        tracing::debug!(error = %error, code = error.kind.code(), "the request was refused");
    }
    let kept = response.status();
    let mut written = written(&ctx, &asked, &error).await;
    if kept != status(&error) {
        *written.status_mut() = kept;
    }
    written
}

async fn written(ctx: &Arc<Ctx>, asked: &Asked, error: &Error) -> Response {
    // What programs read never leads to the login page.
    if asked.uri.path().starts_with("/api/") || asked.uri.path() == "/metrics" {
        let mut response = (status(error), Json(envelope::error(error, Some(asked.request_id.clone())))).into_response();
        if error.kind == Kind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        return response;
    }
    let htmx = asked.headers.contains_key("hx-request");
    if error.kind == Kind::Unauthorized && asked.identity.is_none() {
        let place = super::identity::sign_in_place(ctx, &asked.uri).await;
        return if htmx {
            ([(HeaderName::from_static("hx-redirect"), place)], status(error)).into_response()
        } else {
            Redirect::to(&place).into_response()
        };
    }
    if htmx {
        return part(ctx, error);
    }
    page(ctx, asked, error)
}

/// A notice that appears over the page, whatever part of it had asked.
fn part(ctx: &Ctx, error: &Error) -> Response {
    let part = Part { message: message(error), hint: error.hint.clone(), fields: error.fields.clone() };
    let headers = [("x-fragment", "error"), ("hx-retarget", "#toast"), ("hx-reswap", "innerHTML")];
    match render(ctx, &part) {
        Ok(html) => (status(error), headers, html).into_response(),
        Err(error) => plain(&error),
    }
}

fn page(ctx: &Ctx, asked: &Asked, error: &Error) -> Response {
    let title = match error.kind {
        Kind::NotFound => "Not found",
        Kind::Forbidden => "Not allowed",
        Kind::Validation => "That was not valid",
        Kind::Conflict | Kind::Cancelled => "That is not possible now",
        Kind::RateLimited => "Too many tries",
        Kind::Unauthorized => "Sign in first",
        _ => "Something failed",
    };
    let (message, hint, request_id) = (message(error), error.hint.clone(), asked.request_id.clone());
    let html = match &asked.identity {
        Some(identity) => {
            let layout = Layout::of(identity.actor.clone(), identity.session.is_some(), &asked.uri, &asked.headers).titled(title);
            render(ctx, &Page { layout, message, hint, fields: error.fields.clone(), request_id })
        }
        None => {
            let layout = Layout::of(Actor::anonymous(), false, &asked.uri, &asked.headers).titled(title);
            render(ctx, &PageAlone { layout, message, hint, request_id })
        }
    };
    match html {
        Ok(html) => (status(error), html).into_response(),
        Err(error) => plain(&error),
    }
}

/// When even the error page cannot be written.
fn plain(error: &Error) -> Response {
    tracing::error!(%error, "an error could not be written");
    (status(error), "DBSnap could not write this page. The log says why.").into_response()
}
