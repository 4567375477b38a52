//! Signing out.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use axum_extra::extract::cookie::{Cookie, CookieJar};

use crate::{
    services::{Ctx, accounts},
    web::{error::Failure, extract::User, middleware::identity::COOKIE},
};

/// POST /logout: the session ends at once, on the server too.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, jar: CookieJar) -> Result<(CookieJar, Redirect), Failure> {
    if let Some(session) = &user.0.session {
        accounts::logout(&ctx, &user, session.id).await?;
    }
    Ok((jar.remove(Cookie::build(COOKIE).path("/")), Redirect::to("/login")))
}
