//! Signed-in browsers.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{account::Session, ids::SessionId},
    services::{Ctx, accounts},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Id, User},
    },
};

/// The caller's sessions.
#[utoipa::path(get, path = "/api/sessions", tag = "accounts", responses((status = 200, body = Envelope<Vec<Session>>)))]
pub async fn api_list(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<Session>>, Failure> {
    Ok(envelope::ok(accounts::sessions(&ctx, &user).await?))
}

/// Ends a session at once.
#[utoipa::path(delete, path = "/api/sessions/{id}", tag = "accounts", params(("id" = SessionId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api_revoke(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<SessionId>) -> Result<Envelope<Nothing>, Failure> {
    accounts::revoke_session(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /account/sessions/{id}/revoke
pub async fn submit_revoke(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<SessionId>) -> Result<Redirect, Failure> {
    accounts::revoke_session(&ctx, &user, id).await?;
    Ok(Redirect::to("/account?notice=session"))
}
