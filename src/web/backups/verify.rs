//! Verifying the stored artifacts of a backup.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Redirect};

use crate::{
    domain::{ids::BackupId, job::Job},
    services::{Ctx, backup},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, User},
    },
};

/// Queues a verification: every byte is read, decrypted, decompressed and compared with the manifest.
#[utoipa::path(post, path = "/api/backups/{id}/verify", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 202, body = Envelope<Job>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<(StatusCode, Envelope<Job>), Failure> {
    Ok(envelope::accepted(backup::verify(&ctx, &user, id).await?))
}

/// POST /backups/{id}/verify
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Redirect, Failure> {
    let job = backup::verify(&ctx, &user, id).await?;
    Ok(Redirect::to(&format!("/jobs/{}?notice=verifying", job.id)))
}
