//! Signing in.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{ConnectInfo, FromRequestParts, State},
    http::{HeaderMap, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use serde::Deserialize;

use crate::{
    config::AuthMode,
    domain::permissions::Actor,
    error::Error,
    services::{
        Ctx,
        accounts::{self, Client},
    },
    web::{
        error::{Failure, message, status},
        extract::{Form, Query},
        html::{Layout, agent, render},
        middleware::identity::COOKIE,
    },
};

#[derive(Template)]
#[template(path = "pages/account/login.html")]
struct Page {
    layout: Layout,
    name: String,
    next: String,
    problem: Option<(String, Option<String>)>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Then {
    next: String,
}

/// The peer's address, where the server passes it on.
pub struct Address(Option<SocketAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)))
    }
}

impl Address {
    /// Who tries to sign in, for the rate limit and the list of sessions.
    pub fn client(&self, headers: &HeaderMap) -> Client {
        Client { address: self.0.map(|address| address.ip().to_string()), agent: agent(headers) }
    }
}

/// GET /login
pub async fn page(State(ctx): State<Arc<Ctx>>, uri: Uri, headers: HeaderMap, Query(then): Query<Then>) -> Result<Response, Failure> {
    if ctx.config.auth_mode == AuthMode::None {
        return Ok(Redirect::to("/").into_response());
    }
    if accounts::setup_needed(&ctx).await? {
        return Ok(Redirect::to("/setup").into_response());
    }
    draw(&ctx, &uri, &headers, "", &then.next, None)
}

/// POST /login
pub async fn submit(State(ctx): State<Arc<Ctx>>, address: Address, uri: Uri, headers: HeaderMap, form: Form) -> Result<Response, Failure> {
    match accounts::login(&ctx, form.text("name"), form.raw("password"), address.client(&headers)).await {
        Ok((_, token)) => Ok((cookie(&ctx, token.expose()), Redirect::to(local(form.text("next")))).into_response()),
        Err(error) => draw(&ctx, &uri, &headers, form.text("name"), form.text("next"), Some(&error)),
    }
}

/// The session cookie: not readable by scripts, not sent from other sites' forms, over https only where that is in use.
pub fn cookie(ctx: &Ctx, token: &str) -> CookieJar {
    let secure = ctx.config.base_url.as_ref().is_some_and(|url| url.scheme() == "https");
    let cookie = Cookie::build((COOKIE, token.to_owned())).path("/").http_only(true).same_site(SameSite::Lax).secure(secure);
    CookieJar::new().add(cookie.permanent())
}

/// Where to go after the login: a path of ours, never another site.
fn local(next: &str) -> &str {
    let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if ours { next } else { "/" }
}

fn draw(ctx: &Ctx, uri: &Uri, headers: &HeaderMap, name: &str, next: &str, error: Option<&Error>) -> Result<Response, Failure> {
    let layout = Layout::of(Actor::anonymous(), false, uri, headers).titled("Sign in");
    let problem = error.map(|error| (message(error), error.hint.clone()));
    let page = Page { layout, name: name.to_owned(), next: local(next).to_owned(), problem };
    Ok((error.map_or(StatusCode::OK, status), render(ctx, &page)?).into_response())
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_login_leads_to_our_own_pages_only() {
        for (next, expect) in [
            ("/backups?page=2", "/backups?page=2"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
        ] {
            assert_eq!(local(next), expect);
        }
    }
}
