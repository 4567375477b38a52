//! Adding, changing and removing a project.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::form;
use crate::{
    domain::{ids::ProjectId, permissions::Permission, project::Project},
    services::{
        Ctx,
        projects::{self, ProjectInput},
    },
    web::{
        envelope::{self, Envelope, Nothing},
        error::Failure,
        extract::{Body, Form, Id, User},
        html::Layout,
    },
};

/// Adds a project.
#[utoipa::path(post, path = "/api/projects", tag = "projects", request_body = ProjectInput,
    responses((status = 201, body = Envelope<Project>)))]
pub async fn api_create(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Body(input): Body<ProjectInput>,
) -> Result<(StatusCode, Envelope<Project>), Failure> {
    Ok(envelope::created(projects::create(&ctx, &user, input).await?))
}

/// Changes the name and the environment of a project.
#[utoipa::path(put, path = "/api/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)), request_body = ProjectInput,
    responses((status = 200, body = Envelope<Project>)))]
pub async fn api_update(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    Id(id): Id<ProjectId>,
    Body(input): Body<ProjectInput>,
) -> Result<Envelope<Project>, Failure> {
    Ok(envelope::ok(projects::update(&ctx, &user, id, input).await?))
}

/// Removes a project. Refused while it holds databases, which the refusal names, and when it is the last one.
#[utoipa::path(delete, path = "/api/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    responses((status = 200, body = Envelope<Nothing>)))]
pub async fn api_delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ProjectId>) -> Result<Envelope<Nothing>, Failure> {
    projects::delete(&ctx, &user, id).await?;
    Ok(envelope::done())
}

/// GET /projects/new
pub async fn new_page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    form::draw(&ctx, layout, None, None, None)
}

/// GET /projects/{id}/edit
pub async fn edit_page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, Id(id): Id<ProjectId>) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    form::draw(&ctx, layout, Some(&projects::get(&ctx, &user, id).await?), None, None)
}

/// POST /projects
pub async fn create(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let result = match form::read(&form) {
        Ok(input) => projects::create(&ctx, &user, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Ok(Redirect::to("/projects?notice=saved").into_response()),
        Err(error) => form::draw(&ctx, layout, None, Some(&form), Some(&error)),
    }
}

/// POST /projects/{id}
pub async fn update(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    Id(id): Id<ProjectId>,
    form: Form,
) -> Result<Response, Failure> {
    user.require(Permission::Configure)?;
    let stored = projects::get(&ctx, &user, id).await?;
    let result = match form::read(&form) {
        Ok(input) => projects::update(&ctx, &user, id, input).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(_) => Ok(Redirect::to("/projects?notice=saved").into_response()),
        Err(error) => form::draw(&ctx, layout, Some(&stored), Some(&form), Some(&error)),
    }
}

/// POST /projects/{id}/delete
pub async fn delete(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<ProjectId>) -> Result<Redirect, Failure> {
    projects::delete(&ctx, &user, id).await?;
    Ok(Redirect::to("/projects?notice=project-removed"))
}
