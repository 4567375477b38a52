//! Comparisons: what was compared, how it ended, what was found. A row that says `completed` is never turned into anything
//! else.

use std::collections::HashSet;

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db, backups,
    fault::Outcome,
    query::{self, Conditions, holding, text},
    row,
};
use crate::{
    domain::{
        diff::{Diff, DiffStatus, DiffSummary, SideRef},
        filter::DiffFilter,
        ids::{BackupId, DiffId, JobId, OrganizationId},
        page::{Page, PageRequest},
        restore::RestorePlan,
        time::Moment,
    },
    error::{Error, Result},
};

const COLUMNS: &str = "id, database_id, database_name, engine, before_backup_id, before_database_id, before_label, after_backup_id,
     after_database_id, after_label, options, status, job_id, created_at, started_at, finished_at, error, report_size, summary";

pub async fn insert(db: &Db, organization: OrganizationId, diff: &Diff) -> Result<()> {
    let diff = diff.clone();
    db.write("saving the comparison", move |db| {
        for side in [diff.before, diff.after] {
            if let SideRef::BackupId(id) = side {
                backups::refuse_going(db, Some(id))?;
            }
        }
        db.execute(
            "INSERT INTO diffs (organization_id, id, database_id, database_name, engine, before_backup_id, before_database_id,
                 before_label, after_backup_id, after_database_id, after_label, options, status, job_id, created_at, started_at,
                 finished_at, error, report_size, summary)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            params![
                organization.to_string(),
                diff.id.to_string(),
                diff.database_id.map(|id| id.to_string()),
                diff.database_name,
                diff.engine,
                backup_of(diff.before),
                database_of(diff.before),
                diff.before_label,
                backup_of(diff.after),
                database_of(diff.after),
                diff.after_label,
                row::to_json(&diff.options)?,
                diff.status.as_str(),
                diff.job_id.map(|id| id.to_string()),
                diff.created_at.0,
                diff.started_at.map(|at| at.0),
                diff.finished_at.map(|at| at.0),
                diff.error,
                row::to_count(diff.report_size)?,
                diff.summary.as_ref().map(row::to_json).transpose()?,
            ],
        )?;
        Ok(())
    })
    .await
}

pub async fn get(db: &Db, organization: OrganizationId, id: DiffId) -> Result<Diff> {
    db.read("reading the comparison", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM diffs WHERE organization_id = ?1 AND id = ?2");
        query::first(db, &sql, &[text(organization), text(id)], read)?.ok_or_else(|| missing(id).into())
    })
    .await
}

