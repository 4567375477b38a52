//! Downloading an artifact.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use crate::{
    domain::{artifact::ArtifactKind, ids::BackupId},
    services::{Ctx, backup},
    web::{
        disposition,
        error::Failure,
        extract::{Id, Query, User},
    },
};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct DownloadQuery {
    /// Which part; the dump when left out.
    artifact: ArtifactKind,
    /// Decrypted and decompressed: what the engine's own tools read.
    plain: bool,
}

impl Default for DownloadQuery {
    fn default() -> Self {
        Self { artifact: ArtifactKind::Dump, plain: false }
    }
}

/// An artifact as it is stored, or with `plain=true` decrypted and decompressed. A stream that fails its check at the end
/// breaks the connection, so that a client never takes a damaged file for a whole one.
#[utoipa::path(get, path = "/api/backups/{id}/download", tag = "backups", params(("id" = BackupId, Path), DownloadQuery),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<BackupId>,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, Failure> {
    Ok(answer(backup::download(&ctx, &user, id, query.artifact, query.plain).await?))
}

/// A file to be saved, never to be shown.
pub fn answer(download: backup::Download) -> Response {
    let mut response = Body::from_stream(download.stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, disposition::attachment(&download.file_name));
    if let Some(size) = download.size {
        headers.insert(header::CONTENT_LENGTH, size.into());
    }
    // A dump can hold anything: a browser must not run it as a page of ours.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(HeaderName::from_static("x-download-options"), HeaderValue::from_static("noopen"));
    response
}
