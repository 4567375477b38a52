//! Adding a store.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::form;
use crate::{
    domain::permissions::Permission,
    services::{
        Ctx,
        stores::{self, StoreInput, StoreView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, User},
        html::Layout,
    },
};

/// Adds a store, after a probe object was written to it and removed.
#[utoipa::path(post, path = "/api/stores", tag = "stores", request_body = StoreInput,
    responses((status = 201, body = Envelope<StoreView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(input): Body<StoreInput>,
) -> Result<(StatusCode, Envelope<StoreView>), Failure> {
    Ok(envelope::created(stores::create(&ctx, &user, input).await?))
}

/// GET /stores/new
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    form::draw(&ctx, layout, None, None, None)
}

/// POST /stores
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    match stores::create(&ctx, &user, form::read(&form)?).await {
        Ok(_) => Ok(Redirect::to("/stores?notice=saved").into_response()),
        Err(error) => form::draw(&ctx, layout, None, Some(&form), Some(&error)),
    }
}
