//! All schedules, filtered and paged.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use super::words;
use crate::{
    domain::{
        filter::{DatabaseFilter, ScheduleFilter},
        page::{Page, PageRequest},
    },
    services::{
        Ctx,
        databases::{self, DatabaseView},
        schedules::{self, ScheduleView},
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
#[template(path = "pages/schedules/list.html")]
struct List {
    layout: Layout,
    schedules: Page<ScheduleView>,
    databases: Vec<DatabaseView>,
    filter: ScheduleFilter,
    filtered: bool,
    pager: Pager,
    here: String,
}

/// Schedules by name, each with its latest run.
#[utoipa::path(get, path = "/api/schedules", tag = "schedules", params(ScheduleFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<ScheduleView>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<ScheduleFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<ScheduleView>>, Failure> {
    Ok(envelope::page(schedules::list(&ctx, &user, &filter, page).await?))
}

/// GET /schedules
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(filter): Query<ScheduleFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let schedules = schedules::list(&ctx, &user, &filter, page).await?;
    let databases = databases::list(&ctx, &user, &DatabaseFilter::default(), PageRequest { page: 1, limit: 200 }).await?.items;
    let filtered = filter.database_id.is_some() || filter.enabled.is_some() || filter.q.is_some();
    let pager = Pager::new(&uri, &schedules);
    let here = uri.to_string();
    Ok(render(&ctx, &List { layout: layout.titled("Schedules"), schedules, databases, filter, filtered, pager, here })?)
}
