//! Removing a store from the configuration; what is in it stays.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::ids::StoreId,
    services::{Ctx, stores},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Id, User},
    },
};

/// Removes a store. Refused while a database, a schedule or a backup uses it; what is in it stays.
#[utoipa::path(delete, path = "/api/stores/{id}", tag = "stores", params(("id" = StoreId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<StoreId>) -> Result<Envelope<Nothing>, Failure> {
    stores::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /stores/{id}/delete
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<StoreId>) -> Result<Redirect, Failure> {
    stores::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/stores?notice=store-removed"))
}
