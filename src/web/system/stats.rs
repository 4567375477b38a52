//! Figures about databases and backups.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    services::{
        Ctx,
        system::{self, Stats},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::User,
    },
};

/// How many databases are protected, what ran in the last day, what is stored.
#[utoipa::path(get, path = "/api/system/stats", tag = "system", responses((status = 200, body = Envelope<Stats>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Stats>, Failure> {
    Ok(envelope::ok(system::stats(&ctx, &user).await?))
}
