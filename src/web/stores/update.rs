//! Changing a store.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};

use super::form;
use crate::{
    domain::{ids::StoreId, permissions::Permission},
    services::{
        Ctx,
        stores::{self, StoreInput, StoreView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, Form, Id, User},
        html::Layout,
    },
};

/// Changes a store. Its folder cannot change while it holds backups.
#[utoipa::path(put, path = "/api/stores/{id}", tag = "stores", params(("id" = StoreId, Path)), request_body = StoreInput,
    responses((status = 200, body = Envelope<StoreView>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<StoreId>,
    Body(input): Body<StoreInput>,
) -> Result<Envelope<StoreView>, Failure> {
    Ok(envelope::ok(stores::update(&ctx, &user, id, input).await?))
}

/// GET /stores/{id}/edit
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<StoreId>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    form::draw(&ctx, layout, Some(stores::get(&ctx, &user, id).await?), None, None)
}

/// POST /stores/{id}
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<StoreId>, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    match stores::update(&ctx, &user, id, form::read(&form)?).await {
        Ok(_) => Ok(Redirect::to("/stores?notice=saved").into_response()),
        Err(error) => form::draw(&ctx, layout, Some(stores::get(&ctx, &user, id).await?), Some(&form), Some(&error)),
    }
}
