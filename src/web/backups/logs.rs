//! The log of a backup.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::{ids::BackupId, job::LogLine},
    services::{Ctx, backup},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        jobs::logs::LogQuery,
    },
};

/// Log lines of the job that made the backup, oldest first, at most 1000.
#[utoipa::path(get, path = "/api/backups/{id}/logs", tag = "backups", params(("id" = BackupId, Path), LogQuery),
    responses((status = 200, body = Envelope<Vec<LogLine>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<BackupId>,
    Query(query): Query<LogQuery>,
) -> Result<Envelope<Vec<LogLine>>, Failure> {
    Ok(envelope::ok(backup::logs(&ctx, &user, id, query.level, query.after).await?))
}
