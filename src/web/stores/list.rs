//! The configured stores.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    services::{
        Ctx,
        stores::{self, StoreView},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// Configured stores, without secrets.
#[utoipa::path(get, path = "/api/stores", tag = "stores", responses((status = 200, body = Envelope<Vec<StoreView>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<StoreView>>, Failure> {
    Ok(envelope::ok(stores::list(&ctx, &user).await?))
}
