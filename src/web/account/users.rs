//! Who can sign in.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;

use crate::{
    domain::{account, ids::UserId, permissions::Role},
    services::{Ctx, accounts},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Body, Id, User},
    },
};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    /// At least 12 characters.
    password: String,
    role: Role,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    role: Role,
    /// A disabled user is signed out at once.
    disabled: bool,
    /// A new password, for one who forgot it; ends the user's sessions.
    #[serde(default)]
    password: Option<String>,
}

/// Users of this installation.
#[utoipa::path(get, path = "/api/users", tag = "accounts", responses((status = 200, body = Envelope<Vec<account::User>>)))]
pub async fn api_list(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<account::User>>, Failure> {
    Ok(envelope::ok(accounts::users(&ctx, &user).await?))
}

/// Adds a user.
#[utoipa::path(post, path = "/api/users", tag = "accounts", request_body = NewUser,
    responses((status = 201, body = Envelope<account::User>)))]
pub async fn api_create(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Envelope<account::User>), Failure> {
    Ok(envelope::created(accounts::create_user(&ctx, &user, &new.name, &new.password, new.role).await?))
}

/// Changes a user's role, state or password.
#[utoipa::path(put, path = "/api/users/{id}", tag = "accounts", params(("id" = UserId, Path)), request_body = UserChange,
    responses((status = 200, body = Envelope<account::User>)))]
pub async fn api_update(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<UserId>,
    Body(change): Body<UserChange>,
) -> Result<Envelope<account::User>, Failure> {
    if let Some(password) = &change.password {
        accounts::set_user_password(&ctx, &user, id, password).await?;
    }
    Ok(envelope::ok(accounts::update_user(&ctx, &user, id, change.role, change.disabled).await?))
}

/// Removes a user with the user's sessions and API keys.
#[utoipa::path(delete, path = "/api/users/{id}", tag = "accounts", params(("id" = UserId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api_delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<UserId>) -> Result<Envelope<Nothing>, Failure> {
    accounts::delete_user(&ctx, &user, id).await?;
    Ok(envelope::done())
}
