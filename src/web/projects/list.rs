//! The projects.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        filter::ProjectFilter,
        ids::ProjectId,
        page::{Page, PageRequest},
        project::{Environment, Project},
    },
    services::{Ctx, projects},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Id, Query, User},
        filters,
        html::{Layout, render},
        pager::Pager,
    },
};

#[derive(Template)]
#[template(path = "pages/projects/list.html")]
struct List {
    layout: Layout,
    projects: Page<Project>,
    filter: ProjectFilter,
    filtered: bool,
    /// There is no other: it cannot be removed.
    alone: bool,
    pager: Pager,
}

/// Projects, by name, with how many databases each holds.
#[utoipa::path(get, path = "/api/projects", tag = "projects", params(ProjectFilter, PageRequest),
    responses((status = 200, body = Envelope<Vec<Project>>)))]
pub async fn api(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Query(filter): Query<ProjectFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Envelope<Vec<Project>>, Failure> {
    Ok(envelope::page(projects::list(&ctx, &user, &filter, page).await?))
}

/// One project.
#[utoipa::path(get, path = "/api/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    responses((status = 200, body = Envelope<Project>)))]
pub async fn api_one(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ProjectId>) -> Result<Envelope<Project>, Failure> {
    Ok(envelope::ok(projects::get(&ctx, &user, id).await?))
}

/// GET /projects
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(filter): Query<ProjectFilter>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let projects = projects::list(&ctx, &user, &filter, page).await?;
    let filtered = filter.q.is_some() || filter.environment.is_some();
    let alone = !filtered && projects.total == 1;
    let pager = Pager::new(&uri, &projects);
    Ok(render(&ctx, &List { layout: layout.titled("Projects"), projects, filter, filtered, alone, pager })?)
}
