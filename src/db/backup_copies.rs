//! Where else a backup is, beside the store of its own row; and what of backups is being removed.

use deadpool_sqlite::rusqlite::{Connection, Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        copy::{BackupCopy, CopyStatus},
        ids::{BackupId, OrganizationId, StoreId},
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

/// Backups with copies that are not made, of which no job is open.
pub async fn unmade(db: &Db) -> Result<Vec<(OrganizationId, BackupId)>> {
    db.read("listing the copies to make", |db| {
        let sql = "SELECT DISTINCT b.organization_id, b.id FROM backup_copies c JOIN backups b ON b.id = c.backup_id
                   WHERE c.status IN ('queued', 'failed') AND b.status = 'completed' AND NOT EXISTS (
                       SELECT 1 FROM jobs j WHERE j.backup_id = b.id AND j.kind = 'copy' AND j.status IN ('queued', 'running'))
                   ORDER BY b.id";
        query::all(db, sql, &[], |row| Ok((row::parsed(row, "organization_id")?, row::parsed(row, "id")?)))
    })
    .await
}

/// Records how a copy ended. False when it is being removed meanwhile: that stays so.
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

/// What the store `damaged` has is not whole, and `whole` has it: that becomes the backup's own store, where it is not, and the
/// damaged one a copy that is still to be made.
pub async fn replace(db: &Db, backup: BackupId, damaged: StoreId, whole: StoreId, why: &str, at: Moment) -> Result<()> {
    let why = why.to_owned();
    db.write("replacing a damaged copy", move |db| {
        let (backup, damaged, whole) = (backup.to_string(), damaged.to_string(), whole.to_string());
        let moved = db.execute(
            "UPDATE backups SET store_id = ?3 WHERE id = ?1 AND store_id = ?2 AND status = 'completed'",
            params![backup, damaged, whole],
        )?;
        if moved > 0 {
            db.execute("UPDATE artifacts SET store_id = ?2 WHERE backup_id = ?1", params![backup, whole])?;
            db.execute("DELETE FROM backup_copies WHERE backup_id = ?1 AND store_id = ?2", params![backup, whole])?;
        }
        db.execute(
            "INSERT INTO backup_copies (backup_id, store_id, status, error, created_at)
             SELECT id, ?2, 'failed', ?3, ?4 FROM backups WHERE id = ?1 AND store_id <> ?2
             ON CONFLICT (backup_id, store_id) DO UPDATE SET status = 'failed', error = ?3",
            params![backup, damaged, why, at.0],
        )?;
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
