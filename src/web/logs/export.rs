//! The logs of all jobs as a file.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use crate::{
    domain::filter::LogFilter,
    services::{
        Ctx,
        logs::{self, LogFile, LogFormat},
    },
    web::{
        disposition,
        error::Failure,
        extract::{Query, User},
    },
};

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct As {
    /// `text`, or `ndjson`: one JSON object a line.
    #[param(value_type = Option<String>)]
    format: LogFormat,
}

/// Every log line that matches, the oldest first, as a file.
#[utoipa::path(get, path = "/api/logs/export", tag = "jobs", params(LogFilter, As),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<LogFilter>,
    Query(shape): Query<As>,
) -> Result<Response, Failure> {
    Ok(file(logs::export(ctx, &user, filter, shape.format).await?))
}

/// To be saved, never to be shown. A log that cannot be read to its end breaks the connection.
pub(in crate::web) fn file(log: LogFile) -> Response {
    let mut response = Body::from_stream(log.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(log.content_type));
    headers.insert(header::CONTENT_DISPOSITION, disposition::attachment(&log.name));
    response
}
