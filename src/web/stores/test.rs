//! Whether a store can be used now.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::StoreId, store::StoreHealth},
    services::{Ctx, stores},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Writes and removes a probe object, and tells the space left.
#[utoipa::path(post, path = "/api/stores/{id}/test", tag = "stores", params(("id" = StoreId, Path)),
    responses((status = 200, body = Envelope<StoreHealth>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<StoreId>) -> Result<Envelope<StoreHealth>, Failure> {
    Ok(envelope::ok(stores::health(&ctx, &user, id).await?))
}

/// POST /stores/{id}/test
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<StoreId>) -> Result<Redirect, Failure> {
    stores::health(&ctx, &user, id).await?;
    Ok(Redirect::to("/stores?notice=store-works"))
}
