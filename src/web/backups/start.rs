//! Starting a backup.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    domain::backup::Backup,
    services::{
        Ctx,
        backup::{self, BackupRequest},
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Body, User},
    },
};

/// Queues a backup of a database. CONFLICT while another one of it is queued or running.
#[utoipa::path(post, path = "/api/backups", tag = "backups", request_body = BackupRequest,
    responses((status = 202, body = Envelope<Backup>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<BackupRequest>,
) -> Result<(StatusCode, Envelope<Backup>), Failure> {
    Ok(envelope::accepted(backup::start(&ctx, &user, request).await?))
}
