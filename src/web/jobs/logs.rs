//! The log of a job.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use crate::{
    domain::{
        ids::JobId,
        job::{LogLevel, LogLine},
    },
    services::{
        Ctx,
        jobs::{self, export},
        logs::LogFormat,
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        logs::export::file,
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

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `text` or `ndjson`: the whole log as a file instead.
    #[param(inline)]
    pub format: Option<LogFormat>,
}

/// Log lines of a job, oldest first, at most 1000; ask again with `after` for more. With `format` it is the whole log as a file.
#[utoipa::path(get, path = "/api/jobs/{id}/logs", tag = "jobs", params(("id" = JobId, Path), LogQuery, ExportQuery),
    responses((status = 200, body = Envelope<Vec<LogLine>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<JobId>,
    Query(query): Query<LogQuery>,
    Query(export): Query<ExportQuery>,
) -> Result<Response, Failure> {
    match export.format {
        Some(format) => Ok(file(export::logs(&ctx, &user, id, query.level, format).await?)),
        None => Ok(envelope::ok(jobs::logs(&ctx, &user, id, query.level, query.after).await?).into_response()),
    }
}
