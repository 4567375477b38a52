//! Who can sign in.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::account,
    services::{Ctx, accounts},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// Users of this installation.
#[utoipa::path(get, path = "/api/users", tag = "accounts", responses((status = 200, body = Envelope<Vec<account::User>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<account::User>>, Failure> {
    Ok(envelope::ok(accounts::users(&ctx, &user).await?))
}
