//! Pins, in the catalogue and in the manifest of every store that has the backup, so that a catalogue rebuilt from any of them
//! knows of them.

use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    db::{self, manifest_writes::ManifestWrite},
    domain::{
        backup::Backup,
        ids::BackupId,
        permissions::{Actor, Permission},
    },
    error::{Error, Result},
    services::{
        Ctx, audit,
        manifests::{self, Seal},
        stores,
    },
};

/// One at a time: of two writers of a manifest the later one must be the one that knows the newer pin.
static WRITING: Mutex<()> = Mutex::const_new(());

/// Keeps a backup from ever being deleted by retention, or lets go of it. Its manifests say so too, for a rebuild; a store that
/// cannot be reached now is told later, by [`write_noted`].
pub async fn pin(ctx: &Ctx, actor: &Actor, id: BackupId, pinned: bool) -> Result<Backup> {
    actor.require(Permission::RunBackups)?;
    let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
    // The pin holds in this catalogue even while a store is away.
    db::backups::set_pinned(&ctx.db, actor.organization_id, id, pinned, ctx.now()).await?;
    write(ctx, Some(backup.id)).await?;
    let waiting = db::manifest_writes::stores_of(&ctx.db, id).await?;
    let details = if waiting.is_empty() { json!({}) } else { json!({ "manifestsToWrite": waiting }) };
    audit::record(ctx, actor, if pinned { "backup.pin" } else { "backup.unpin" }, id, details).await?;
    db::backups::get(&ctx.db, actor.organization_id, id).await
}

/// The stores whose manifests do not say yet whether the backup is pinned: they could not be reached.
pub async fn waiting(ctx: &Ctx, actor: &Actor, id: BackupId) -> Result<Vec<String>> {
    actor.require(Permission::View)?;
    db::backups::get(&ctx.db, actor.organization_id, id).await?;
    db::manifest_writes::stores_of(&ctx.db, id).await
}

/// Writes the manifests that could not be written before. Returns how many still could not.
pub async fn write_noted(ctx: &Ctx) -> Result<u64> {
    write(ctx, None).await
}

/// [`write_noted`] of one backup.
pub async fn write_of(ctx: &Ctx, id: BackupId) -> Result<u64> {
    write(ctx, Some(id)).await
}

/// Writes the noted manifests of one backup or of all; one store that refuses keeps no other from being written.
async fn write(ctx: &Ctx, only: Option<BackupId>) -> Result<u64> {
    let _one_at_a_time = WRITING.lock().await;
    let mut refused = 0;
    for noted in db::manifest_writes::list(&ctx.db, only).await? {
        let backup = match db::backups::get(&ctx.db, noted.organization_id, noted.backup_id).await {
            Err(error) if error.kind == crate::error::Kind::NotFound => continue,
            found => found?,
        };
        match write_one(ctx, &backup, &noted).await {
            Ok(()) => db::manifest_writes::done(&ctx.db, backup.id, noted.store_id, backup.pinned).await?,
            Err(error) => {
                refused += 1;
                tracing::warn!(
                    backup = %backup.id, store = noted.store_name, pinned = backup.pinned, %error,
                    "the manifest does not say yet whether the backup is pinned, so a rebuild from this store would not know; it is tried again"
                );
            }
        }
    }
    Ok(refused)
}

async fn write_one(ctx: &Ctx, backup: &Backup, noted: &ManifestWrite) -> Result<()> {
    let Some(key) = &backup.manifest_key else { return Ok(()) };
    let store = stores::open(ctx, noted.organization_id, noted.store_id).await?;
    let (mut manifest, seal) = manifests::fetch(store.as_ref(), key, Some(&ctx.keys)).await?;
    if seal != Seal::Intact {
        tracing::warn!(
            backup = %backup.id, store = noted.store_name,
            "the manifest is not signed, and signing it now would vouch for what anyone may have written: it cannot say that the backup is pinned"
        );
        return Ok(());
    }
    if manifest.backup_id != backup.id {
        return Err(Error::conflict(format!("{key} is the manifest of another backup")));
    }
    if manifest.pinned == backup.pinned {
        return Ok(());
    }
    manifest.pinned = backup.pinned;
    let bytes = manifests::sign(&mut manifest, Some(&ctx.keys))?;
    store.put(key, Box::pin(futures_util::stream::iter([Ok(bytes.into())]))).await.map(drop)
}
