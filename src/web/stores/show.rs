//! One store.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::ids::StoreId,
    services::{
        Ctx,
        stores::{self, StoreView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// One store, without secrets.
#[utoipa::path(get, path = "/api/stores/{id}", tag = "stores", params(("id" = StoreId, Path)),
    responses((status = 200, body = Envelope<StoreView>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<StoreId>) -> Result<Envelope<StoreView>, Failure> {
    Ok(envelope::ok(stores::get(&ctx, &user, id).await?))
}
