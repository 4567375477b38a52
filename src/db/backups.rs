//! Backups and what they produced. A row that says `completed` is never turned into anything else.

use std::collections::HashMap;

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db, artifacts, backup_copies,
    fault::Outcome,
    in_use, jobs, manifest_writes, metrics,
    query::{self, Conditions, holding, text},
    row,
};
use crate::{
    domain::{
        backup::{Backup, BackupBrief, BackupStatus, VerifyState},
        filter::BackupFilter,
        ids::{BackupId, DatabaseId, OrganizationId, StoreId},
        job::Job,
        page::{Page, PageRequest},
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str =
    "id, database_id, database_name, engine, type, status, store_id, job_id, pinned, verify_state, verified_at, created_at,
     started_at, finished_at, moment, server_version, tool_version, manifest_key, error, warnings, options, tables, partial, schedule_id";

/// Adds a backup with the artifacts it has: none when it is queued, all when it was found by its manifest.
pub async fn insert(db: &Db, organization: OrganizationId, backup: &Backup) -> Result<()> {
    let backup = backup.clone();
    db.write("saving the backup", move |db| insert_row(db, organization, &backup)).await
}

/// Adds a backup and the job that makes it, both or neither.
pub async fn queue(db: &Db, organization: OrganizationId, backup: &Backup, job: &Job) -> Result<()> {
    let (backup, job) = (backup.clone(), job.clone());
    db.write("queueing the backup", move |db| {
        insert_row(db, organization, &backup)?;
        jobs::insert_row(db, organization, &job)
    })
    .await
}

/// Adds a backup that was found by its manifest, and that the installation `instance_id` has made: retention leaves it alone.
pub async fn insert_foreign(db: &Db, organization: OrganizationId, backup: &Backup, instance_id: &str) -> Result<()> {
    let (backup, instance_id) = (backup.clone(), instance_id.to_owned());
    db.write("saving the backup", move |db| {
        insert_row(db, organization, &backup)?;
        db.execute("UPDATE backups SET instance_id = ?2 WHERE id = ?1", params![backup.id.to_string(), instance_id])?;
        Ok(())
    })
    .await
}

/// [`insert`] as part of a larger change.
pub(super) fn insert_row(db: &Transaction<'_>, organization: OrganizationId, backup: &Backup) -> Outcome<()> {
    db.execute(
        "INSERT INTO backups (organization_id, id, database_id, database_name, engine, type, status, store_id, job_id, pinned,
                 verify_state, verified_at, created_at, started_at, finished_at, moment, server_version, tool_version, manifest_key,
                 error, warnings, options, tables, partial, schedule_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
        params![
            organization.to_string(),
            backup.id.to_string(),
            backup.database_id.map(|id| id.to_string()),
            backup.database_name,
            backup.engine,
            backup.kind.as_str(),
            backup.status.as_str(),
            backup.store_id.to_string(),
            backup.job_id.map(|id| id.to_string()),
            backup.pinned,
            backup.verify_state.as_str(),
            backup.verified_at.map(|at| at.0),
            backup.created_at.0,
            backup.started_at.map(|at| at.0),
            backup.finished_at.map(|at| at.0),
            backup.moment.map(|at| at.0),
            backup.server_version,
            backup.tool_version,
            backup.manifest_key,
            backup.error,
            row::to_json(&backup.warnings)?,
            row::to_json(&backup.options)?,
            row::to_json(&backup.tables)?,
            backup.partial,
            backup.schedule_id.map(|id| id.to_string()),
        ],
    )?;
    insert_artifacts(db, backup)
}

pub async fn get(db: &Db, organization: OrganizationId, id: BackupId) -> Result<Backup> {
    db.read("reading the backup", move |db| {
        let found = one(db, "organization_id = ?1 AND id = ?2", &[text(organization), text(id)])?;
        found.ok_or_else(|| missing(id).into())
    })
    .await
}

/// Newest first.
pub async fn list(db: &Db, organization: OrganizationId, filter: &BackupFilter, page: PageRequest) -> Result<Page<Backup>> {
    let conditions = Conditions::new("organization_id = ?", text(organization))
        .and("database_id = ?", filter.database_id.map(text))
        .and("status = ?", filter.status.map(text))
        .and("type = ?", filter.kind.map(text))
        .and("created_at >= ?", filter.start.map(|at| at.0))
        .and("created_at <= ?", filter.end.map(|at| at.0))
        .and("LOWER(database_name) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding));
    db.read("listing the backups", move |db| {
        let mut page = conditions.page(db, COLUMNS, "backups", "created_at DESC, id DESC", page, read)?;
        artifacts::fill(db, &mut page.items)?;
        Ok(page)
    })
    .await
}

/// A backup starts, for the first time or again after an attempt that did not end well.
/// Errors with `Conflict` when it is completed.
pub async fn mark_running(db: &Db, id: BackupId, at: Moment) -> Result<()> {
    db.write("starting the backup", move |db| {
        let changed = db.execute(
            "UPDATE backups SET status = 'running', started_at = ?2, finished_at = NULL, error = NULL WHERE id = ?1 AND status <> 'completed'",
            params![id.to_string(), at.0],
        )?;
        if changed == 0 { Err(not_open(id).into()) } else { Ok(()) }
    })
    .await
}

/// Records the whole success of a running backup, artifacts included, or nothing.
/// Errors with `Conflict` when it is not running any more (cancelled, taken over).
pub async fn complete(db: &Db, backup: &Backup) -> Result<()> {
    let backup = backup.clone();
    db.write("completing the backup", move |db| {
        let changed = db.execute(
            "UPDATE backups SET status = 'completed', verify_state = ?2, verified_at = ?3, finished_at = ?4, moment = ?5,
                 server_version = ?6, tool_version = ?7, manifest_key = ?8, error = NULL, warnings = ?9, options = ?10, tables = ?11
             WHERE id = ?1 AND status = 'running'",
            params![
                backup.id.to_string(),
                backup.verify_state.as_str(),
                backup.verified_at.map(|at| at.0),
                backup.finished_at.map(|at| at.0),
                backup.moment.map(|at| at.0),
                backup.server_version,
                backup.tool_version,
                backup.manifest_key,
                row::to_json(&backup.warnings)?,
                row::to_json(&backup.options)?,
                row::to_json(&backup.tables)?,
            ],
        )?;
        if changed == 0 {
            return Err(not_open(backup.id).into());
        }
        metrics::count_backup(db, backup.id)?;
        let pinned = "SELECT 1 FROM backups WHERE id = ?1 AND pinned";
        if query::first(db, pinned, &[text(backup.id)], |_| Ok(()))?.is_some() {
            // It was pinned while it ran: its manifest does not say so.
            manifest_writes::note(db, backup.id, backup.finished_at.unwrap_or(backup.created_at))?;
        }
        insert_artifacts(db, &backup)
    })
    .await
}

/// Records that a backup ended without success. False when it had completed: that stays so.
pub async fn finish(db: &Db, id: BackupId, status: BackupStatus, error: Option<&str>, at: Moment) -> Result<bool> {
    let error = error.map(str::to_owned);
    db.write("ending the backup", move |db| {
        let open = query::first(db, "SELECT 1 FROM backups WHERE id = ?1 AND status IN ('queued', 'running')", &[text(id)], |_| Ok(()))?;
        let changed = db.execute(
            "UPDATE backups SET status = ?2, error = ?3, finished_at = ?4 WHERE id = ?1 AND status <> 'completed'",
            params![id.to_string(), status.as_str(), error, at.0],
        )?;
        if open.is_some() {
            metrics::count_backup(db, id)?;
        }
        Ok(changed > 0)
    })
    .await
}

/// Adds to the warnings of a backup.
pub async fn add_warnings(db: &Db, id: BackupId, warnings: Vec<String>) -> Result<()> {
    db.write("adding to the backup's warnings", move |db| {
        let found =
            query::first(db, "SELECT warnings FROM backups WHERE id = ?1", &[text(id)], |row| row::json::<Vec<String>>(row, "warnings"))?;
        let mut all = found.ok_or_else(|| missing(id))?;
        all.extend(warnings);
        db.execute("UPDATE backups SET warnings = ?2 WHERE id = ?1", params![id.to_string(), row::to_json(&all)?])?;
        Ok(())
    })
    .await
}

/// Pins a backup that was itself found by a manifest. Of those that were made here the catalogue knows better.
pub async fn pin_found(db: &Db, id: BackupId) -> Result<()> {
    db.write("pinning the backup", move |db| {
        db.execute(
            "UPDATE backups SET pinned = TRUE WHERE id = ?1 AND instance_id IS NOT NULL AND status <> 'deleting'",
            params![id.to_string()],
        )?;
        Ok(())
    })
    .await
}

/// Pins a backup or lets go of it, and notes that its manifests are to say so.
pub async fn set_pinned(db: &Db, organization: OrganizationId, id: BackupId, pinned: bool, at: Moment) -> Result<()> {
    db.write("pinning the backup", move |db| {
        let changed = db.execute(
            "UPDATE backups SET pinned = ?3 WHERE organization_id = ?1 AND id = ?2 AND status <> 'deleting'",
            params![organization.to_string(), id.to_string(), pinned],
        )?;
        if changed > 0 {
            return manifest_writes::note(db, id, at);
        }
        refuse_going(db, Some(id))?;
        Err(missing(id).into())
    })
    .await
}

pub async fn set_verified(db: &Db, id: BackupId, state: VerifyState, at: Moment) -> Result<()> {
    db.write("recording the verification", move |db| {
        db.execute("UPDATE backups SET verify_state = ?2, verified_at = ?3 WHERE id = ?1", params![id.to_string(), state.as_str(), at.0])?;
        Ok(())
    })
    .await
}

/// Marks a backup as being removed, unless it runs, is pinned, or is read by a restore, a comparison or another job: in one
/// transaction, so that none of these can begin in between. False when one of them holds.
pub async fn mark_deleting(db: &Db, organization: OrganizationId, id: BackupId) -> Result<bool> {
    db.write("marking the backup for deletion", move |db| {
        if in_use::now_used(db, false)?.iter().any(|(used, _)| *used == id) {
            return Ok(false);
        }
        let changed = db.execute(
            "UPDATE backups SET status = 'deleting'
             WHERE organization_id = ?1 AND id = ?2 AND status NOT IN ('queued', 'running') AND NOT pinned",
            params![organization.to_string(), id.to_string()],
        )?;
        Ok(changed > 0)
    })
    .await
}

/// Puts a backup back that was to be removed and of which everything is still there.
pub async fn release(db: &Db, id: BackupId) -> Result<()> {
    db.write("keeping the backup", move |db| {
        db.execute(
            "UPDATE backups SET status = CASE WHEN manifest_key IS NULL THEN 'failed' ELSE 'completed' END WHERE id = ?1 AND status = 'deleting'",
            params![id.to_string()],
        )?;
        Ok(())
    })
    .await
}

/// Every backup that is being removed, with its organization.
pub async fn going(db: &Db) -> Result<Vec<(OrganizationId, Backup)>> {
    db.read("listing the backups that are being removed", |db| {
        let sql = format!("SELECT organization_id, {COLUMNS} FROM backups WHERE status = 'deleting' ORDER BY created_at, id");
        let found: Vec<(OrganizationId, Backup)> = query::all(db, &sql, &[], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))?;
        let (organizations, mut backups): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        artifacts::fill(db, &mut backups)?;
        Ok(organizations.into_iter().zip(backups).collect())
    })
    .await
}

/// Errors with `Conflict` when the backup is being removed: nothing may begin to use it then.
pub(super) fn refuse_going(db: &Connection, id: Option<BackupId>) -> Outcome<()> {
    let Some(id) = id else { return Ok(()) };
    let status =
        query::first(db, "SELECT status FROM backups WHERE id = ?1", &[text(id)], |row| row::parsed::<BackupStatus>(row, "status"))?;
    match status {
        Some(BackupStatus::Deleting) => Err(Error::conflict(format!("backup {id} is being deleted")).hint("choose another backup").into()),
        Some(_) | None => Ok(()),
    }
}

/// Forgets a backup and its artifacts; what is in the store must be gone before.
pub async fn delete(db: &Db, organization: OrganizationId, id: BackupId) -> Result<()> {
    db.write("removing the backup", move |db| {
        let removed =
            db.execute("DELETE FROM backups WHERE organization_id = ?1 AND id = ?2", params![organization.to_string(), id.to_string()])?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

/// Every backup that is queued or running, with its organization.
pub async fn unfinished(db: &Db) -> Result<Vec<(OrganizationId, Backup)>> {
    db.read("listing unfinished backups", |db| {
        let sql = format!("SELECT organization_id, {COLUMNS} FROM backups WHERE status IN ('queued', 'running') ORDER BY created_at, id");
        query::all(db, &sql, &[], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// Every backup that started and ended without success at `since` or later, with its organization.
pub async fn unsuccessful(db: &Db, since: Moment) -> Result<Vec<(OrganizationId, Backup)>> {
    db.read("listing failed backups", move |db| {
        let sql = format!(
            "SELECT organization_id, {COLUMNS} FROM backups
             WHERE status IN ('failed', 'cancelled', 'interrupted') AND started_at IS NOT NULL AND finished_at >= ?1 AND manifest_key IS NULL
                 AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.backup_id = backups.id)
             ORDER BY created_at, id"
        );
        query::all(db, &sql, &[since.0.into()], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// Every database with the moment of its newest good backup (see [`last_good`]).
pub async fn newest_good(db: &Db, organization: OrganizationId) -> Result<Vec<(DatabaseId, Option<Moment>)>> {
    db.read("reading the newest good backups", move |db| {
        let sql = "SELECT d.id, (SELECT b.created_at FROM backups b WHERE b.database_id = d.id AND b.status = 'completed'
                       AND b.verify_state <> 'corrupt' AND NOT b.partial ORDER BY b.created_at DESC LIMIT 1) AS newest
                   FROM databases d JOIN projects p ON p.id = d.project_id WHERE p.organization_id = ?1";
        query::all(db, sql, &[text(organization)], |row| Ok((row::parsed(row, "id")?, row::moment_if_set(row, "newest")?)))
    })
    .await
}

/// Bytes of all artifacts in all stores.
pub async fn stored_bytes(db: &Db, organization: OrganizationId) -> Result<u64> {
    db.read("counting stored bytes", move |db| {
        let sql = "SELECT COALESCE(SUM(stored_size), 0) AS stored FROM artifacts
                   WHERE store_id IN (SELECT id FROM stores WHERE organization_id = ?1)";
        Ok(query::first(db, sql, &[text(organization)], |row| row::count(row, "stored"))?.unwrap_or(0))
    })
    .await
}

/// The newest backup of each of these databases, whatever became of it, and the newest good one.
pub async fn newest_of(db: &Db, databases: &[DatabaseId]) -> Result<Newest> {
    let ids: Vec<_> = databases.iter().map(text).collect();
    db.read("reading the newest backups", move |db| {
        if ids.is_empty() {
            return Ok(Newest::default());
        }
        let places = vec!["?"; ids.len()].join(", ");
        let of = |condition: &str| {
            let sql = format!(
                "SELECT b.id, b.database_id, b.status, b.created_at, b.finished_at, b.error,
                     (SELECT COALESCE(SUM(a.stored_size), 0) FROM artifacts a WHERE a.backup_id = b.id) AS stored_size
                 FROM backups b WHERE b.id IN (
                     SELECT (SELECT n.id FROM backups n WHERE n.database_id = d.id{condition} ORDER BY n.created_at DESC, n.id DESC LIMIT 1)
                     FROM databases d WHERE d.id IN ({places}))"
            );
            query::all(db, &sql, &ids, |row| Ok((row::parsed(row, "database_id")?, read_brief(row)?)))
        };
        let good = " AND n.status = 'completed' AND n.verify_state <> 'corrupt' AND NOT n.partial";
        Ok(Newest { any: of("")?.into_iter().collect(), good: of(good)?.into_iter().collect() })
    })
    .await
}

/// See [`newest_of`].
#[derive(Debug, Default)]
pub struct Newest {
    pub any: HashMap<DatabaseId, BackupBrief>,
    pub good: HashMap<DatabaseId, BackupBrief>,
}

fn read_brief(row: &Row<'_>) -> Outcome<BackupBrief> {
    Ok(BackupBrief {
        id: row::parsed(row, "id")?,
        status: row::parsed(row, "status")?,
        created_at: row::moment(row, "created_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
        stored_size: row::count(row, "stored_size")?,
        error: row::plain(row, "error")?,
    })
}

/// The backups whose verification is the longest ago, those that never had one first and of these the newest. Of the damaged ones
/// those with a copy that may be whole.
pub async fn least_verified(db: &Db, organization: OrganizationId, limit: u32) -> Result<Vec<BackupId>> {
    db.read("choosing backups to verify", move |db| {
        let sql = "SELECT id FROM backups WHERE organization_id = ?1 AND status = 'completed' AND (verify_state <> 'corrupt'
                       OR EXISTS (SELECT 1 FROM backup_copies c WHERE c.backup_id = backups.id AND c.status = 'complete'))
                   ORDER BY COALESCE(verified_at, 0), created_at DESC LIMIT ?2";
        query::all(db, sql, &[text(organization), i64::from(limit).into()], |row| row::parsed(row, "id"))
    })
    .await
}

/// Every key in a store that the catalogue knows: artifacts and manifests, of copies too. What else is there is an orphan.
pub async fn keys_in_store(db: &Db, store: StoreId) -> Result<Vec<String>> {
    db.read("listing known keys", move |db| {
        let mut keys = artifacts::keys(db, store)?;
        let manifests = "SELECT manifest_key FROM backups WHERE store_id = ?1 AND manifest_key IS NOT NULL";
        keys.extend(query::all(db, manifests, &[text(store)], |row| row::plain(row, "manifest_key"))?);
        keys.extend(backup_copies::keys(db, store)?);
        Ok(keys)
    })
    .await
}

/// Some keys in a store, of other backups than `but`: at most 40.
pub async fn some_keys(db: &Db, store: StoreId, but: Option<BackupId>) -> Result<Vec<String>> {
    db.read("choosing keys of the store", move |db| {
        let artifacts = "SELECT key FROM artifacts WHERE store_id = ?1 AND backup_id <> ?2 LIMIT 20";
        let copies = "SELECT b.manifest_key AS key FROM backup_copies c JOIN backups b ON b.id = c.backup_id
                      WHERE c.store_id = ?1 AND c.status = 'complete' AND c.backup_id <> ?2 AND b.manifest_key IS NOT NULL LIMIT 20";
        let but = but.map(|id| id.to_string()).unwrap_or_default();
        let mut keys = Vec::new();
        for sql in [artifacts, copies] {
            keys.extend(query::all(db, sql, &[text(store), text(&but)], |row| row::plain::<String>(row, "key"))?);
        }
        Ok(keys)
    })
    .await
}

pub async fn exists(db: &Db, id: BackupId) -> Result<bool> {
    db.read("looking for the backup", move |db| {
        Ok(query::first(db, "SELECT 1 FROM backups WHERE id = ?1", &[text(id)], |_| Ok(()))?.is_some())
    })
    .await
}

/// The newest backup of a database, whatever became of it.
pub async fn last(db: &Db, organization: OrganizationId, database: DatabaseId) -> Result<Option<Backup>> {
    newest(db, "organization_id = ?1 AND database_id = ?2", organization, database).await
}

/// The newest backup that completed, is of the whole database, and was not found corrupt.
pub async fn last_good(db: &Db, organization: OrganizationId, database: DatabaseId) -> Result<Option<Backup>> {
    let good = "organization_id = ?1 AND database_id = ?2 AND status = 'completed' AND verify_state <> 'corrupt' AND NOT partial";
    newest(db, good, organization, database).await
}

async fn newest(db: &Db, condition: &'static str, organization: OrganizationId, database: DatabaseId) -> Result<Option<Backup>> {
    db.read("reading the newest backup", move |db| {
        one(db, &format!("{condition} ORDER BY created_at DESC, id DESC LIMIT 1"), &[text(organization), text(database)])
    })
    .await
}

fn one(db: &Connection, condition: &str, values: &[deadpool_sqlite::rusqlite::types::Value]) -> Outcome<Option<Backup>> {
    let mut found = query::first(db, &format!("SELECT {COLUMNS} FROM backups WHERE {condition}"), values, read)?;
    artifacts::fill(db, found.as_mut_slice())?;
    Ok(found)
}

fn insert_artifacts(db: &Transaction<'_>, backup: &Backup) -> Outcome<()> {
    backup.artifacts.iter().try_for_each(|artifact| artifacts::insert(db, artifact))
}

fn missing(id: BackupId) -> Error {
    Error::not_found(format_args!("backup {id}"))
}

fn not_open(id: BackupId) -> Error {
    Error::conflict(format!("backup {id} is not waiting or running any more"))
}

fn read(row: &Row<'_>) -> Outcome<Backup> {
    Ok(Backup {
        id: row::parsed(row, "id")?,
        database_id: row::parsed_if_set(row, "database_id")?,
        database_name: row::plain(row, "database_name")?,
        engine: row::plain(row, "engine")?,
        kind: row::parsed(row, "type")?,
        status: row::parsed(row, "status")?,
        store_id: row::parsed(row, "store_id")?,
        job_id: row::parsed_if_set(row, "job_id")?,
        pinned: row::plain(row, "pinned")?,
        verify_state: row::parsed(row, "verify_state")?,
        verified_at: row::moment_if_set(row, "verified_at")?,
        created_at: row::moment(row, "created_at")?,
        started_at: row::moment_if_set(row, "started_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
        moment: row::moment_if_set(row, "moment")?,
        server_version: row::plain(row, "server_version")?,
        tool_version: row::plain(row, "tool_version")?,
        manifest_key: row::plain(row, "manifest_key")?,
        error: row::plain(row, "error")?,
        warnings: row::json(row, "warnings")?,
        options: row::json(row, "options")?,
        tables: row::json(row, "tables")?,
        partial: row::plain(row, "partial")?,
        schedule_id: row::parsed_if_set(row, "schedule_id")?,
        artifacts: Vec::new(),
    })
}
