//! Configured databases. A database belongs to a project, and through it to an organization.

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, Conditions, holding, text},
    row,
    schedules::{self, Dependent, Parents},
};
use crate::{
    domain::{
        database::Database,
        filter::DatabaseFilter,
        ids::{DatabaseId, OrganizationId},
        page::{Page, PageRequest},
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "databases.id, databases.project_id, databases.name, databases.engine, databases.settings, databases.store_id,
     databases.backup_options, databases.created_at, databases.updated_at";
const FROM: &str = "databases JOIN projects ON projects.id = databases.project_id";

/// Errors with `Conflict` when the project has a database of that name.
pub async fn insert(db: &Db, database: &Database) -> Result<()> {
    insert_all(db, vec![database.clone()]).await
}

/// Adds all of them, or none when one name is taken: errors with `Conflict` then.
pub async fn insert_all(db: &Db, databases: Vec<Database>) -> Result<()> {
    db.write("saving the database", move |db| databases.iter().try_for_each(|database| insert_row(db, database))).await
}

fn insert_row(db: &Transaction<'_>, database: &Database) -> Outcome<()> {
    db.execute(
        "INSERT INTO databases (id, project_id, name, engine, settings, store_id, backup_options, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            database.id.to_string(),
            database.project_id.to_string(),
            database.name,
            database.engine,
            row::to_json(&database.settings)?,
            database.store_id.to_string(),
            row::to_json(&database.backup_options)?,
            database.created_at.0,
            database.updated_at.0,
        ],
    )?;
    Ok(())
}

/// Saves everything but the engine and the time of creation. The caller has read it through its organization.
pub async fn update(db: &Db, database: &Database) -> Result<()> {
    let database = database.clone();
    db.write("saving the database", move |db| update_row(db, &database)).await
}

/// Reads the database and saves what `change` makes of it, with nobody in between. Saves nothing, and returns `None`, when
/// `change` does.
pub async fn change<T: Send + 'static>(
    db: &Db,
    organization: OrganizationId,
    id: DatabaseId,
    change: impl FnOnce(&mut Database) -> Option<T> + Send + 'static,
) -> Result<Option<T>> {
    db.write("saving the database", move |db| {
        let mut database = read_one(db, organization, id)?;
        let changed = change(&mut database);
        if changed.is_some() {
            update_row(db, &database)?;
        }
        Ok(changed)
    })
    .await
}

fn update_row(db: &Transaction<'_>, database: &Database) -> Outcome<()> {
    let changed = db.execute(
        "UPDATE databases SET name = ?2, settings = ?3, store_id = ?4, backup_options = ?5, updated_at = ?6, project_id = ?7
         WHERE id = ?1",
        params![
            database.id.to_string(),
            database.name,
            row::to_json(&database.settings)?,
            database.store_id.to_string(),
            row::to_json(&database.backup_options)?,
            database.updated_at.0,
            database.project_id.to_string(),
        ],
    )?;
    if changed == 0 { Err(missing(database.id).into()) } else { Ok(()) }
}

/// Forgets the database and its schedules; its backups stay. Schedules of others that run after these: see
/// [`schedules::let_go`].
pub async fn delete(db: &Db, organization: OrganizationId, id: DatabaseId, disable: bool, at: Moment) -> Result<Vec<Dependent>> {
    db.write("removing the database", move |db| {
        let dependents = schedules::let_go(db, organization, &Parents::Of(id), disable, at)?;
        let removed = db.execute(
            "DELETE FROM databases WHERE id = ?1 AND project_id IN (SELECT id FROM projects WHERE organization_id = ?2)",
            params![id.to_string(), organization.to_string()],
        )?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(dependents) }
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, id: DatabaseId) -> Result<Database> {
    db.read("reading the database", move |db| read_one(db, organization, id)).await
}

fn read_one(db: &Connection, organization: OrganizationId, id: DatabaseId) -> Outcome<Database> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE projects.organization_id = ?1 AND databases.id = ?2");
    query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
}

pub async fn find_by_name(db: &Db, organization: OrganizationId, name: &str) -> Result<Option<Database>> {
    let name = text(name);
    db.read("reading the database", move |db| {
        let sql = format!(
            "SELECT {COLUMNS} FROM {FROM} WHERE projects.organization_id = ?1 AND databases.name = ?2 ORDER BY databases.created_at LIMIT 1"
        );
        query::first(db, &sql, &[text(organization), name], read)
    })
    .await
}

/// By name.
pub async fn list(db: &Db, organization: OrganizationId, filter: &DatabaseFilter, page: PageRequest) -> Result<Page<Database>> {
    let conditions = Conditions::new("projects.organization_id = ?", text(organization))
        .and("LOWER(databases.name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding))
        .and("databases.engine = ?", filter.engine.clone())
        .and("databases.project_id = ?", filter.project_id.map(text));
    db.read("listing the databases", move |db| conditions.page(db, COLUMNS, FROM, "databases.name, databases.id", page, read)).await
}

/// Every one there is.
pub async fn ids(db: &Db, organization: OrganizationId) -> Result<Vec<DatabaseId>> {
    db.read("listing the databases", move |db| {
        let sql = format!("SELECT databases.id FROM {FROM} WHERE projects.organization_id = ?1");
        query::all(db, &sql, &[text(organization)], |row| row::parsed(row, "id"))
    })
    .await
}

fn missing(id: DatabaseId) -> Error {
    Error::not_found(format_args!("database {id}"))
}

fn read(row: &Row<'_>) -> Outcome<Database> {
    Ok(Database {
        id: row::parsed(row, "id")?,
        project_id: row::parsed(row, "project_id")?,
        name: row::plain(row, "name")?,
        engine: row::plain(row, "engine")?,
        settings: row::json(row, "settings")?,
        store_id: row::parsed(row, "store_id")?,
        backup_options: row::json(row, "backup_options")?,
        created_at: row::moment(row, "created_at")?,
        updated_at: row::moment(row, "updated_at")?,
    })
}
