//! Where else a backup is, beside the store of its own row; and what of backups is being removed.

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    retention, row,
};
use crate::{
    domain::{
        copy::{BackupCopy, CopyStatus},
        ids::{BackupId, OrganizationId, ScheduleId, StoreId},
        time::Moment,
    },
    error::Result,
};

const COLUMNS: &str = "c.backup_id, c.store_id, s.name AS store_name, c.status, c.error, c.created_at, c.finished_at";
const FROM: &str = "backup_copies c JOIN stores s ON s.id = c.store_id";

/// Notes that a good backup is to be copied to these stores. What is known of a store already stays as it is.
pub async fn insert(db: &Db, backup: BackupId, stores: &[StoreId], at: Moment) -> Result<()> {
    let stores = stores.to_vec();
    db.write("saving the copies to make", move |db| {
        for store in &stores {
            db.execute(
                "INSERT INTO backup_copies (backup_id, store_id, status, created_at)
                 SELECT id, ?2, 'queued', ?3 FROM backups WHERE id = ?1 AND status = 'completed' AND store_id <> ?2
                 ON CONFLICT (backup_id, store_id) DO NOTHING",
                params![backup.to_string(), store.to_string(), at.0],
            )?;
        }
        Ok(())
    })
    .await
}

/// In the order they were asked for.
pub async fn of_backup(db: &Db, backup: BackupId) -> Result<Vec<BackupCopy>> {
    db.read("listing the copies of the backup", move |db| {
        let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE c.backup_id = ?1 ORDER BY c.created_at, c.store_id");
        query::all(db, &sql, &[text(backup)], read)
    })
    .await
}

/// Copies that are to be made; what was damaged only while there is a whole one to make it from.
const UNMADE: &str =
    "b.status = 'completed' AND (c.status IN ('queued', 'failed') OR (c.status = 'damaged' AND b.verify_state <> 'corrupt'))";

/// A store with copies to be made, and when the newest attempt that failed was.
pub struct Unmade {
    pub organization: OrganizationId,
    pub store: StoreId,
    pub failed_at: Option<Moment>,
}

/// The stores, or this one, with copies to be made and no job that makes them.
pub async fn unmade(db: &Db, store: Option<StoreId>) -> Result<Vec<Unmade>> {
    db.read("listing the copies to make", move |db| {
        let (condition, values) = match store {
            Some(store) => ("c.store_id = ?1", vec![text(store)]),
            None => ("c.status IN ('queued', 'failed', 'damaged')", Vec::new()),
        };
        let sql = format!(
            "SELECT b.organization_id, c.store_id, MAX(CASE WHEN c.status = 'failed' THEN c.finished_at END) AS failed_at
             FROM backup_copies c JOIN backups b ON b.id = c.backup_id WHERE {condition} AND {UNMADE} AND NOT EXISTS (
                 SELECT 1 FROM jobs j WHERE j.organization_id = b.organization_id AND j.status IN ('queued', 'running') AND j.kind = 'copy'
                     AND j.exclusive_key = 'copy:' || c.store_id)
             GROUP BY b.organization_id, c.store_id ORDER BY c.store_id"
        );
        query::all(db, &sql, &values, |row| {
            Ok(Unmade {
                organization: row::parsed(row, "organization_id")?,
                store: row::parsed(row, "store_id")?,
                failed_at: row::moment_if_set(row, "failed_at")?,
            })
        })
    })
    .await
}

/// The backups that are to be copied to a store, the newest first.
pub async fn to_make(db: &Db, organization: OrganizationId, store: StoreId) -> Result<Vec<BackupId>> {
    db.read("listing the copies to make", move |db| {
        let sql = format!(
            "SELECT b.id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
             WHERE c.store_id = ?1 AND b.organization_id = ?2 AND {UNMADE} ORDER BY b.created_at DESC, b.id"
        );
        query::all(db, &sql, &[text(store), text(organization)], |row| row::parsed(row, "id"))
    })
    .await
}

/// Notes of every copy that waits for a store why it cannot be made.
pub async fn refuse(db: &Db, store: StoreId, error: &str, at: Moment) -> Result<()> {
    let error = error.to_owned();
    db.write("recording the copies", move |db| {
        db.execute(
            "UPDATE backup_copies SET status = 'failed', error = ?2, finished_at = ?3 WHERE store_id = ?1 AND status IN ('queued', 'failed')",
            params![store.to_string(), error, at.0],
        )?;
        Ok(())
    })
    .await
}

/// Forgets copies that were never made and that no schedule asks for any more. Returns how many.
pub async fn forget_unwanted(db: &Db, organization: OrganizationId) -> Result<u64> {
    db.write("forgetting copies that nothing asks for", move |db| {
        let sql = "SELECT DISTINCT b.schedule_id, c.store_id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
                   WHERE c.status IN ('queued', 'failed') AND b.organization_id = ?1 AND b.schedule_id IS NOT NULL";
        let asked = query::all(db, sql, &[text(organization)], |row| {
            Ok((row::parsed::<ScheduleId>(row, "schedule_id")?, row::parsed::<StoreId>(row, "store_id")?))
        })?;
        let mut forgotten = 0;
        for (schedule, store) in asked {
            if retention::destinations_of(db, organization, schedule)?.contains(&store) {
                continue;
            }
            forgotten += db.execute(
                "DELETE FROM backup_copies WHERE store_id = ?2 AND status IN ('queued', 'failed')
                 AND backup_id IN (SELECT id FROM backups WHERE schedule_id = ?1)",
                params![schedule.to_string(), store.to_string()],
            )?;
        }
        Ok(forgotten as u64)
    })
    .await
}

