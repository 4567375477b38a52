//! Backups written to further stores, and read from there when their own store has lost them.

use std::sync::Arc;

use futures_util::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Ctx, audit, backup, jobs, stores};
use crate::{
    db,
    domain::{
        artifact::Artifact,
        backup::{Backup, BackupStatus},
        copy::{BackupCopy, CopyStatus},
        events::Progress,
        ids::{BackupId, OrganizationId, StoreId},
        job::{Job, JobKind, JobStatus},
        permissions::{Actor, Permission},
        run::Run,
        stream::ByteStream,
    },
    error::{Error, Kind, Result},
    stores::Store,
};

/// Of copies: the backup itself is made first, and what people ask for goes before.
const PRIORITY: i32 = -10;

/// Where else a backup is, or shall be.
pub async fn list(ctx: &Ctx, actor: &Actor, id: BackupId) -> Result<Vec<BackupCopy>> {
    actor.require(Permission::View)?;
    db::backups::get(&ctx.db, actor.organization_id, id).await?;
    db::backup_copies::of_backup(&ctx.db, id).await
}

/// After a good backup of a schedule with more destinations: notes the copies and queues the job that makes them. May be called
/// twice for one job.
pub(super) async fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job) -> Result<()> {
    let (JobKind::Backup, JobStatus::Completed, Some(schedule), Some(backup)) = (job.kind, job.status, job.schedule_id, job.backup_id)
    else {
        return Ok(());
    };
    let destinations = db::retention::destinations(&ctx.db, organization, schedule).await?.unwrap_or_default();
    if destinations.is_empty() {
        return Ok(());
    }
    db::backup_copies::insert(&ctx.db, backup, &destinations, ctx.now()).await?;
    queue_unmade(ctx, Some(backup)).await
}

/// Queues the copies again that could not be made; those that nobody wants any more are given up.
pub(super) async fn again(ctx: &Arc<Ctx>) -> Result<()> {
    give_up_unwanted(ctx).await?;
    queue_unmade(ctx, None).await
}

/// Copies that could not be made, for stores that their schedule does not name any more. They would keep their backups for ever.
async fn give_up_unwanted(ctx: &Ctx) -> Result<()> {
    for (organization, id) in db::backup_copies::unmade(&ctx.db).await? {
        let backup = db::backups::get(&ctx.db, organization, id).await?;
        let Some(schedule) = backup.schedule_id else { continue };
        let Some(wanted) = db::retention::destinations(&ctx.db, organization, schedule).await? else { continue };
        for copy in db::backup_copies::of_backup(&ctx.db, id).await? {
            if !matches!(copy.status, CopyStatus::Queued | CopyStatus::Failed) || wanted.contains(&copy.store_id) {
                continue;
            }
            if let Err(error) = backup::remove::half_made(ctx, organization, &backup, copy.store_id).await {
                tracing::warn!(backup = %id, store = copy.store_name, %error, "a copy is given up, and what was written of it could not be removed");
            }
            db::backup_copies::remove(&ctx.db, id, copy.store_id).await?;
            let details = json!({ "store": copy.store_name, "why": "the schedule does not name the store any more" });
            audit::record(ctx, &Actor { organization_id: organization, ..Actor::system() }, "backup.copy.give_up", id, details).await?;
        }
    }
    Ok(())
}

/// One job for each backup, or for this one, that has copies to be made and no job for them.
async fn queue_unmade(ctx: &Ctx, only: Option<BackupId>) -> Result<()> {
    for (organization, id) in db::backup_copies::unmade(&ctx.db).await? {
        if only.is_some_and(|only| only != id) {
            continue;
        }
        let backup = db::backups::get(&ctx.db, organization, id).await?;
        let job = Job {
            database_id: backup.database_id,
            backup_id: Some(id),
            schedule_id: backup.schedule_id,
            exclusive_key: Some(format!("copy:{id}")),
            priority: PRIORITY,
            ..jobs::new(JobKind::Copy, ctx)
        };
        jobs::enqueue(ctx, &Actor { organization_id: organization, ..Actor::system() }, job).await?;
    }
    Ok(())
}