/// Newest first.
pub async fn list(db: &Db, organization: OrganizationId, filter: &DiffFilter, page: PageRequest) -> Result<Page<Diff>> {
    let conditions = Conditions::new("organization_id = ?", text(organization))
        .and("database_id = ?", filter.database_id.map(text))
        .and("? IN (before_backup_id, after_backup_id)", filter.backup_id.map(text))
        .and("status = ?", filter.status.map(text))
        .and("LOWER(database_name || ' ' || before_label || ' ' || after_label) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding));
    db.read("listing the comparisons", move |db| conditions.page(db, COLUMNS, "diffs", "created_at DESC, id DESC", page, read)).await
}

/// Every comparison that is queued or running, with its organization.
pub async fn unfinished(db: &Db) -> Result<Vec<(OrganizationId, Diff)>> {
    db.read("listing unfinished comparisons", |db| {
        let sql = format!("SELECT organization_id, {COLUMNS} FROM diffs WHERE status IN ('queued', 'running') ORDER BY created_at, id");
        query::all(db, &sql, &[], |row| Ok((row::parsed(row, "organization_id")?, read(row)?)))
    })
    .await
}

/// The comparisons that have a report: the files of all others are leftovers.
pub async fn completed(db: &Db) -> Result<Vec<DiffId>> {
    db.read("listing the comparisons", |db| {
        query::all(db, "SELECT id FROM diffs WHERE status = 'completed'", &[], |row| row::parsed(row, "id"))
    })
    .await
}

/// True while a queued or running comparison reads this backup.
pub async fn reading(db: &Db, backup: BackupId) -> Result<bool> {
    db.read("looking for comparisons of the backup", move |db| {
        let sql = "SELECT 1 FROM diffs WHERE ?1 IN (before_backup_id, after_backup_id) AND status IN ('queued', 'running')";
        Ok(query::first(db, sql, &[text(backup)], |_| Ok(()))?.is_some())
    })
    .await
}

/// A comparison starts, for the first time or again: what was found before is forgotten.
/// Errors with `Conflict` when it is completed.
pub async fn mark_running(db: &Db, id: DiffId, at: Moment) -> Result<()> {
    db.write("starting the comparison", move |db| {
        let changed = db.execute(
            "UPDATE diffs SET status = 'running', started_at = ?2, finished_at = NULL, error = NULL, report_size = 0, summary = NULL
             WHERE id = ?1 AND status <> 'completed'",
            params![id.to_string(), at.0],
        )?;
        if changed == 0 { Err(not_open(id).into()) } else { Ok(()) }
    })
    .await
}

/// What a running comparison has found so far. Of one that is not running any more nothing is changed.
pub async fn save_progress(db: &Db, id: DiffId, summary: &DiffSummary) -> Result<()> {
    let summary = row::to_json(summary)?;
    db.write("recording what the comparison found", move |db| {
        db.execute("UPDATE diffs SET summary = ?2 WHERE id = ?1 AND status = 'running'", params![id.to_string(), summary])?;
        Ok(())
    })
    .await
}

/// Records the whole success of a running comparison. Errors with `Conflict` when it is not running any more.
pub async fn complete(db: &Db, id: DiffId, summary: &DiffSummary, report_size: u64, at: Moment) -> Result<()> {
    let summary = row::to_json(summary)?;
    db.write("completing the comparison", move |db| {
        let changed = db.execute(
            "UPDATE diffs SET status = 'completed', summary = ?2, report_size = ?3, finished_at = ?4, error = NULL
             WHERE id = ?1 AND status = 'running'",
            params![id.to_string(), summary, row::to_count(report_size)?, at.0],
        )?;
        if changed == 0 { Err(not_open(id).into()) } else { Ok(()) }
    })
    .await
}

/// Records that a comparison ended without success; its report is gone. False when it had completed: that stays so.
pub async fn finish(db: &Db, id: DiffId, status: DiffStatus, error: Option<&str>, at: Moment) -> Result<bool> {
    let error = error.map(str::to_owned);
    db.write("ending the comparison", move |db| {
        let changed = db.execute(
            "UPDATE diffs SET status = ?2, error = ?3, finished_at = ?4, report_size = 0, summary = NULL
             WHERE id = ?1 AND status <> 'completed'",
            params![id.to_string(), status.as_str(), error, at.0],
        )?;
        Ok(changed > 0)
    })
    .await
}

/// A comparison that did not complete waits for a new job: part of a larger change. Errors with `Conflict` when it is queued,
/// runs, is completed or was deleted.
pub(super) fn queue_row(db: &Transaction<'_>, id: DiffId, job: JobId) -> Outcome<()> {
    let changed = db.execute(
        "UPDATE diffs SET status = 'queued', job_id = ?2, finished_at = NULL, error = NULL
         WHERE id = ?1 AND status IN ('failed', 'cancelled', 'interrupted')",
        params![id.to_string(), job.to_string()],
    )?;
    if changed == 0 {
        return Err(Error::conflict(format!("comparison {id} was deleted, or is queued, running or completed")).into());
    }
    Ok(())
}

/// At most `limit` comparisons that ended before `before`, marked so that nothing begins to read them: their reports are removed
/// next, then their rows with [`delete_retired`]. Spared are those of which rows are being restored, and those with an open job.
pub async fn retire(db: &Db, before: Moment, limit: u32) -> Result<Vec<DiffId>> {
    db.write("choosing old comparisons", move |db| {
        let open = "SELECT plan FROM restores WHERE status IN ('queued', 'running')";
        let open = query::all(db, open, &[], |row| row::json::<RestorePlan>(row, "plan"))?;
        let read: HashSet<DiffId> = open.into_iter().filter_map(|plan| plan.rows).map(|rows| rows.diff_id).collect();
        let old = "SELECT d.id FROM diffs d WHERE d.organization_id IN (SELECT id FROM organizations) AND d.created_at < ?1
                       AND COALESCE(d.finished_at, d.created_at) < ?1 AND d.status NOT IN ('queued', 'running')
                       AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = d.job_id AND j.status IN ('queued', 'running')) LIMIT ?2";
        // Those that are being read are few, and must not fill a whole batch.
        let limit = i64::from(limit) + i64::try_from(read.len()).unwrap_or(0);
        let mut old: Vec<DiffId> = query::all(db, old, &[before.0.into(), limit.into()], |row| row::parsed(row, "id"))?;
        old.retain(|id| !read.contains(id));
        for id in &old {
            db.execute(
                "UPDATE diffs SET status = 'interrupted', summary = NULL,
                     error = 'it is older than the history is kept: its report is being removed' WHERE id = ?1",
                params![id.to_string()],
            )?;
        }
        Ok(old)
    })
    .await
}

