//! Projects. A database belongs to one, and there is always one at least.

use deadpool_sqlite::rusqlite::{Connection, Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, Conditions, holding, text},
    row,
};
use crate::{
    domain::{
        filter::ProjectFilter,
        ids::{OrganizationId, ProjectId},
        page::{Page, PageRequest},
        project::Project,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "projects.id, projects.name, projects.environment, projects.created_at,
     (SELECT COUNT(*) FROM databases WHERE databases.project_id = projects.id) AS databases";

/// Databases that are named when their project cannot be removed.
const NAMED: usize = 5;

/// Errors with `Conflict` when the organization has a project of that name.
pub async fn insert(db: &Db, organization: OrganizationId, project: &Project) -> Result<()> {
    let project = project.clone();
    db.write("saving the project", move |db| {
        db.execute(
            "INSERT INTO projects (id, organization_id, name, environment, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![project.id.to_string(), organization.to_string(), project.name, project.environment.as_str(), project.created_at.0,],
        )?;
        Ok(())
    })
    .await
}

/// Saves the name and the environment.
pub async fn update(db: &Db, organization: OrganizationId, project: &Project) -> Result<()> {
    let project = project.clone();
    db.write("saving the project", move |db| {
        let changed = db.execute(
            "UPDATE projects SET name = ?3, environment = ?4 WHERE organization_id = ?1 AND id = ?2",
            params![organization.to_string(), project.id.to_string(), project.name, project.environment.as_str()],
        )?;
        if changed == 0 { Err(missing(project.id).into()) } else { Ok(()) }
    })
    .await
}

/// Errors with `Conflict` while databases are in it, naming them, and when it is the last one.
pub async fn delete(db: &Db, organization: OrganizationId, id: ProjectId) -> Result<()> {
    db.write("removing the project", move |db| {
        let project = read_one(db, organization, id)?;
        let sql = "SELECT name FROM databases WHERE project_id = ?1 ORDER BY name";
        let held = query::all(db, sql, &[text(id)], |row| row::plain::<String>(row, "name"))?;
        if !held.is_empty() {
            return Err(Error::conflict(format!("the project '{}' holds {}", project.name, some_of(&held)))
                .hint("move them into another project first, or remove them")
                .into());
        }
        let others = query::first(
            db,
            "SELECT id FROM projects WHERE organization_id = ?1 AND id <> ?2 LIMIT 1",
            &[text(organization), text(id)],
            |_| Ok(()),
        )?;
        if others.is_none() {
            return Err(Error::conflict(format!("'{}' is the last project, and databases need one", project.name))
                .hint("rename it, or add another project first")
                .into());
        }
        db.execute("DELETE FROM projects WHERE organization_id = ?1 AND id = ?2", params![organization.to_string(), id.to_string()])?;
        Ok(())
    })
    .await
}

/// Names for a sentence; of many only the first.
fn some_of(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().take(NAMED).map(|name| format!("'{name}'")).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("the database{} {}{more}", if names.len() == 1 { "" } else { "s" }, quoted.join(", "))
}

pub async fn get(db: &Db, organization: OrganizationId, id: ProjectId) -> Result<Project> {
    db.read("reading the project", move |db| read_one(db, organization, id)).await
}

fn read_one(db: &Connection, organization: OrganizationId, id: ProjectId) -> Outcome<Project> {
    let sql = format!("SELECT {COLUMNS} FROM projects WHERE organization_id = ?1 AND id = ?2");
    query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
}

/// By name.
pub async fn list(db: &Db, organization: OrganizationId, filter: &ProjectFilter, page: PageRequest) -> Result<Page<Project>> {
    let conditions = Conditions::new("projects.organization_id = ?", text(organization))
        .and("LOWER(projects.name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding))
        .and("projects.environment = ?", filter.environment.map(text));
    db.read("listing the projects", move |db| conditions.page(db, COLUMNS, "projects", "projects.name, projects.id", page, read)).await
}

/// All of them, by name: what there is to choose from.
pub async fn all(db: &Db, organization: OrganizationId) -> Result<Vec<Project>> {
    db.read("listing the projects", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM projects WHERE organization_id = ?1 ORDER BY name, id");
        query::all(db, &sql, &[text(organization)], read)
    })
    .await
}

fn missing(id: ProjectId) -> Error {
    Error::not_found(format_args!("project {id}"))
}

fn read(row: &Row<'_>) -> Outcome<Project> {
    Ok(Project {
        id: row::parsed(row, "id")?,
        name: row::plain(row, "name")?,
        environment: row::parsed(row, "environment")?,
        databases: row::count(row, "databases")?,
        created_at: row::moment(row, "created_at")?,
    })
}