/// Makes the copies of a backup that are not made yet. One store that refuses keeps no other from its copy; the job then fails,
/// to be tried again.
pub(super) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = job.backup_id.ok_or_else(|| Error::internal("a copy job without a backup"))?;
    let backup = match db::backups::get(&ctx.db, organization, id).await {
        Ok(backup) if backup.status == BackupStatus::Completed => backup,
        Ok(backup) => return Err(Error::conflict(format!("the backup is {}: only a completed one can be copied", backup.status))),
        Err(error) => return Err(error),
    };
    let mut refused = None;
    for copy in db::backup_copies::of_backup(&ctx.db, id).await? {
        if !matches!(copy.status, CopyStatus::Queued | CopyStatus::Failed) {
            continue;
        }
        run.check()?;
        let made = make(ctx, organization, &backup, &copy, run).await;
        let (status, error) = match &made {
            Ok(()) => (CopyStatus::Complete, None),
            Err(error) => (CopyStatus::Failed, Some(error.to_string())),
        };
        db::backup_copies::finish(&ctx.db, id, copy.store_id, status, error.as_deref(), ctx.now()).await?;
        match made {
            Ok(()) => {
                // Its manifest is the one that was read: the pin may be newer.
                db::manifest_writes::note_store(&ctx.db, id, copy.store_id, ctx.now()).await?;
                run.info(format!("copied to '{}': {} bytes, read back and equal", copy.store_name, backup.stored_size()));
            }
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => {
                run.error(format!("copying to '{}' failed: {error}", copy.store_name));
                refused.get_or_insert(error.while_doing(format!("copying to '{}'", copy.store_name)));
            }
        }
    }
    backup::write_noted_pins_of(ctx, id).await?;
    refused.map_or(Ok(()), |error| Err(error.retryable()))
}

/// Writes one copy: each artifact, read back; the manifest last, so that a copy without it is none.
async fn make(ctx: &Ctx, organization: OrganizationId, backup: &Backup, copy: &BackupCopy, run: &Run) -> Result<()> {
    let manifest = backup.manifest_key.as_deref().ok_or_else(|| Error::conflict("the backup has no manifest"))?;
    let from = readable_in(ctx, organization, backup, run).await?.store;
    let to = stores::open(ctx, organization, copy.store_id).await?;
    for artifact in &backup.artifacts {
        run.progress(&Progress {
            stage: format!("copying to {}", copy.store_name),
            total_bytes: Some(backup.stored_size()),
            ..Progress::default()
        });
        run.until_cancelled(to.put(&artifact.key, from.get(&artifact.key, None).await?)).await?;
        let digest = run.until_cancelled(async { digest(to.get(&artifact.key, None).await?).await }).await?;
        if digest != artifact.stored_sha256 {
            // Under that key must be the artifact or nothing.
            to.delete(&artifact.key).await?;
            return Err(Error::new(Kind::Storage, format!("{} reads back differently from '{}'", artifact.key, copy.store_name))
                .hint("verify the backup in its own store, and check the disk of the other"));
        }
    }
    to.put(manifest, from.get(manifest, None).await?).await.map(drop)
}

/// SHA-256 of all of a stream, hex.
async fn digest(mut stream: ByteStream) -> Result<String> {
    let mut digest = Sha256::new();
    while let Some(piece) = stream.next().await {
        digest.update(&piece?);
    }
    Ok(hex::encode(digest.finalize()))
}

/// A store that a backup is read from.
pub(super) struct Readable {
    pub store: Arc<dyn Store>,
    pub store_id: StoreId,
    /// Why it is not the backup's own store, in a sentence.
    pub instead: Option<String>,
}

