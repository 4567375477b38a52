//! Retention policies, and which one applies to the backups that no schedule made.

use deadpool_sqlite::rusqlite::{Connection, Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::{DatabaseId, OrganizationId, PolicyId},
        retention::RetentionPolicy,
        schedule::ScheduleDetails,
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, name, policy, created_at, updated_at";

/// Errors with `Conflict` when the organization has a policy of that name.
pub async fn insert(db: &Db, organization: OrganizationId, policy: &RetentionPolicy) -> Result<()> {
    let policy = policy.clone();
    db.write("saving the retention policy", move |db| {
        db.execute(
            "INSERT INTO retention_policies (id, organization_id, name, policy, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                policy.id.to_string(),
                organization.to_string(),
                policy.name,
                row::to_json(&policy.policy)?,
                policy.created_at.0,
                policy.updated_at.0,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Saves the name and the rules.
pub async fn update(db: &Db, organization: OrganizationId, policy: &RetentionPolicy) -> Result<()> {
    let policy = policy.clone();
    db.write("saving the retention policy", move |db| {
        let changed = db.execute(
            "UPDATE retention_policies SET name = ?3, policy = ?4, updated_at = ?5 WHERE organization_id = ?1 AND id = ?2",
            params![organization.to_string(), policy.id.to_string(), policy.name, row::to_json(&policy.policy)?, policy.updated_at.0],
        )?;
        if changed == 0 { Err(missing(policy.id).into()) } else { Ok(()) }
    })
    .await
}

/// Errors with `Conflict`, naming them, while schedules or databases use it: without their policy they would fall under another.
pub async fn delete(db: &Db, organization: OrganizationId, id: PolicyId) -> Result<()> {
    db.write("removing the retention policy", move |db| {
        let users = users_of(db, organization, id)?;
        if !users.is_empty() {
            return Err(Error::conflict(format!("the retention policy is used by {}", users.join(", ")))
                .hint("give them another policy first")
                .into());
        }
        let removed = db.execute(
            "DELETE FROM retention_policies WHERE organization_id = ?1 AND id = ?2",
            params![organization.to_string(), id.to_string()],
        )?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, id: PolicyId) -> Result<RetentionPolicy> {
    db.read("reading the retention policy", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM retention_policies WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// By name. There are few, so they come whole.
pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<RetentionPolicy>> {
    db.read("listing the retention policies", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM retention_policies WHERE organization_id = ?1 ORDER BY name, id");
        query::all(db, &sql, &[text(organization)], read)
    })
    .await
}

/// What a policy applies to, in words.
pub async fn users(db: &Db, organization: OrganizationId, id: PolicyId) -> Result<Vec<String>> {
    db.read("reading what the retention policy applies to", move |db| users_of(db, organization, id)).await
}

/// Chooses the policy of the backups of a database that no schedule made; `None` keeps them all, up to the limit for all.
pub async fn set_manual(db: &Db, organization: OrganizationId, database: DatabaseId, policy: Option<PolicyId>) -> Result<()> {
    db.write("choosing the retention policy", move |db| {
        let changed = db.execute(
            "UPDATE databases SET manual_retention_policy_id = ?3
             WHERE id = ?2 AND project_id IN (SELECT id FROM projects WHERE organization_id = ?1)",
            params![organization.to_string(), database.to_string(), policy.map(|id| id.to_string())],
        )?;
        if changed == 0 { Err(Error::not_found(format_args!("database {database}")).into()) } else { Ok(()) }
    })
    .await
}

/// The policy of each database's backups that no schedule made, by the database's name.
pub async fn manual_of_all(db: &Db, organization: OrganizationId) -> Result<Vec<(DatabaseId, String, Option<PolicyId>)>> {
    db.read("listing the retention of databases", move |db| {
        let sql = "SELECT d.id, d.name, d.manual_retention_policy_id FROM databases d JOIN projects p ON p.id = d.project_id
                   WHERE p.organization_id = ?1 ORDER BY d.name, d.id";
        query::all(db, sql, &[text(organization)], |row| {
            Ok((row::parsed(row, "id")?, row::plain(row, "name")?, row::parsed_if_set(row, "manual_retention_policy_id")?))
        })
    })
    .await
}

/// The policy of the backups of a database that no schedule made.
pub(super) fn manual(db: &Connection, database: DatabaseId) -> Outcome<Option<PolicyId>> {
    let sql = "SELECT manual_retention_policy_id FROM databases WHERE id = ?1";
    Ok(query::first(db, sql, &[text(database)], |row| row::parsed_if_set(row, "manual_retention_policy_id"))?.flatten())
}

pub(super) fn find(db: &Connection, id: PolicyId) -> Outcome<Option<RetentionPolicy>> {
    query::first(db, &format!("SELECT {COLUMNS} FROM retention_policies WHERE id = ?1"), &[text(id)], read)
}

fn users_of(db: &Connection, organization: OrganizationId, id: PolicyId) -> Outcome<Vec<String>> {
    let sql = "SELECT name, retention_policy_id, details FROM schedules WHERE organization_id = ?1 ORDER BY name";
    let schedules = query::all(db, sql, &[text(organization)], |row| {
        let details: ScheduleDetails = row::json(row, "details")?;
        let own: Option<PolicyId> = row::parsed_if_set(row, "retention_policy_id")?;
        let uses = own == Some(id) || details.destinations.iter().any(|destination| destination.retention_policy_id == Some(id));
        Ok(uses.then(|| row::plain::<String>(row, "name")).transpose()?.map(|name| format!("the schedule '{name}'")))
    })?;
    let sql = "SELECT name FROM databases WHERE manual_retention_policy_id = ?1 ORDER BY name";
    let databases = query::all(db, sql, &[text(id)], |row| Ok(format!("the manual backups of '{}'", row::plain::<String>(row, "name")?)))?;
    Ok(schedules.into_iter().flatten().chain(databases).collect())
}

fn missing(id: PolicyId) -> Error {
    Error::not_found(format_args!("retention policy {id}"))
}

fn read(row: &Row<'_>) -> Outcome<RetentionPolicy> {
    Ok(RetentionPolicy {
        id: row::parsed(row, "id")?,
        name: row::plain(row, "name")?,
        policy: row::json(row, "policy")?,
        created_at: Moment(row::plain(row, "created_at")?),
        updated_at: Moment(row::plain(row, "updated_at")?),
    })
}
