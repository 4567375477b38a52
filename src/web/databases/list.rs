//! The configured databases.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        filter::DatabaseFilter,
        page::{Page, PageRequest},
        project::Project,
    },
    engines::{self, EngineInfo},
    services::{
        Ctx,
        databases::{self, DatabaseView},
        projects,
    },
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
    },
};

#[derive(Template)]
#[template(path = "pages/databases/list.html")]
struct List {
    layout: Layout,
    databases: Page<DatabaseView>,
    filter: DatabaseFilter,
    filtered: bool,
    engines: Vec<&'static EngineInfo>,
    projects: Vec<Project>,
    pager: Pager,
}

/// Configured databases, without secrets, with their newest and their newest good backup.
#[utoipa::path(get, path = "/api/databases", tag = "databases", params(DatabaseFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<DatabaseView>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<DatabaseFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<DatabaseView>>, Failure> {
    Ok(envelope::page(databases::list(&ctx, &user, &filter, page).await?))
}

/// GET /databases
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(filter): Query<DatabaseFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let databases = databases::list(&ctx, &user, &filter, page).await?;
    let engines = engines::registry().iter().map(|engine| engine.info()).collect();
    let filtered = filter.q.is_some() || filter.engine.is_some() || filter.project_id.is_some();
    let projects = projects::all(&ctx, &user).await?;
    let pager = Pager::new(&uri, &databases);
    Ok(render(&ctx, &List { layout: layout.titled("Databases"), databases, filter, filtered, engines, projects, pager })?)
}
