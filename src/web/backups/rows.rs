//! Rows in a backup, and what one row was over time: for programs.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;

use crate::{
    domain::{
        browse::{RowPage, RowQuery, RowVersion, TableInfo},
        ids::BackupId,
    },
    services::{Ctx, snapshots::browse},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, IdAndName, Query, User},
    },
};

/// The tables in a backup's snapshot: columns, keys, rows. NOT_FOUND when the backup has no snapshot.
#[utoipa::path(get, path = "/api/backups/{id}/snapshot", tag = "backups", params(("id" = BackupId, Path)),
    responses((status = 200, body = Envelope<Vec<TableInfo>>)))]
pub async fn api_tables(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<BackupId>) -> Result<Envelope<Vec<TableInfo>>, Failure> {
    Ok(envelope::ok(browse::tables(&ctx, &user, id).await?))
}

/// Rows of a table in a backup's snapshot, without restoring it: a page, the row with a key, or those that hold a text.
#[utoipa::path(get, path = "/api/backups/{id}/tables/{table}/rows", tag = "backups",
    params(("id" = BackupId, Path), ("table" = String, Path, description = "As `name` or `schema.name`"), RowQuery),
    responses((status = 200, body = Envelope<RowPage>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    IdAndName(id, table): IdAndName<BackupId>,
    Query(query): Query<RowQuery>,
) -> Result<Envelope<RowPage>, Failure> {
    Ok(envelope::ok(browse::rows(&ctx, &user, id, &table, query).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// The row's key, as in `rows`.
    key: String,
}

/// What one row was in every snapshot of the backup's database, the newest first: only the moments at which it changed.
#[utoipa::path(get, path = "/api/backups/{id}/tables/{table}/history", tag = "backups",
    params(("id" = BackupId, Path), ("table" = String, Path, description = "As `name` or `schema.name`"), HistoryQuery),
    responses((status = 200, body = Envelope<Vec<RowVersion>>)))]
pub async fn api_history(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    IdAndName(id, table): IdAndName<BackupId>,
    Query(query): Query<HistoryQuery>,
) -> Result<Envelope<Vec<RowVersion>>, Failure> {
    Ok(envelope::ok(browse::history(&ctx, &user, id, &table, &query.key).await?))
}
