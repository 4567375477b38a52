//! Cancelling a queued or running backup.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{backup::Backup, ids::BackupId},
    services::{Ctx, backup},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Cancels a queued or running backup; nothing of it is kept.
#[utoipa::path(post, path = "/api/backups/{id}/cancel", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Backup>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Backup>, Failure> {
    Ok(envelope::ok(backup::cancel(&ctx, &user, id).await?))
}

/// POST /backups/{id}/cancel
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Redirect, Failure> {
    backup::cancel(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/backups/{id}?notice=cancelling")))
}
