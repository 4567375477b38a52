//! What a comparison found, by page.

use serde::Deserialize;

use super::reports;
use crate::{
    db,
    diff::Which,
    domain::{
        diff::{ChangeFilter, ChangePage, ChangeView, DiffStatus, Side, ValueView},
        ids::DiffId,
        page::PageRequest,
        permissions::{Actor, Permission},
    },
    error::{Error, Kind, Result},
    services::Ctx,
};

/// Names one value of a changed row.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ValueQuery {
    /// As `name` or `schema.name`.
    pub table: String,
    /// The change's place in its table.
    pub at: u64,
    pub column: String,
    pub side: Side,
}

/// A page of the changes of `filter.table`. `next` goes on with a text search where an earlier answer stopped.
/// Of a running comparison: what was found so far.
pub async fn changes(
    ctx: &Ctx,
    actor: &Actor,
    id: DiffId,
    filter: &ChangeFilter,
    page: PageRequest,
    next: Option<&str>,
) -> Result<ChangePage> {
    actor.require(Permission::Download)?;
    let diff = db::diffs::get(&ctx.db, actor.organization_id, id).await?;
    let (filter, next) = (filter.clone(), next.map(str::to_owned));
    let table = filter.table.clone();
    let found = reports::read(ctx, &diff, move |report| report.page(&filter, page.page.max(1), page.limit(), next.as_deref())).await;
    match found {
        // Its turn has not come yet.
        Err(error) if error.kind == Kind::NotFound && diff.status == DiffStatus::Running => {
            Ok(ChangePage { table: table.unwrap_or_default(), ..ChangePage::default() })
        }
        found => found,
    }
}

/// One change, in its place `at` among all of its table.
pub async fn change(ctx: &Ctx, actor: &Actor, id: DiffId, table: &str, at: u64) -> Result<ChangeView> {
    actor.require(Permission::Download)?;
    let diff = db::diffs::get(&ctx.db, actor.organization_id, id).await?;
    let table = table.to_owned();
    reports::read(ctx, &diff, move |report| report.view(&table, at)).await
}

/// A whole value, however long.
pub async fn value(ctx: &Ctx, actor: &Actor, id: DiffId, query: &ValueQuery) -> Result<ValueView> {
    actor.require(Permission::Download)?;
    let diff = db::diffs::get(&ctx.db, actor.organization_id, id).await?;
    let query = query.clone();
    reports::read(ctx, &diff, move |report| {
        let which = if query.side == Side::Before { Which::Before } else { Which::After };
        let value = report.value(&query.table, query.at, &query.column, which)?;
        value.ok_or_else(|| Error::not_found(format_args!("a value {} of column '{}' in change {}", query.side, query.column, query.at)))
    })
    .await
}
