//! Pinning: a pinned backup is never deleted, by retention or by hand.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{backup::Backup, ids::BackupId},
    services::{Ctx, backup},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Form, Id, User},
    },
};

/// Pins a backup: nothing deletes it until it is unpinned.
#[utoipa::path(put, path = "/api/backups/{id}/pin", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Backup>)))]
pub async fn api_pin(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Backup>, Failure> {
    Ok(envelope::ok(backup::pin(&ctx, &user, id, true).await?))
}

/// Unpins a backup.
#[utoipa::path(delete, path = "/api/backups/{id}/pin", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Backup>)))]
pub async fn api_unpin(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Backup>, Failure> {
    Ok(envelope::ok(backup::pin(&ctx, &user, id, false).await?))
}

/// POST /backups/{id}/pin with `pinned=true` or `false`
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>, form: Form) -> Result<Redirect, Failure> {
    backup::pin(&ctx, &user, id, form.text("pinned") == "true").await?;
    Ok(Redirect::to(&format!("/backups/{id}")))
}
