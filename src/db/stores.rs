//! Configured stores.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::{OrganizationId, StoreId},
        schedule::ScheduleDetails,
        store::StoreConfig,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, organization_id, name, kind, settings, created_at, updated_at";

/// Errors with `Conflict` when the organization has a store of that name.
pub async fn insert(db: &Db, store: &StoreConfig) -> Result<()> {
    let store = store.clone();
    db.write("saving the store", move |db| {
        db.execute(
            "INSERT INTO stores (id, organization_id, name, kind, settings, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                store.id.to_string(),
                store.organization_id.to_string(),
                store.name,
                store.kind,
                row::to_json(&store.settings)?,
                store.created_at.0,
                store.updated_at.0,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Saves the name and the settings.
pub async fn update(db: &Db, store: &StoreConfig) -> Result<()> {
    let store = store.clone();
    db.write("saving the store", move |db| {
        let changed = db.execute(
            "UPDATE stores SET name = ?3, settings = ?4, updated_at = ?5 WHERE id = ?1 AND organization_id = ?2",
            params![
                store.id.to_string(),
                store.organization_id.to_string(),
                store.name,
                row::to_json(&store.settings)?,
                store.updated_at.0
            ],
        )?;
        if changed == 0 { Err(missing(store.id).into()) } else { Ok(()) }
    })
    .await
}

/// True while a backup is in it, whole or as a copy.
pub async fn in_use(db: &Db, id: StoreId) -> Result<bool> {
    db.read("looking for backups in the store", move |db| {
        let sql = "SELECT 1 FROM backups WHERE store_id = ?1 UNION ALL
                   SELECT 1 FROM backup_copies WHERE store_id = ?1 AND status NOT IN ('queued', 'failed') LIMIT 1";
        Ok(query::first(db, sql, &[text(id)], |_| Ok(()))?.is_some())
    })
    .await
}

/// Errors with `Conflict` while a database, a schedule or a backup uses it. Copies that were never made there, or are damaged, are
/// forgotten with it.
pub async fn delete(db: &Db, organization: OrganizationId, id: StoreId) -> Result<()> {
    db.write("removing the store", move |db| {
        let sql = "SELECT name, details FROM schedules WHERE organization_id = ?1 ORDER BY name";
        let schedules = query::all(db, sql, &[text(organization)], |row| {
            let details: ScheduleDetails = row::json(row, "details")?;
            let uses = details.destinations.iter().any(|destination| destination.store_id == id);
            uses.then(|| row::plain::<String>(row, "name")).transpose()
        })?;
        if let Some(name) = schedules.into_iter().flatten().next() {
            return Err(Error::conflict(format!("the schedule '{name}' sends its backups to the store"))
                .hint("give the schedule another destination first")
                .into());
        }
        db.execute("DELETE FROM backup_copies WHERE store_id = ?1 AND status IN ('queued', 'failed', 'damaged')", params![id.to_string()])?;
        let removed =
            db.execute("DELETE FROM stores WHERE id = ?1 AND organization_id = ?2", params![id.to_string(), organization.to_string()])?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, id: StoreId) -> Result<StoreConfig> {
    db.read("reading the store", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM stores WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// By name. There are few, so they come whole.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<StoreConfig>> {
    db.read("listing the stores", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM stores WHERE organization_id = ?1 ORDER BY name, id");
        query::all(db, &sql, &[text(organization)], read)
    })
    .await
}

fn missing(id: StoreId) -> Error {
    Error::not_found(format_args!("store {id}"))
}

fn read(row: &Row<'_>) -> Outcome<StoreConfig> {
    Ok(StoreConfig {
        id: row::parsed(row, "id")?,
        organization_id: row::parsed(row, "organization_id")?,
        name: row::plain(row, "name")?,
        kind: row::plain(row, "kind")?,
        settings: row::json(row, "settings")?,
        created_at: row::moment(row, "created_at")?,
        updated_at: row::moment(row, "updated_at")?,
    })
}
