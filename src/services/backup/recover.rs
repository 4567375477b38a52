//! After a crash: every unfinished backup is completed from its manifest, or removed from its store.

use std::sync::Arc;

use futures_util::StreamExt;

use super::{execute, produce::Produced};
use crate::{
    db,
    domain::{
        backup::{Backup, BackupStatus},
        ids::OrganizationId,
        naming,
        time::Moment,
    },
    error::Result,
    services::{Ctx, jobs, manifests, rebuild, stores},
    stores::Store,
};

/// How far back failed backups are looked at, milliseconds: a week.
const LOOKED_BACK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Brings catalogue and stores into agreement. Their jobs are requeued or ended by the queue afterwards.
pub(in crate::services) async fn recover(ctx: &Arc<Ctx>) -> Result<()> {
    remove_leftovers(ctx).await?;
    for (organization, backup) in db::backups::unfinished(&ctx.db).await? {
        let id = backup.id;
        let Some(started_at) = backup.started_at else {
            // It wrote nothing. As a rule its job is still in the queue.
            if !jobs::is_open(ctx, organization, backup.job_id).await? {
                db::backups::finish(
                    &ctx.db,
                    id,
                    BackupStatus::Interrupted,
                    Some("the process ended before the backup was queued"),
                    ctx.now(),
                )
                .await?;
            }
            continue;
        };
        match recover_one(ctx, organization, backup, started_at).await {
            Ok(true) => continue,
            Ok(false) => {}
            // The store may be away for now. No manifest vouches for what is left there.
            Err(error) => tracing::warn!(backup = %id, %error, "what an interrupted backup left in its store could not be removed"),
        }
        let error = "the process ended while the backup ran; what it had written was removed";
        db::backups::finish(&ctx.db, id, BackupStatus::Interrupted, Some(error), ctx.now()).await?;
    }
    Ok(())
}

/// Removes what failed backups left in their stores: the process may have ended before it could, a store may have been
/// away. Backups that ended long ago were looked at by many starts.
async fn remove_leftovers(ctx: &Arc<Ctx>) -> Result<()> {
    let since = Moment(ctx.now().0 - LOOKED_BACK_MS);
    for (organization, backup) in db::backups::unsuccessful(&ctx.db, since).await? {
        let Some(started_at) = backup.started_at else { continue };
        let removed = match stores::open(ctx, organization, backup.store_id).await {
            Ok(store) => remove_files(store.as_ref(), &backup, started_at).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(backup = %backup.id, %error, "what a failed backup may have left in its store could not be removed");
        }
    }
    Ok(())
}

/// True when the backup turned out to be complete.
async fn recover_one(ctx: &Arc<Ctx>, organization: OrganizationId, mut backup: Backup, started_at: Moment) -> Result<bool> {
    let store = stores::open(ctx, organization, backup.store_id).await?;
    let stem = naming::stem(&backup.database_name, backup.kind, started_at, backup.id);
    let manifest_key = format!("{}/{}", naming::folder(&backup.database_name, started_at), naming::manifest_file(&stem));

    if let Some(produced) = complete_in_store(ctx, store.as_ref(), &backup, &manifest_key).await? {
        execute::adopt(&mut backup, produced);
        db::backups::complete(&ctx.db, &backup).await?;
        tracing::info!(backup = %backup.id, "the process ended between the manifest and the catalogue: the backup is complete and was taken over");
        return Ok(true);
    }
    remove_files(store.as_ref(), &backup, started_at).await?;
    Ok(false)
}

/// Removes every file of a backup that did not complete.
async fn remove_files(store: &dyn Store, backup: &Backup, started_at: Moment) -> Result<()> {
    let stem = naming::stem(&backup.database_name, backup.kind, started_at, backup.id);
    let prefix = format!("{}/{stem}.", naming::folder(&backup.database_name, started_at));
    let mut leftovers = Vec::new();
    let mut listing = store.list(&prefix);
    while let Some(object) = listing.next().await {
        leftovers.push(object?.key);
    }
    for key in leftovers {
        store.delete(&key).await?;
        tracing::info!(backup = %backup.id, key, "removed what an unfinished backup left");
    }
    Ok(())
}

/// The backup as its manifest tells it, when the manifest is there, authentic, and every artifact is there in full size.
/// The manifest is written after each artifact was read back, so the sizes are proof enough here.
async fn complete_in_store(ctx: &Ctx, store: &dyn Store, backup: &Backup, manifest_key: &str) -> Result<Option<Produced>> {
    if store.stat(manifest_key).await?.is_none() {
        return Ok(None);
    }
    let (manifest, _) = manifests::fetch(store, manifest_key, Some(&ctx.keys)).await?;
    if manifest.backup_id != backup.id {
        return Ok(None);
    }
    for artifact in &manifest.artifacts {
        let key = manifests::beside(manifest_key, &artifact.file);
        if store.stat(&key).await?.is_none_or(|object| object.size != artifact.stored_size) {
            return Ok(None);
        }
    }
    let artifacts = rebuild::artifacts(&manifest, manifest_key, backup.store_id);
    Ok(Some(Produced { manifest, manifest_key: manifest_key.to_owned(), artifacts }))
}
