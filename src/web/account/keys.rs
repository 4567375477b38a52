//! API keys.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{Redirect, Response},
};
use serde::{Deserialize, Serialize};

use super::show;
use crate::{
    domain::{account::ApiKey, ids::ApiKeyId, permissions::Role},
    services::{Ctx, accounts},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Body, Form, Id, User},
        html::Layout,
    },
};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What it is for.
    name: String,
    /// At most the caller's own.
    role: Role,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct NewKey {
    #[serde(flatten)]
    about: ApiKey,
    /// The key itself: answered this once.
    key: String,
}

/// API keys: one's own, or all for an administrator.
#[utoipa::path(get, path = "/api/api-keys", tag = "accounts", responses((status = 200, body = Envelope<Vec<ApiKey>>)))]
pub async fn api_list(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<ApiKey>>, Failure> {
    Ok(envelope::ok(accounts::api_keys(&ctx, &user).await?))
}

/// Makes an API key. The key is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/api-keys", tag = "accounts", request_body = KeyRequest,
    responses((status = 201, body = Envelope<NewKey>)))]
pub async fn api_create(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<KeyRequest>,
) -> Result<(StatusCode, Envelope<NewKey>), Failure> {
    let (about, key) = accounts::create_api_key(&ctx, &user, &request.name, request.role).await?;
    Ok(envelope::created(NewKey { about, key: key.expose().to_owned() }))
}

/// Removes an API key; it stops working at once.
#[utoipa::path(delete, path = "/api/api-keys/{id}", tag = "accounts", params(("id" = ApiKeyId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api_delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ApiKeyId>) -> Result<Envelope<Nothing>, Failure> {
    accounts::delete_api_key(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /account/keys
pub async fn submit_create(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    let made = match form.parse("role") {
        Ok(role) => accounts::create_api_key(&ctx, &user, form.text("name"), role.unwrap_or(Role::Viewer)).await,
        Err(error) => Err(error),
    };
    match made {
        Ok((_, key)) => show::draw(&ctx, &user, layout, Some(key), None).await,
        Err(error) => show::draw(&ctx, &user, layout, None, Some(&error)).await,
    }
}

/// POST /account/keys/{id}/delete
pub async fn submit_delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ApiKeyId>) -> Result<Redirect, Failure> {
    accounts::delete_api_key(&ctx, &user, id).await?;
    Ok(Redirect::to("/account?notice=key-removed"))
}
