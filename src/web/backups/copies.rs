//! Where else a backup is.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::{copy::BackupCopy, ids::BackupId},
    services::{Ctx, copies},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// The copies of a backup in further stores, made or to be made.
#[utoipa::path(get, path = "/api/backups/{id}/copies", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Vec<BackupCopy>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Vec<BackupCopy>>, Failure> {
    Ok(envelope::ok(copies::list(&ctx, &user, id).await?))
}
