//! Configured notifiers.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::{NotifierId, OrganizationId},
        notice::NotifierConfig,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, organization_id, name, kind, settings, enabled, rules, created_at, updated_at";

/// Errors with `Conflict` when the organization has a notifier of that name.
pub async fn insert(db: &Db, notifier: &NotifierConfig) -> Result<()> {
    let notifier = notifier.clone();
    db.write("saving the notifier", move |db| {
        let sql = format!("INSERT INTO notifiers ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        db.execute(
            &sql,
            params![
                notifier.id.to_string(),
                notifier.organization_id.to_string(),
                notifier.name,
                notifier.kind,
                row::to_json(&notifier.settings)?,
                notifier.enabled,
                row::to_json(&notifier.rules)?,
                notifier.created_at.0,
                notifier.updated_at.0,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Saves everything but the kind.
pub async fn update(db: &Db, notifier: &NotifierConfig) -> Result<()> {
    let notifier = notifier.clone();
    db.write("saving the notifier", move |db| {
        let changed = db.execute(
            "UPDATE notifiers SET name = ?3, settings = ?4, enabled = ?5, rules = ?6, updated_at = ?7 WHERE organization_id = ?1 AND id = ?2",
            params![
                notifier.organization_id.to_string(),
                notifier.id.to_string(),
                notifier.name,
                row::to_json(&notifier.settings)?,
                notifier.enabled,
                row::to_json(&notifier.rules)?,
                notifier.updated_at.0,
            ],
        )?;
        if changed == 0 { Err(missing(notifier.id).into()) } else { Ok(()) }
    })
    .await
}

/// Removes it with its deliveries.
pub async fn delete(db: &Db, organization: OrganizationId, id: NotifierId) -> Result<()> {
    db.write("removing the notifier", move |db| {
        let removed =
            db.execute("DELETE FROM notifiers WHERE organization_id = ?1 AND id = ?2", params![organization.to_string(), id.to_string()])?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, id: NotifierId) -> Result<NotifierConfig> {
    db.read("reading the notifier", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM notifiers WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// By name. There are few, so they come whole.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<NotifierConfig>> {
    db.read("listing the notifiers", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM notifiers WHERE organization_id = ?1 ORDER BY name, id");
        query::all(db, &sql, &[text(organization)], read)
    })
    .await
}

fn missing(id: NotifierId) -> Error {
    Error::not_found(format_args!("notifier {id}"))
}

fn read(row: &Row<'_>) -> Outcome<NotifierConfig> {
    Ok(NotifierConfig {
        id: row::parsed(row, "id")?,
        organization_id: row::parsed(row, "organization_id")?,
        name: row::plain(row, "name")?,
        kind: row::plain(row, "kind")?,
        settings: row::json(row, "settings")?,
        enabled: row::plain(row, "enabled")?,
        rules: row::json(row, "rules")?,
        created_at: row::moment(row, "created_at")?,
        updated_at: row::moment(row, "updated_at")?,
    })
}
