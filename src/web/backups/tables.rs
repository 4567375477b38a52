//! The tables in a backup.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::{artifact::TableCount, ids::BackupId},
    services::{Ctx, backup},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Tables with exact row counts, as read from the dump.
#[utoipa::path(get, path = "/api/backups/{id}/tables", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Vec<TableCount>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Vec<TableCount>>, Failure> {
    Ok(envelope::ok(backup::get(&ctx, &user, id).await?.tables))
}
