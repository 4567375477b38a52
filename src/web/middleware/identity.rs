//! Who sends a request: by session cookie, by API key, or anybody when AUTH_MODE=none.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use axum_extra::extract::CookieJar;

use crate::{
    config::AuthMode,
    domain::{account::Session, permissions::Actor},
    error::Result,
    services::{Ctx, accounts},
    web::{error::Failure, extract::unauthorized},
};

/// The session cookie.
pub const COOKIE: &str = "dbsnap_session";

/// Who acts, and by which session; `None` for API keys and AUTH_MODE=none.
#[derive(Debug, Clone)]
pub struct Identity {
    pub actor: Actor,
    pub session: Option<Session>,
}

/// Finds out who it is and writes it into the request; a request without a valid session or key goes on without.
pub async fn find(State(ctx): State<Arc<Ctx>>, mut request: Request, next: Next) -> Response {
    // Assets are the same for everyone.
    if !request.uri().path().starts_with("/static/") {
        match identify(&ctx, request.headers()).await {
            Ok(Some(identity)) => {
                request.extensions_mut().insert(identity);
            }
            Ok(None) => {}
            Err(error) => return Failure(error).into_response(),
        }
    }
    next.run(request).await
}

/// Lets only identified requests through.
pub async fn require(request: Request, next: Next) -> Response {
    if request.extensions().get::<Identity>().is_none() {
        return Failure(unauthorized()).into_response();
    }
    next.run(request).await
}

/// Where a reader without a session goes: to the setup of a new installation, else to the login, and back afterwards.
pub async fn sign_in_place(ctx: &Arc<Ctx>, from: &Uri) -> String {
    if accounts::setup_needed(ctx).await.unwrap_or(false) {
        return "/setup".into();
    }
    match from.path_and_query().map(|place| place.as_str()) {
        None | Some("/") => "/login".into(),
        Some(place) => {
            let next: String = url::form_urlencoded::byte_serialize(place.as_bytes()).collect();
            format!("/login?next={next}")
        }
    }
}

async fn identify(ctx: &Arc<Ctx>, headers: &HeaderMap) -> Result<Option<Identity>> {
    if ctx.config.auth_mode == AuthMode::None {
        return Ok(Some(Identity { actor: Actor::anonymous(), session: None }));
    }
    if let Some(key) = bearer(headers) {
        return Ok(accounts::authenticate_key(ctx, key).await?.map(|actor| Identity { actor, session: None }));
    }
    let jar = CookieJar::from_headers(headers);
    let Some(cookie) = jar.get(COOKIE) else { return Ok(None) };
    Ok(accounts::authenticate(ctx, cookie.value()).await?.map(|(actor, session)| Identity { actor, session: Some(session) }))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
