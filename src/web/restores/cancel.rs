//! Cancelling a restore.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{ids::RestoreId, restore::Restore},
    services::{Ctx, restore},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Cancels a queued or running restore; its log says what state the target is in.
#[utoipa::path(post, path = "/api/restores/{id}/cancel", tag = "restores", params(("id" = RestoreId, Path)),
    responses((status = 200, body = Envelope<Restore>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<RestoreId>) -> Result<Envelope<Restore>, Failure> {
    Ok(envelope::ok(restore::cancel(&ctx, &user, id).await?))
}

/// POST /restores/{id}/cancel
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<RestoreId>) -> Result<Redirect, Failure> {
    restore::cancel(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/restores/{id}?notice=cancelling")))
}
