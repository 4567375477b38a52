//! Restores: the history of what went where.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db, backups, diffs,
    fault::Outcome,
    in_use,
    query::{self, Conditions, holding, text},
    row,
};
use crate::{
    domain::{
        filter::RestoreFilter,
        ids::{BackupId, OrganizationId, RestoreId, UploadId},
        page::{Page, PageRequest},
        restore::Restore,
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, backup_id, upload_id, source_label, database_id, target_label, engine, plan, status, job_id, safety_backup_id,
     created_at, started_at, finished_at, error, warnings, tables, applied";

pub async fn insert(db: &Db, organization: OrganizationId, restore: &Restore) -> Result<()> {
    let restore = restore.clone();
    db.write("saving the restore", move |db| {
        backups::refuse_going(db, restore.backup_id)?;
        if let Some(rows) = &restore.plan.rows {
            diffs::require_report(db, rows.diff_id)?;
        }
        for id in in_use::sides(db, &restore.plan)? {
            backups::refuse_going(db, Some(id))?;
        }
        db.execute(
            "INSERT INTO restores (organization_id, id, backup_id, upload_id, source_label, database_id, target_label, engine, plan,
                 status, job_id, safety_backup_id, created_at, started_at, finished_at, error, warnings, tables)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
            params![
                organization.to_string(),
                restore.id.to_string(),
                restore.backup_id.map(|id| id.to_string()),
                restore.upload_id.map(|id| id.to_string()),
                restore.source_label,
                restore.database_id.map(|id| id.to_string()),
                restore.target_label,
                restore.engine,
                row::to_json(&restore.plan)?,
                restore.status.as_str(),
                restore.job_id.map(|id| id.to_string()),
                restore.safety_backup_id.map(|id| id.to_string()),
                restore.created_at.0,
                restore.started_at.map(|at| at.0),
                restore.finished_at.map(|at| at.0),
                restore.error,
                row::to_json(&restore.warnings)?,
                row::to_json(&restore.tables)?,
            ],
        )?;
        Ok(())
    })
    .await
}

/// Every restore that is queued or running, with its organization.
pub async fn unfinished(db: &Db) -> Result<Vec<(OrganizationId, Restore)>> {
    db.read("listing unfinished restores", |db| {
        let sql = format!("SELECT organization_id, {COLUMNS} FROM restores WHERE status IN ('queued', 'running') ORDER BY created_at, id");
        query::all(db, &sql, &[], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// True while a queued or running restore reads this backup, or has it as its way back.
pub async fn reading(db: &Db, backup: BackupId) -> Result<bool> {
    db.read("looking for restores of the backup", move |db| {
        let sql = "SELECT 1 FROM restores WHERE (backup_id = ?1 OR safety_backup_id = ?1) AND status IN ('queued', 'running')";
        Ok(query::first(db, sql, &[text(backup)], |_| Ok(()))?.is_some())
    })
    .await
}

/// The uploads that queued or running restores read.
pub async fn open_uploads(db: &Db) -> Result<Vec<UploadId>> {
    db.read("listing uploads in use", |db| {
        let sql = "SELECT upload_id FROM restores WHERE upload_id IS NOT NULL AND status IN ('queued', 'running')";
        query::all(db, sql, &[], |row| row::parsed(row, "upload_id"))
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, id: RestoreId) -> Result<Restore> {
    db.read("reading the restore", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM restores WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// Newest first.
pub async fn list(db: &Db, organization: OrganizationId, filter: &RestoreFilter, page: PageRequest) -> Result<Page<Restore>> {
    let conditions = Conditions::new("organization_id = ?", text(organization))
        .and("database_id = ?", filter.database_id.map(text))
        .and("status = ?", filter.status.map(text))
        .and("LOWER(source_label || ' ' || target_label) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding));
    db.read("listing the restores", move |db| conditions.page(db, COLUMNS, "restores", "created_at DESC, id DESC", page, read)).await
}

/// A restore starts, for the first time or again. Errors with `Conflict` when it is completed.
pub async fn mark_running(db: &Db, id: RestoreId, at: Moment) -> Result<()> {
    db.write("starting the restore", move |db| {
        let changed = db.execute(
            "UPDATE restores SET status = 'running', started_at = ?2, finished_at = NULL, error = NULL
             WHERE id = ?1 AND status <> 'completed'",
            params![id.to_string(), at.0],
        )?;
        if changed == 0 { Err(Error::conflict(format!("restore {id} is not waiting or running any more")).into()) } else { Ok(()) }
    })
    .await
}

/// Records the end as `restore` has it: status, error, warnings, tables, time. False when it had completed: that stays so.
pub async fn finish(db: &Db, restore: &Restore) -> Result<bool> {
    let restore = restore.clone();
    db.write("ending the restore", move |db| {
        let changed = db.execute(
            "UPDATE restores SET status = ?2, error = ?3, warnings = ?4, tables = ?5, finished_at = ?6, applied = ?7
             WHERE id = ?1 AND status <> 'completed'",
            params![
                restore.id.to_string(),
                restore.status.as_str(),
                restore.error,
                row::to_json(&restore.warnings)?,
                row::to_json(&restore.tables)?,
                restore.finished_at.map(|at| at.0),
                restore.applied.as_ref().map(row::to_json).transpose()?,
            ],
        )?;
        Ok(changed > 0)
    })
    .await
}

/// Remembers the backup that was taken of the target before.
pub async fn set_safety_backup(db: &Db, id: RestoreId, backup: BackupId) -> Result<()> {
    db.write("recording the safety backup", move |db| {
        db.execute("UPDATE restores SET safety_backup_id = ?2 WHERE id = ?1", params![id.to_string(), backup.to_string()])?;
        Ok(())
    })
    .await
}

fn missing(id: RestoreId) -> Error {
    Error::not_found(format_args!("restore {id}"))
}

fn read(row: &Row<'_>) -> Outcome<Restore> {
    Ok(Restore {
        id: row::parsed(row, "id")?,
        backup_id: row::parsed_if_set(row, "backup_id")?,
        upload_id: row::parsed_if_set(row, "upload_id")?,
        source_label: row::plain(row, "source_label")?,
        database_id: row::parsed_if_set(row, "database_id")?,
        target_label: row::plain(row, "target_label")?,
        engine: row::plain(row, "engine")?,
        plan: row::json(row, "plan")?,
        status: row::parsed(row, "status")?,
        job_id: row::parsed_if_set(row, "job_id")?,
        safety_backup_id: row::parsed_if_set(row, "safety_backup_id")?,
        created_at: row::moment(row, "created_at")?,
        started_at: row::moment_if_set(row, "started_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
        error: row::plain(row, "error")?,
        warnings: row::json(row, "warnings")?,
        tables: row::json(row, "tables")?,
        applied: row::json_if_set(row, "applied")?,
    })
}
