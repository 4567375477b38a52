//! What is wrong now.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::notice::Alert,
    services::{Ctx, notices},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// What is wrong now, the oldest first; empty when all is well.
#[utoipa::path(get, path = "/api/alerts", tag = "notifiers", responses((status = 200, body = Envelope<Vec<Alert>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<Alert>>, Failure> {
    Ok(envelope::ok(notices::alerts(&ctx, &user).await?))
}
