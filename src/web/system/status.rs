//! The state of the product.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    services::{
        Ctx,
        system::{self, SystemStatus},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// Version, uptime, paths, space and the encryption key in use.
#[utoipa::path(get, path = "/api/system/status", tag = "system", responses((status = 200, body = Envelope<SystemStatus>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<SystemStatus>, Failure> {
    Ok(envelope::ok(system::status(&ctx, &user).await?))
}
