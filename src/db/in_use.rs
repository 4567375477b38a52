//! What of backups is needed, whatever a policy says.

use std::collections::HashMap;

use deadpool_sqlite::rusqlite::{Connection, Row, types::Value};

use super::{
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::domain::{
    copy::HOLD_DAYS,
    ids::{BackupId, DatabaseId, OrganizationId},
    restore::RestorePlan,
    time::Moment,
};

/// How long a backup that was taken before a restore stays the way back, milliseconds: a week. Policies go by it only then.
const WAY_BACK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Backups that stay whatever a policy says, of one database or of all: what is read or worked on, what has still to be copied,
/// the way back of a recent restore, and each database's last good one.
pub(super) fn held(
    db: &Connection,
    organization: OrganizationId,
    database: Option<DatabaseId>,
    now: Moment,
) -> Outcome<HashMap<BackupId, String>> {
    let last = "SELECT (SELECT b.id FROM backups b WHERE b.database_id = d.id AND b.status = 'completed'
                    AND b.verify_state <> 'corrupt' AND NOT b.partial AND b.instance_id IS NULL
                    ORDER BY b.created_at DESC, b.id DESC LIMIT 1) AS id
                FROM databases d JOIN projects p ON p.id = d.project_id WHERE p.organization_id = ?1";
    let to_copy = "SELECT c.backup_id AS id FROM backup_copies c JOIN backups d ON d.id = c.backup_id
                   WHERE d.organization_id = ?1 AND c.created_at > ?2
                       AND (c.status IN ('queued', 'failed') OR (c.status = 'damaged' AND d.verify_state <> 'corrupt'))";
    let perhaps_whole = "SELECT d.id FROM backups d WHERE d.organization_id = ?1 AND d.status = 'completed' AND d.verify_state = 'corrupt'
                             AND EXISTS (SELECT 1 FROM backup_copies c WHERE c.backup_id = d.id AND c.status = 'complete')";
    let way_back = "SELECT d.id FROM backups d
                    WHERE d.type = 'safety' AND d.status = 'completed' AND d.organization_id = ?1 AND d.created_at >= ?2";
    let since = now.plus(-WAY_BACK_MS).0;
    // A store that is away for longer must not fill up the others.
    let waited_for = now.plus(-HOLD_DAYS * 86_400_000).0;
    let mut held = HashMap::new();
    for (sql, column, since, why) in [
        (last, "d.id", None, "the last good backup of the database"),
        (to_copy, "d.database_id", Some(waited_for), "it still has to be copied to another store"),
        (perhaps_whole, "d.database_id", None, "damaged in one store, but its copy in another may be whole: verify it again"),
        (way_back, "d.database_id", Some(since), "the way back of a restore, for a week"),
    ] {
        let mut values: Vec<Value> = vec![text(organization)];
        values.extend(since.map(Value::from));
        let mut sql = sql.to_owned();
        if let Some(database) = database {
            values.push(text(database));
            sql.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
        for id in query::all(db, &sql, &values, |row| row::parsed_if_set::<BackupId>(row, "id"))?.into_iter().flatten() {
            held.insert(id, why.to_owned());
        }
    }
    for (id, why) in now_used(db, true)? {
        held.insert(id, why.to_owned());
    }
    Ok(held)
}

/// Backups that something reads now or is about to, with what it is. With `own` the jobs that made them are among it, which end
/// a moment after the backup is complete.
pub(super) fn now_used(db: &Connection, own: bool) -> Outcome<Vec<(BackupId, &'static str)>> {
    let jobs = "SELECT backup_id AS id FROM jobs
                WHERE status IN ('queued', 'running') AND backup_id IS NOT NULL AND (?1 OR kind <> 'backup')";
    let diffs = "SELECT before_backup_id AS id FROM diffs WHERE status IN ('queued', 'running') AND before_backup_id IS NOT NULL
                 UNION ALL
                 SELECT after_backup_id FROM diffs WHERE status IN ('queued', 'running') AND after_backup_id IS NOT NULL";
    let restores = "SELECT backup_id AS id FROM restores WHERE status IN ('queued', 'running') AND backup_id IS NOT NULL
                    UNION ALL
                    SELECT safety_backup_id FROM restores WHERE status IN ('queued', 'running') AND safety_backup_id IS NOT NULL";
    let mut used = Vec::new();
    for (sql, values, why) in [
        (jobs, vec![own.into()], "a job works on it"),
        (diffs, Vec::new(), "a comparison reads it"),
        (restores, Vec::new(), "a restore reads it, or has it as its way back"),
    ] {
        used.extend(query::all(db, sql, &values, |row| Ok((row::parsed::<BackupId>(row, "id")?, why)))?);
    }
    let plans = "SELECT plan FROM restores WHERE status IN ('queued', 'running')";
    for plan in query::all(db, plans, &[], |row| row::json::<RestorePlan>(row, "plan"))? {
        for id in sides(db, &plan)? {
            used.push((id, "rows of a comparison with it are being restored"));
        }
    }
    Ok(used)
}

/// The backups that a restore of compared rows reads.
pub(super) fn sides(db: &Connection, plan: &RestorePlan) -> Outcome<Vec<BackupId>> {
    let Some(rows) = &plan.rows else { return Ok(Vec::new()) };
    let sql = "SELECT before_backup_id, after_backup_id FROM diffs WHERE id = ?1";
    let read =
        |row: &Row<'_>| -> Outcome<_> { Ok([row::parsed_if_set(row, "before_backup_id")?, row::parsed_if_set(row, "after_backup_id")?]) };
    Ok(query::first(db, sql, &[text(rows.diff_id)], read)?.into_iter().flatten().flatten().collect())
}
