//! The log of a job.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use crate::{
    domain::{
        ids::JobId,
        job::{LogLevel, LogLine},
    },
    services::{Ctx, jobs},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
    },
};

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// This level and those above it.
    pub level: Option<LogLevel>,
    /// Only lines after this `seq`.
    pub after: i64,
}

/// Log lines of a job, oldest first, at most 1000; ask again with `after` for more.
#[utoipa::path(get, path = "/api/jobs/{id}/logs", tag = "jobs", params(("id" = JobId, Path), LogQuery),
    responses((status = 200, body = Envelope<Vec<LogLine>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<JobId>,
    Query(query): Query<LogQuery>,
) -> Result<Envelope<Vec<LogLine>>, Failure> {
    Ok(envelope::ok(jobs::logs(&ctx, &user, id, query.level, query.after).await?))
}
