//! Manifests that do not say yet whether their backup is pinned: one row for each store that has still to be told.

use deadpool_sqlite::rusqlite::{Transaction, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::{BackupId, OrganizationId, StoreId},
        time::Moment,
    },
    error::Result,
};

/// A manifest that is to be written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestWrite {
    pub organization_id: OrganizationId,
    pub backup_id: BackupId,
    pub store_id: StoreId,
    pub store_name: String,
}

/// Notes that the manifests of a backup, in its own store and beside its copies, are to be written again.
pub(super) fn note(db: &Transaction<'_>, backup: BackupId, at: Moment) -> Outcome<()> {
    db.execute(
        "INSERT INTO manifest_writes (backup_id, store_id, created_at)
         SELECT id, store_id, ?2 FROM backups WHERE id = ?1 AND manifest_key IS NOT NULL
         UNION
         SELECT c.backup_id, c.store_id, ?2 FROM backup_copies c JOIN backups b ON b.id = c.backup_id
         WHERE c.backup_id = ?1 AND c.status = 'complete' AND b.manifest_key IS NOT NULL
         ON CONFLICT (backup_id, store_id) DO NOTHING",
        params![backup.to_string(), at.0],
    )?;
    Ok(())
}

/// Notes one store: a copy that was being made while the pin changed.
pub async fn note_store(db: &Db, backup: BackupId, store: StoreId, at: Moment) -> Result<()> {
    db.write("noting a manifest to write", move |db| {
        db.execute(
            "INSERT INTO manifest_writes (backup_id, store_id, created_at) SELECT id, ?2, ?3 FROM backups WHERE id = ?1
             ON CONFLICT (backup_id, store_id) DO NOTHING",
            params![backup.to_string(), store.to_string(), at.0],
        )?;
        Ok(())
    })
    .await
}

/// What is to be written, of one backup or of all, the oldest first; where the backup no longer is it is forgotten.
pub async fn list(db: &Db, only: Option<BackupId>) -> Result<Vec<ManifestWrite>> {
    db.write("listing the manifests to write", move |db| {
        db.execute(
            "DELETE FROM manifest_writes WHERE NOT EXISTS (
                 SELECT 1 FROM backups b WHERE b.id = manifest_writes.backup_id AND b.store_id = manifest_writes.store_id)
             AND NOT EXISTS (
                 SELECT 1 FROM backup_copies c WHERE c.backup_id = manifest_writes.backup_id AND c.store_id = manifest_writes.store_id)",
            [],
        )?;
        let sql = "SELECT b.organization_id, m.backup_id, m.store_id, s.name AS store_name
                   FROM manifest_writes m JOIN backups b ON b.id = m.backup_id JOIN stores s ON s.id = m.store_id
                   WHERE b.status = 'completed' AND (?1 IS NULL OR m.backup_id = ?1) ORDER BY m.created_at, m.backup_id, m.store_id";
        query::all(db, sql, &[only.map(|id| id.to_string()).into()], |row| {
            Ok(ManifestWrite {
                organization_id: row::parsed(row, "organization_id")?,
                backup_id: row::parsed(row, "backup_id")?,
                store_id: row::parsed(row, "store_id")?,
                store_name: row::plain(row, "store_name")?,
            })
        })
    })
    .await
}

/// The stores whose manifests do not say yet what the catalogue says of the backup's pin.
pub async fn stores_of(db: &Db, backup: BackupId) -> Result<Vec<String>> {
    db.read("reading which manifests are to be written", move |db| {
        let sql = "SELECT s.name FROM manifest_writes m JOIN stores s ON s.id = m.store_id WHERE m.backup_id = ?1 ORDER BY s.name";
        query::all(db, sql, &[text(backup)], |row| row::plain(row, "name"))
    })
    .await
}

/// The manifest says `pinned`: done, unless the backup has been pinned or unpinned again meanwhile.
pub async fn done(db: &Db, backup: BackupId, store: StoreId, pinned: bool) -> Result<()> {
    db.write("noting a manifest as written", move |db| {
        db.execute(
            "DELETE FROM manifest_writes WHERE backup_id = ?1 AND store_id = ?2 AND EXISTS (
                 SELECT 1 FROM backups WHERE id = ?1 AND pinned = ?3)",
            params![backup.to_string(), store.to_string(), pinned],
        )?;
        Ok(())
    })
    .await
}