/// Gives the place of a backup's own files to its complete copy in `heir`; its own are to be made again. False when they are not
/// there any more as it was thought.
pub async fn take_over(db: &Db, backup: BackupId, own: StoreId, heir: StoreId, why: &str, at: Moment) -> Result<bool> {
    let (backup, own, heir, why) = (backup.to_string(), own.to_string(), heir.to_string(), why.to_owned());
    db.write("giving the backup's place to its copy", move |db| {
        let sql = "SELECT 1 FROM backups b JOIN backup_copies c ON c.backup_id = b.id
                   WHERE b.id = ?1 AND b.store_id = ?2 AND b.status = 'completed' AND c.store_id = ?3 AND c.status = 'complete'";
        if query::first(db, sql, &[text(&backup), text(&own), text(&heir)], |_| Ok(()))?.is_none() {
            return Ok(false);
        }
        hand_over(db, &backup, &own, &heir, CopyStatus::Damaged.as_str(), Some(&why), at)?;
        Ok(true)
    })
    .await
}

/// Makes the copy in `heir` the backup's own, and what was its own a copy that says `status`.
pub(super) fn hand_over(
    db: &Transaction<'_>,
    backup: &str,
    own: &str,
    heir: &str,
    status: &str,
    error: Option<&str>,
    at: Moment,
) -> Outcome<()> {
    db.execute("UPDATE backups SET store_id = ?2 WHERE id = ?1", params![backup, heir])?;
    db.execute("UPDATE artifacts SET store_id = ?2 WHERE backup_id = ?1", params![backup, heir])?;
    db.execute("DELETE FROM backup_copies WHERE backup_id = ?1 AND store_id = ?2", params![backup, heir])?;
    db.execute(
        "INSERT INTO backup_copies (backup_id, store_id, status, error, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (backup_id, store_id) DO UPDATE SET status = excluded.status, error = excluded.error",
        params![backup, own, status, error, at.0],
    )?;
    Ok(())
}

/// Records how a copy ended. False when it is being removed, or nothing asks for it any more: that stays so.
pub async fn finish(db: &Db, backup: BackupId, store: StoreId, status: CopyStatus, error: Option<&str>, at: Moment) -> Result<bool> {
    let error = error.map(str::to_owned);
    db.write("recording the copy", move |db| {
        let changed = db.execute(
            "UPDATE backup_copies SET status = ?3, error = ?4, finished_at = ?5 WHERE backup_id = ?1 AND store_id = ?2 AND status <> 'deleting'",
            params![backup.to_string(), store.to_string(), status.as_str(), error, at.0],
        )?;
        Ok(changed > 0)
    })
    .await
}

/// Copies that are being removed, and nobody has finished it yet.
pub async fn going(db: &Db) -> Result<Vec<(OrganizationId, BackupId, StoreId)>> {
    db.read("listing the copies that are being removed", |db| {
        let sql = "SELECT b.organization_id, c.backup_id, c.store_id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
                   WHERE c.status = 'deleting' AND b.status <> 'deleting' ORDER BY c.backup_id, c.store_id";
        query::all(db, sql, &[], |row| {
            Ok((row::parsed(row, "organization_id")?, row::parsed(row, "backup_id")?, row::parsed(row, "store_id")?))
        })
    })
    .await
}

/// Puts a copy back that was to be removed and of which everything is still there.
pub async fn release(db: &Db, backup: BackupId, store: StoreId) -> Result<()> {
    db.write("keeping the copy", move |db| {
        db.execute(
            "UPDATE backup_copies SET status = 'complete' WHERE backup_id = ?1 AND store_id = ?2 AND status = 'deleting'",
            params![backup.to_string(), store.to_string()],
        )?;
        Ok(())
    })
    .await
}

/// Forgets a copy whose files are gone.
pub async fn remove(db: &Db, backup: BackupId, store: StoreId) -> Result<()> {
    db.write("removing the copy", move |db| {
        db.execute("DELETE FROM backup_copies WHERE backup_id = ?1 AND store_id = ?2", params![backup.to_string(), store.to_string()])?;
        Ok(())
    })
    .await
}

/// Keys in a store that belong to complete or half-made copies: artifacts and manifests.
pub(super) fn keys(db: &Connection, store: StoreId) -> Outcome<Vec<String>> {
    let sql = "SELECT a.key FROM artifacts a JOIN backup_copies c ON c.backup_id = a.backup_id WHERE c.store_id = ?1
               UNION
               SELECT b.manifest_key FROM backups b JOIN backup_copies c ON c.backup_id = b.id
               WHERE c.store_id = ?1 AND b.manifest_key IS NOT NULL";
    query::all(db, sql, &[text(store)], |row| row::plain(row, "key"))
}

fn read(row: &Row<'_>) -> Outcome<BackupCopy> {
    Ok(BackupCopy {
        backup_id: row::parsed(row, "backup_id")?,
        store_id: row::parsed(row, "store_id")?,
        store_name: row::plain(row, "store_name")?,
        status: row::parsed(row, "status")?,
        error: row::plain(row, "error")?,
        created_at: row::moment(row, "created_at")?,
        finished_at: row::moment_if_set(row, "finished_at")?,
    })
}
