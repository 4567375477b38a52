//! Takes backups out of their stores. Whoever calls has marked what is to go, so that nothing begins to use it.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    db,
    domain::{
        backup::{Backup, BackupStatus},
        copy::CopyStatus,
        events::Event,
        ids::{OrganizationId, StoreId},
    },
    error::{Error, Kind, Result},
    services::{Ctx, stores},
};

/// How long a store is waited for that has nothing of worth.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store that did not remove everything.
pub(in crate::services) struct Refused {
    pub error: Error,
    /// Nothing was removed: what was to go is whole.
    pub untouched: bool,
}

/// Removes a backup that says `deleting` from every store it is in, then its row. When a store refuses, the row stays; it says
/// what it said before if all of the backup is still there, and `deleting` otherwise, to be tried again.
pub(in crate::services) async fn whole(ctx: &Ctx, organization: OrganizationId, backup: &Backup) -> Result<()> {
    let mut untouched = true;
    let (unmade, made): (Vec<_>, Vec<_>) = db::backup_copies::of_backup(&ctx.db, backup.id)
        .await?
        .into_iter()
        .partition(|copy| matches!(copy.status, CopyStatus::Queued | CopyStatus::Failed));
    for copy in made {
        if let Err(refused) = files(ctx, organization, backup, copy.store_id).await {
            return give_up(ctx, backup, Refused { untouched: untouched && refused.untouched, ..refused }).await;
        }
        untouched = false;
        db::backup_copies::remove(&ctx.db, backup.id, copy.store_id).await?;
    }
    if let Err(refused) = files(ctx, organization, backup, backup.store_id).await {
        return give_up(ctx, backup, Refused { untouched: untouched && refused.untouched, ..refused }).await;
    }
    for copy in unmade {
        // A copy that was never made is nothing to wait for. At most there are pieces of it that no manifest vouches for.
        db::backup_copies::remove(&ctx.db, backup.id, copy.store_id).await?;
        let removed = timeout(PATIENCE, files(ctx, organization, backup, copy.store_id)).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(backup = %backup.id, store = copy.store_name, "a copy that was never made may have left pieces behind");
        }
    }
    match db::backups::delete(&ctx.db, organization, backup.id).await {
        // Somebody else was removing it too.
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        deleted => deleted,
    }
}

async fn give_up(ctx: &Ctx, backup: &Backup, refused: Refused) -> Result<()> {
    if refused.untouched {
        db::backups::release(&ctx.db, backup.id).await?;
        let status = if backup.manifest_key.is_some() { BackupStatus::Completed } else { BackupStatus::Failed };
        ctx.tell(Event::Backup { backup_id: backup.id, status });
    }
    Err(refused.error)
}

/// Removes a copy that says `deleting` from its store, then its row. When the store refuses, the row stays, as with [`whole`].
pub(in crate::services) async fn copy(ctx: &Ctx, organization: OrganizationId, backup: &Backup, store: StoreId) -> Result<()> {
    match files(ctx, organization, backup, store).await {
        Ok(()) => db::backup_copies::remove(&ctx.db, backup.id, store).await,
        Err(refused) => {
            if refused.untouched {
                db::backup_copies::release(&ctx.db, backup.id, store).await?;
            }
            Err(refused.error)
        }
    }
}

/// Removes the files of a backup from one store: only those that its own row names.
async fn files(ctx: &Ctx, organization: OrganizationId, backup: &Backup, store: StoreId) -> Result<(), Refused> {
    let store = stores::open(ctx, organization, store).await.map_err(|error| Refused { error, untouched: true })?;
    for artifact in &backup.artifacts {
        ctx.snapshots.forget(artifact.id);
    }
    // The manifest goes first: what it vouched for is then an orphan, never a backup with missing artifacts.
    let keys: Vec<_> = backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key)).collect();
    if let Some(first) = keys.first() {
        // A store that is away is asked for nothing.
        store.stat(first).await.map_err(|error| Refused { error, untouched: true })?;
    }
    for (index, key) in keys.into_iter().enumerate() {
        if let Err(error) = store.delete(key).await {
            let untouched = index == 0 && matches!(store.stat(key).await, Ok(Some(_)));
            return Err(Refused { error: error.while_doing(format!("deleting {key}")), untouched });
        }
    }
    Ok(())
}
