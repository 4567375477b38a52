//! Projects: what groups databases. Each database is in one, and there is always one at least.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::{Ctx, audit, databases, notices::scope};
use crate::{
    db,
    domain::{
        filter::ProjectFilter,
        ids::{OrganizationId, ProjectId},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
        project::{Environment, Project},
    },
    error::{Error, Result},
};

/// A project as a person or a program describes it.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectInput {
    pub name: String,
    /// Absent: `prod` of a new project, unchanged of another.
    #[serde(default)]
    pub environment: Option<Environment>,
}

pub async fn list(ctx: &Ctx, actor: &Actor, filter: &ProjectFilter, page: PageRequest) -> Result<Page<Project>> {
    actor.require(Permission::View)?;
    db::projects::list(&ctx.db, actor.organization_id, filter, page).await
}

/// All of them, by name: what there is to choose from.
pub async fn all(ctx: &Ctx, actor: &Actor) -> Result<Vec<Project>> {
    actor.require(Permission::View)?;
    db::projects::all(&ctx.db, actor.organization_id).await
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: ProjectId) -> Result<Project> {
    actor.require(Permission::View)?;
    db::projects::get(&ctx.db, actor.organization_id, id).await
}

/// Adds a project. Errors with `CONFLICT` when the name is taken.
pub async fn create(ctx: &Ctx, actor: &Actor, input: ProjectInput) -> Result<Project> {
    actor.require(Permission::Configure)?;
    let project = Project {
        id: ProjectId::new(),
        name: checked_name(&input)?,
        environment: input.environment.unwrap_or(Environment::Prod),
        databases: 0,
        created_at: ctx.now(),
    };
    db::projects::insert(&ctx.db, actor.organization_id, &project).await?;
    record(ctx, actor, "project.create", &project).await?;
    Ok(project)
}

/// Changes the name and the environment.
pub async fn update(ctx: &Ctx, actor: &Actor, id: ProjectId, input: ProjectInput) -> Result<Project> {
    actor.require(Permission::Configure)?;
    let old = db::projects::get(&ctx.db, actor.organization_id, id).await?;
    let project = Project { name: checked_name(&input)?, environment: input.environment.unwrap_or(old.environment), ..old };
    db::projects::update(&ctx.db, actor.organization_id, &project).await?;
    record(ctx, actor, "project.update", &project).await?;
    Ok(project)
}

/// Removes a project. Errors with `CONFLICT` while databases are in it, naming them, and when it is the last one.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: ProjectId) -> Result<()> {
    actor.require(Permission::Configure)?;
    let project = db::projects::get(&ctx.db, actor.organization_id, id).await?;
    db::projects::delete(&ctx.db, actor.organization_id, id).await?;
    record(ctx, actor, "project.delete", &project).await?;
    scope::record_silenced(ctx, actor, &format!("the project '{}'", project.name), |rules| rules.project_ids.contains(&id)).await
}

/// Where a database goes that names no project: the oldest one, which is the first migration's unless that was removed.
pub(super) async fn oldest(ctx: &Ctx, organization: OrganizationId) -> Result<ProjectId> {
    let all = db::projects::all(&ctx.db, organization).await?;
    let oldest = all.iter().min_by_key(|project| (project.created_at.0, project.id.to_string()));
    oldest.map(|project| project.id).ok_or_else(|| Error::internal("the catalogue has no project").hint("add one under Projects"))
}

/// Name and environment of every project, by its id.
pub(super) async fn by_id(ctx: &Ctx, organization: OrganizationId) -> Result<HashMap<ProjectId, Project>> {
    Ok(db::projects::all(&ctx.db, organization).await?.into_iter().map(|project| (project.id, project)).collect())
}

fn checked_name(input: &ProjectInput) -> Result<String> {
    let name = input.name.trim();
    match databases::is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(Error::validation("the project is not valid").fields(vec![("name".to_owned(), databases::NAME_RULE.to_owned())])),
    }
}

async fn record(ctx: &Ctx, actor: &Actor, action: &str, project: &Project) -> Result<()> {
    audit::record(ctx, actor, action, project.id, json!({ "name": project.name, "environment": project.environment })).await
}
