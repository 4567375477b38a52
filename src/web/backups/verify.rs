//! Verifying the stored artifacts of a backup.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Redirect};

use crate::{
    domain::{ids::BackupId, job::Job},
    services::{
        Ctx,
        backup::{self, VerifyRequest},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Form, Id, Query, User},
    },
};

/// Queues a verification: every byte is read, decrypted, decompressed and compared with the manifest. With `deep=true` the
/// dump is restored into a scratch database too, and every row there compared with the backup's own snapshot.
#[utoipa::path(post, path = "/api/backups/{id}/verify", tag = "backups", params(("id" = BackupId, Path), VerifyRequest),
    responses((status = 202, body = Envelope<Job>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<BackupId>,
    Query(request): Query<VerifyRequest>,
) -> Result<(StatusCode, Envelope<Job>), Failure> {
    Ok(envelope::accepted(backup::verify(&ctx, &user, id, request).await?))
}

/// POST /backups/{id}/verify
pub async fn submit(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>, form: Form) -> Result<Redirect, Failure> {
    let request = VerifyRequest { deep: form.has("deep"), target_database_id: form.parse("targetDatabaseId")? };
    let job = backup::verify(&ctx, &user, id, request).await?;
    Ok(Redirect::to(&format!("/jobs/{}?notice=verifying", job.id)))
}
