//! The history of restores.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        filter::RestoreFilter,
        page::{Page, PageRequest},
        restore::{Restore, RestoreStatus},
    },
    services::{Ctx, restore},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/restores/list.html")]
struct List {
    layout: Layout,
    restores: Page<Restore>,
    filter: RestoreFilter,
    filtered: bool,
    pager: Pager,
    here: String,
}

/// Restores, newest first.
#[utoipa::path(get, path = "/api/restores", tag = "restores", params(RestoreFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<Restore>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<RestoreFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Restore>>, Failure> {
    Ok(envelope::page(restore::list(&ctx, &user, &filter, page).await?))
}

/// GET /restores
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(filter): Query<RestoreFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let restores = restore::list(&ctx, &user, &filter, page).await?;
    let filtered = filter.status.is_some() || filter.q.is_some() || filter.database_id.is_some();
    let pager = Pager::new(&uri, &restores);
    Ok(render(&ctx, &List { layout: layout.titled("Restores"), restores, filter, filtered, pager, here: uri.to_string() })?)
}
