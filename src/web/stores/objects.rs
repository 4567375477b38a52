//! What a store holds.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use crate::{
    domain::{ids::StoreId, store::ObjectInfo},
    services::{Ctx, stores},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
    },
};

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ObjectQuery {
    /// Only keys that start with this.
    prefix: String,
}

/// The first thousand objects of a store, by key.
#[utoipa::path(get, path = "/api/stores/{id}/objects", tag = "stores", params(("id" = StoreId, Path), ObjectQuery),
    responses((status = 200, body = Envelope<Vec<ObjectInfo>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<StoreId>,
    Query(query): Query<ObjectQuery>,
) -> Result<Envelope<Vec<ObjectInfo>>, Failure> {
    Ok(envelope::ok(stores::objects(&ctx, &user, id, &query.prefix).await?))
}
