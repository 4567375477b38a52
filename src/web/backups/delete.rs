//! Deleting a backup with its files.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};

use crate::{
    domain::{backup::Backup, ids::BackupId, permissions::Permission},
    error::Error,
    services::{Ctx, backup},
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Form, Id, User},
    },
};

/// Deletes a backup: its files in the store, then its row. CONFLICT while it runs, is pinned, or is being restored.
#[utoipa::path(delete, path = "/api/backups/{id}", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Nothing>, Failure> {
    backup::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// POST /backups/{id}/delete, confirmed by what [`confirmation`] says.
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>, form: Form) -> Result<Redirect, Failure> {
    user.require(Permission::DeleteBackups)?;
    let backup = backup::get(&ctx, &user, id).await?;
    let expected = confirmation(&backup);
    if form.text("confirm") != expected {
        return Err(Error::validation("the backup was not deleted: its name was not typed")
            .hint(format!("go back and type {expected}"))
            .into());
    }
    backup::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/backups?notice=deleted"))
}

/// What a person types to delete this backup: the end of its id, as in its file names.
pub fn confirmation(backup: &Backup) -> String {
    backup.id.short()
}
