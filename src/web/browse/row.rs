//! One row of a backup, whole, and what it was in the other backups of its database.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};
use serde::Deserialize;

use super::{
    history::{self, Version},
    indent::indented,
    place::{Place, row_link},
};
use crate::{
    domain::{
        backup::Backup,
        browse::{RowColumn, RowQuery},
        diff::ValueView,
        ids::BackupId,
        permissions::Permission,
    },
    error::Error,
    services::{Ctx, backup, snapshots::browse},
    web::{
        compare::cells::Look,
        error::{Failure, message},
        extract::{Htmx, Id, Query, User},
        filters,
        html::{Layout, render},
    },
};

/// Which row, and whether its history is wanted with the page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    table: String,
    key: String,
    /// `1` with scripts off: the history comes with the page.
    history: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/browse/row.html")]
struct Page {
    layout: Layout,
    backup: Backup,
    table: String,
    key: String,
    values: Vec<(RowColumn, ValueView)>,
    count: u64,
    back: String,
    history_link: String,
    versions: Option<Vec<Version>>,
    problem: Option<(String, Option<String>)>,
}

#[derive(Template)]
#[template(path = "parts/history.html")]
struct Part {
    versions: Vec<Version>,
}

/// GET /backups/{id}/browse/row?table=&key=
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Htmx(part): Htmx,
    Id(id): Id<BackupId>,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>, Failure> {
    user.require(Permission::Download)?;
    let with_history = wanted.history.is_some();
    if part && with_history {
        let list = browse::history(&ctx, &user, id, &wanted.table, &wanted.key).await?;
        return Ok(render(&ctx, &Part { versions: history::versions(&list) })?);
    }
    let backup = backup::get(&ctx, &user, id).await?;
    let query = RowQuery { key: Some(wanted.key.clone()), full: true, ..RowQuery::default() };
    let page = browse::rows(&ctx, &user, id, &wanted.table, query).await?;
    let row = page.rows.into_iter().next().ok_or_else(|| Error::not_found(format_args!("the row '{}'", wanted.key)))?;
    let (versions, problem) = match with_history {
        false => (None, None),
        true => match browse::history(&ctx, &user, id, &wanted.table, &wanted.key).await {
            Ok(list) => (Some(history::versions(&list)), None),
            Err(error) => (None, Some((message(&error), error.hint))),
        },
    };
    let link = row_link(&id, &wanted.table, &wanted.key);
    Ok(render(
        &ctx,
        &Page {
            layout: layout.titled(format!("A row of {}", wanted.table)),
            values: page.table.columns.into_iter().zip(row.cells).map(readable).collect(),
            count: row.count,
            back: Place::default().on_table(&wanted.table).link(&id),
            history_link: format!("{link}&history=1"),
            table: wanted.table,
            key: row.key,
            backup,
            versions,
            problem,
        },
    )?)
}

/// Documents in lines.
fn readable((column, value): (RowColumn, ValueView)) -> (RowColumn, ValueView) {
    let is_document = matches!(column.class.as_str(), "json" | "bson");
    let text = value.text.map(|text| if is_document { indented(&text) } else { text });
    (column, ValueView { text, ..value })
}
