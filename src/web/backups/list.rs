//! All backups, filtered and paged.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        backup::{Backup, BackupStatus, BackupType},
        filter::{BackupFilter, DatabaseFilter},
        page::{Page, PageRequest},
    },
    services::{
        Ctx, backup,
        databases::{self, DatabaseView},
    },
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
#[template(path = "pages/backups/list.html")]
struct List {
    layout: Layout,
    backups: Page<Backup>,
    databases: Vec<DatabaseView>,
    filter: BackupFilter,
    /// The days as the form sent them.
    days: Days,
    filtered: bool,
    pager: Pager,
    here: String,
}

/// The day filters, kept as text for the form.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Days {
    start_date: String,
    end_date: String,
}

/// Backups, newest first.
#[utoipa::path(get, path = "/api/backups", tag = "backups", params(BackupFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<Backup>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<BackupFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Backup>>, Failure> {
    Ok(envelope::page(backup::list(&ctx, &user, &filter, page).await?))
}

/// GET /backups
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(filter): Query<BackupFilter>,
    Query(days): Query<Days>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let backups = backup::list(&ctx, &user, &filter, page).await?;
    let databases = databases::list(&ctx, &user, &DatabaseFilter::default(), PageRequest { page: 1, limit: 200 }).await?.items;
    let filtered = filter.database_id.is_some()
        || filter.status.is_some()
        || filter.kind.is_some()
        || filter.start.is_some()
        || filter.end.is_some()
        || filter.q.is_some();
    let pager = Pager::new(&uri, &backups);
    let here = uri.to_string();
    Ok(render(&ctx, &List { layout: layout.titled("Backups"), backups, databases, filter, days, filtered, pager, here })?)
}
