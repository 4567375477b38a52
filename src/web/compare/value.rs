//! One whole value of a changed row: into its cell for scripts, as a page without them.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use super::place::{Place, View};
use crate::{
    domain::ids::DiffId,
    services::{
        Ctx,
        compare::{self, ValueQuery},
    },
    web::{
        error::Failure,
        extract::{Htmx, Id, Query, User},
        filters,
        html::{Layout, render},
    },
};

/// Characters of a value that a page shows; a patch has all of it.
const SHOWN: usize = 1_000_000;

#[derive(Template)]
#[template(path = "parts/value.html")]
struct Part {
    text: Option<String>,
    left_out: usize,
}

#[derive(Template)]
#[template(path = "pages/compare/value.html")]
struct Page {
    layout: Layout,
    text: Option<String>,
    left_out: usize,
    bytes: u64,
    back: String,
    query: ValueQuery,
}

/// GET /diffs/{id}/value?table=&at=&column=&side=
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Htmx(part): Htmx,
    Id(id): Id<DiffId>,
    Query(query): Query<ValueQuery>,
) -> Result<Html<String>, Failure> {
    let value = compare::value(&ctx, &user, id, &query).await?;
    let (text, left_out) = match value.text {
        None => (None, 0),
        Some(mut text) => {
            let all = text.len();
            let end = (0..=SHOWN.min(all)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.truncate(end);
            (Some(text), all - end)
        }
    };
    if part {
        return Ok(render(&ctx, &Part { text, left_out })?);
    }
    let back = Place::default().on_table(&query.table).viewed(View::Side).link(&id);
    let layout = layout.titled(format!("{} of {}", query.column, query.table));
    Ok(render(&ctx, &Page { layout, text, left_out, bytes: value.bytes, back, query })?)
}
