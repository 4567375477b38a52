//! The stored artifacts of backups. They are written and removed with their backup, so there are only reads here.

use std::collections::HashMap;

use deadpool_sqlite::rusqlite::{Connection, Row, Transaction, params};

use super::{
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::domain::{
    artifact::Artifact,
    backup::Backup,
    ids::{BackupId, StoreId},
};

const COLUMNS: &str = "id, backup_id, kind, format, store_id, key, plain_size, stored_size, plain_sha256, stored_sha256, compression,
     key_id, created_at";

pub(super) fn insert(db: &Transaction<'_>, artifact: &Artifact) -> Outcome<()> {
    db.prepare_cached(
        "INSERT INTO artifacts (id, backup_id, kind, format, store_id, key, plain_size, stored_size, plain_sha256, stored_sha256,
             compression, key_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        artifact.id.to_string(),
        artifact.backup_id.to_string(),
        artifact.kind.as_str(),
        artifact.format.as_str(),
        artifact.store_id.to_string(),
        artifact.key,
        row::to_count(artifact.plain_size)?,
        row::to_count(artifact.stored_size)?,
        artifact.plain_sha256,
        artifact.stored_sha256,
        artifact.compression.to_string(),
        artifact.key_id,
        artifact.created_at.0,
    ])?;
    Ok(())
}

/// Fills in the artifacts of these backups, in the order they were made.
pub(super) fn fill(db: &Connection, backups: &mut [Backup]) -> Outcome<()> {
    if backups.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = backups.iter().map(|backup| text(backup.id)).collect();
    let places = vec!["?"; ids.len()].join(", ");
    let sql = format!("SELECT {COLUMNS} FROM artifacts WHERE backup_id IN ({places}) ORDER BY created_at, id");
    let mut by_backup: HashMap<BackupId, Vec<Artifact>> = HashMap::new();
    for artifact in query::all(db, &sql, &ids, read)? {
        by_backup.entry(artifact.backup_id).or_default().push(artifact);
    }
    for backup in backups {
        backup.artifacts = by_backup.remove(&backup.id).unwrap_or_default();
    }
    Ok(())
}

/// The keys of every artifact in a store.
pub(super) fn keys(db: &Connection, store: StoreId) -> Outcome<Vec<String>> {
    query::all(db, "SELECT key FROM artifacts WHERE store_id = ?1", &[text(store)], |row| row::plain(row, "key"))
}

fn read(row: &Row<'_>) -> Outcome<Artifact> {
    Ok(Artifact {
        id: row::parsed(row, "id")?,
        backup_id: row::parsed(row, "backup_id")?,
        kind: row::parsed(row, "kind")?,
        format: row::parsed(row, "format")?,
        store_id: row::parsed(row, "store_id")?,
        key: row::plain(row, "key")?,
        plain_size: row::count(row, "plain_size")?,
        stored_size: row::count(row, "stored_size")?,
        plain_sha256: row::plain(row, "plain_sha256")?,
        stored_sha256: row::plain(row, "stored_sha256")?,
        compression: row::parsed(row, "compression")?,
        key_id: row::plain(row, "key_id")?,
        created_at: row::moment(row, "created_at")?,
    })
}