/// Forgets a comparison whose report is gone, unless it was queued again meanwhile. True when it is forgotten.
pub async fn delete_retired(db: &Db, id: DiffId) -> Result<bool> {
    db.write("removing an old comparison", move |db| {
        let removed =
            db.execute("DELETE FROM diffs WHERE id = ?1 AND status NOT IN ('queued', 'running', 'completed')", params![id.to_string()])?;
        Ok(removed > 0)
    })
    .await
}

/// Errors with `Conflict` unless the comparison has a report to read.
pub(super) fn require_report(db: &Connection, id: DiffId) -> Outcome<()> {
    let sql = "SELECT 1 FROM diffs WHERE id = ?1 AND status = 'completed'";
    match query::first(db, sql, &[text(id)], |_| Ok(()))? {
        Some(()) => Ok(()),
        None => Err(Error::conflict("the comparison has no report any more").hint("compare again").into()),
    }
}

/// Forgets a comparison; its report is removed after this.
pub async fn delete(db: &Db, organization: OrganizationId, id: DiffId) -> Result<()> {
    db.write("removing the comparison", move |db| {
        let removed =
            db.execute("DELETE FROM diffs WHERE organization_id = ?1 AND id = ?2", params![organization.to_string(), id.to_string()])?;
        if removed == 0 { Err(missing(id).into()) } else { Ok(()) }
    })
    .await
}

fn backup_of(side: SideRef) -> Option<String> {
    if let SideRef::BackupId(id) = side { Some(id.to_string()) } else { None }
}

fn database_of(side: SideRef) -> Option<String> {
    if let SideRef::DatabaseId(id) = side { Some(id.to_string()) } else { None }
}

fn side(row: &Row<'_>, backup: &str, database: &str) -> Outcome<SideRef> {
    match row::parsed_if_set(row, backup)? {
        Some(id) => Ok(SideRef::BackupId(id)),
        None => Ok(SideRef::DatabaseId(row::parsed(row, database)?)),
    }
}

fn missing(id: DiffId) -> Error {
    Error::not_found(format_args!("comparison {id}"))
}

fn not_open(id: DiffId) -> Error {
    Error::conflict(format!("comparison {id} is not waiting or running any more"))
}

fn read(row: &Row<'_>) -> Outcome<Diff> {
    Ok(Diff {
        id: row::parsed(row, "id")?,
        database_id: row::parsed_if_set(row, "database_id")?,
        database_name: row::plain(row, "database_name")?,
        engine: row::plain(row, "engine")?,
        before: side(row, "before_backup_id", "before_database_id")?,
        after: side(row, "after_backup_id", "after_database_id")?,
        before_label: row::plain(row, "before_label")?,
        after_label: row::plain(row, "after_label")?,
        options: row::json(row, "options")?,
        status: row::parsed(row, "status")?,
        job_id: row::parsed_if_set(row, "job_id")?,
        created_at: row::moment(row, "created_at")?,
        started_at: row::moment_if_set(row, "started_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
        error: row::plain(row, "error")?,
        report_size: row::count(row, "report_size")?,
        summary: row::json_if_set(row, "summary")?,
    })
}