/// A store that has the whole backup: its own, or when that has lost it or is away, one with a copy. Errors as the backup's own
/// store does when no other has it.
pub(super) async fn readable(ctx: &Ctx, organization: OrganizationId, backup: &Backup) -> Result<Readable> {
    let own = holding(ctx, organization, backup, backup.store_id).await;
    let Err(error) = own else { return own.map(|store| Readable { store, store_id: backup.store_id, instead: None }) };
    for copy in db::backup_copies::of_backup(&ctx.db, backup.id).await? {
        if copy.status != CopyStatus::Complete {
            continue;
        }
        match holding(ctx, organization, backup, copy.store_id).await {
            Ok(store) => {
                let own = db::stores::get(&ctx.db, organization, backup.store_id).await?.name;
                let instead = format!(
                    "the backup is read from its copy in '{}': its own store '{own}' cannot give it whole: {error}",
                    copy.store_name
                );
                tracing::warn!(backup = %backup.id, "{instead}");
                return Ok(Readable { store, store_id: copy.store_id, instead: Some(instead) });
            }
            Err(error) => tracing::warn!(backup = %backup.id, store = copy.store_name, %error, "a copy cannot be read either"),
        }
    }
    // Its own store tells best what is wrong, and may still have the part that is asked for.
    Ok(Readable { store: stores::open(ctx, organization, backup.store_id).await?, store_id: backup.store_id, instead: None })
}

/// [`readable`] for a job, whose log says when it is not the backup's own store.
pub(super) async fn readable_in(ctx: &Ctx, organization: OrganizationId, backup: &Backup, run: &Run) -> Result<Readable> {
    let readable = readable(ctx, organization, backup).await?;
    if let Some(instead) = &readable.instead {
        run.warn(instead);
    }
    Ok(readable)
}

/// The store, when the manifest and every artifact are there in full size.
pub(super) async fn holding(ctx: &Ctx, organization: OrganizationId, backup: &Backup, id: StoreId) -> Result<Arc<dyn Store>> {
    let store = stores::open(ctx, organization, id).await?;
    if let Some(key) = &backup.manifest_key
        && store.stat(key).await?.is_none()
    {
        return Err(Error::not_found(key));
    }
    for Artifact { key, stored_size, .. } in &backup.artifacts {
        match store.stat(key).await? {
            Some(object) if object.size == *stored_size => {}
            Some(object) => return Err(Error::new(Kind::Storage, format!("{key} has {} bytes, {stored_size} were written", object.size))),
            None => return Err(Error::not_found(key)),
        }
    }
    Ok(store)
}

/// The stores that the catalogue says have the backup, but for one: its own, then those with a copy.
pub(super) async fn places(ctx: &Ctx, organization: OrganizationId, backup: &Backup, but: StoreId) -> Result<Vec<(StoreId, String)>> {
    let own = (backup.store_id, db::stores::get(&ctx.db, organization, backup.store_id).await?.name);
    let copies = db::backup_copies::of_backup(&ctx.db, backup.id).await?;
    let made = copies.into_iter().filter(|copy| copy.status == CopyStatus::Complete).map(|copy| (copy.store_id, copy.store_name));
    Ok(std::iter::once(own).chain(made).filter(|(id, _)| *id != but).collect())
}

/// Errors when the catalogue says that the backup lives on in other stores than this one, and none of them has it.
pub(super) async fn lives_on(ctx: &Ctx, organization: OrganizationId, backup: &Backup, but: StoreId) -> Result<()> {
    let mut lost = None;
    for (id, name) in places(ctx, organization, backup, but).await? {
        match holding(ctx, organization, backup, id).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                lost.get_or_insert(error.while_doing(format!("looking for it in '{name}', where it is to live on")));
            }
        }
    }
    lost.map_or(Ok(()), Err)
}

/// True when neither the manifest nor any artifact of the backup is in the store.
pub(super) async fn is_gone(store: &dyn Store, backup: &Backup) -> Result<bool> {
    for key in backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key)) {
        if store.stat(key).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a store has of a backup is damaged, and another has it whole: the whole one is its own store from now on, and the damaged
/// one is written again from it.
pub(super) async fn replace(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    backup: &Backup,
    damaged: StoreId,
    whole: StoreId,
    why: &str,
) -> Result<()> {
    for artifact in &backup.artifacts {
        ctx.snapshots.forget(artifact.id);
    }
    db::backup_copies::replace(&ctx.db, backup.id, damaged, whole, why, ctx.now()).await?;
    let details = json!({ "damaged": damaged, "whole": whole, "why": why });
    audit::record(ctx, &Actor { organization_id: organization, ..Actor::system() }, "backup.replace", backup.id, details).await?;
    queue_unmade(ctx, Some(backup.id)).await
}
