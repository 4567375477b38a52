//! The API of comparisons.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use crate::{
    domain::{
        diff::{ChangeFilter, ChangePage, Diff, PatchFormat, SchemaChange, TableDiff, ValueView},
        filter::DiffFilter,
        ids::DiffId,
        job::LogLine,
        page::PageRequest,
        restore::{Direction, Restore},
    },
    services::{
        Ctx,
        compare::{self, DiffRequest, RowRestoreRequest, ValueQuery},
    },
    web::{
        backups::download,
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Body, Id, Query, User},
        jobs::logs::LogQuery,
    },
};

/// Comparisons, newest first. Their summaries come without columns.
#[utoipa::path(get, path = "/api/diffs", tag = "diffs", params(DiffFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<Diff>>)))]
pub async fn list(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<DiffFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Diff>>, Failure> {
    Ok(envelope::page(compare::list(&ctx, &user, &filter, page).await?))
}

/// Queues a comparison of a backup with another one, or with the live database.
#[utoipa::path(post, path = "/api/diffs", tag = "diffs", request_body = DiffRequest, responses((status = 202, body = Envelope<Diff>)))]
pub async fn start(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(request): Body<DiffRequest>,
) -> Result<(StatusCode, Envelope<Diff>), Failure> {
    Ok(envelope::accepted(compare::start(&ctx, &user, request).await?))
}

/// One comparison with its summary; while it runs, what was found so far.
#[utoipa::path(get, path = "/api/diffs/{id}", tag = "diffs", params(("id" = DiffId, Path)), responses((status = 200, body = Envelope<Diff>)))]
pub async fn show(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Envelope<Diff>, Failure> {
    Ok(envelope::ok(compare::get(&ctx, &user, id).await?))
}

/// Deletes a comparison with its report. CONFLICT while it runs.
#[utoipa::path(delete, path = "/api/diffs/{id}", tag = "diffs", params(("id" = DiffId, Path)), responses((status = 200, body = Envelope<Nothing>)))]
pub async fn delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Envelope<Nothing>, Failure> {
    compare::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// Cancels a queued or running comparison; nothing of it stays.
#[utoipa::path(post, path = "/api/diffs/{id}/cancel", tag = "diffs", params(("id" = DiffId, Path)), responses((status = 200, body = Envelope<Diff>)))]
pub async fn cancel(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Envelope<Diff>, Failure> {
    Ok(envelope::ok(compare::cancel(&ctx, &user, id).await?))
}

/// Log lines of the comparison's job, oldest first, at most 1000.
#[utoipa::path(get, path = "/api/diffs/{id}/logs", tag = "diffs", params(("id" = DiffId, Path), LogQuery),
    responses((status = 200, body = Envelope<Vec<LogLine>>)))]
pub async fn logs(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DiffId>,
    Query(query): Query<LogQuery>,
) -> Result<Envelope<Vec<LogLine>>, Failure> {
    Ok(envelope::ok(compare::logs(&ctx, &user, id, query.level, query.after).await?))
}

/// The tables of a comparison with their counts, those without a change included.
#[utoipa::path(get, path = "/api/diffs/{id}/tables", tag = "diffs", params(("id" = DiffId, Path)),
    responses((status = 200, body = Envelope<Vec<TableDiff>>)))]
pub async fn tables(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Envelope<Vec<TableDiff>>, Failure> {
    Ok(envelope::ok(compare::get(&ctx, &user, id).await?.summary.unwrap_or_default().tables))
}

/// The changes of the schema.
#[utoipa::path(get, path = "/api/diffs/{id}/schema", tag = "diffs", params(("id" = DiffId, Path)),
    responses((status = 200, body = Envelope<Vec<SchemaChange>>)))]
pub async fn schema(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<DiffId>) -> Result<Envelope<Vec<SchemaChange>>, Failure> {
    Ok(envelope::ok(compare::get(&ctx, &user, id).await?.summary.unwrap_or_default().schema))
}

#[derive(Deserialize, utoipa::IntoParams, Default)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct NextQuery {
    /// Where a text search goes on: `next` of the answer before.
    next: Option<String>,
}

/// Changed rows of one table, in the order of its key. Of a running comparison: those found so far.
#[utoipa::path(get, path = "/api/diffs/{id}/changes", tag = "diffs", params(("id" = DiffId, Path), ChangeFilter, PageRequest, NextQuery),
    responses((status = 200, body = Envelope<ChangePage>)))]
pub async fn changes(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DiffId>,
    Query(filter): Query<ChangeFilter>,
    Query(page): Query<PageRequest>,
    Query(next): Query<NextQuery>,
) -> Result<Envelope<ChangePage>, Failure> {
    Ok(envelope::ok(compare::changes(&ctx, &user, id, &filter, page, next.next.as_deref()).await?))
}

/// One whole value of a changed row, however long.
#[utoipa::path(get, path = "/api/diffs/{id}/value", tag = "diffs", params(("id" = DiffId, Path), ValueQuery),
    responses((status = 200, body = Envelope<ValueView>)))]
pub async fn value(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DiffId>,
    Query(query): Query<ValueQuery>,
) -> Result<Envelope<ValueView>, Failure> {
    Ok(envelope::ok(compare::value(&ctx, &user, id, &query).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct PatchQuery {
    format: PatchFormat,
    direction: Direction,
}

impl Default for PatchQuery {
    fn default() -> Self {
        Self { format: PatchFormat::Sql, direction: Direction::Apply }
    }
}

/// The changes as a file: statements guarded by the old values, or JSON. `apply` makes the first side the second, `revert` the
/// second the first. The filters choose as in `changes`.
#[utoipa::path(get, path = "/api/diffs/{id}/patch", tag = "diffs", params(("id" = DiffId, Path), PatchQuery, ChangeFilter),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub async fn patch(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DiffId>,
    Query(query): Query<PatchQuery>,
    Query(filter): Query<ChangeFilter>,
) -> Result<Response, Failure> {
    Ok(download::answer(compare::patch(&ctx, &user, id, query.format, query.direction, &filter).await?))
}

/// Writes chosen rows of the comparison into a database. `confirm` must be the target's name unless it is a dry run.
#[utoipa::path(post, path = "/api/diffs/{id}/restore", tag = "diffs", params(("id" = DiffId, Path)), request_body = RowRestoreRequest,
    responses((status = 202, body = Envelope<Restore>)))]
pub async fn restore(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<DiffId>,
    Body(request): Body<RowRestoreRequest>,
) -> Result<(StatusCode, Envelope<Restore>), Failure> {
    Ok(envelope::accepted(compare::restore_rows(&ctx, &user, id, request).await?))
}
