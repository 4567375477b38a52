//! The log of a restore.

use std::sync::Arc;

use axum::extract::State;

use crate::{
    domain::{ids::RestoreId, job::LogLine},
    services::{Ctx, restore},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        jobs::logs::LogQuery,
    },
};

/// Log lines of the restore's job, oldest first, at most 1000.
#[utoipa::path(get, path = "/api/restores/{id}/logs", tag = "restores", params(("id" = RestoreId, Path), LogQuery),
    responses((status = 200, body = Envelope<Vec<LogLine>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<RestoreId>,
    Query(query): Query<LogQuery>,
) -> Result<Envelope<Vec<LogLine>>, Failure> {
    Ok(envelope::ok(restore::logs(&ctx, &user, id, query.level, query.after).await?))
}
