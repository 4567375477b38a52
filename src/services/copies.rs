//! Backups written to further stores, and read from there when their own store has lost them.

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Ctx, backup, flow::Flow, jobs, retention, stores};
use crate::{
    db::{self, backup_copies::Unmade},
    domain::{
        artifact::Artifact,
        backup::{Backup, BackupStatus},
        copy::{BackupCopy, CopyStatus},
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
/// A store that refused a copy is not asked again by the next backup within this time, milliseconds: an hour.
const REST_MS: i64 = 60 * 60 * 1000;

/// Where else a backup is, or shall be.
pub async fn list(ctx: &Ctx, actor: &Actor, id: BackupId) -> Result<Vec<BackupCopy>> {
    actor.require(Permission::View)?;
    db::backups::get(&ctx.db, actor.organization_id, id).await?;
    db::backup_copies::of_backup(&ctx.db, id).await
}

/// After a good backup of a schedule with more destinations: notes the copies and queues the jobs that make them. After such a job:
/// queues another for what was noted while it ended. May be called twice for one job.
pub(super) async fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job) -> Result<()> {
    if job.status != JobStatus::Completed {
        return Ok(());
    }
    if let (JobKind::Copy, Some(store)) = (job.kind, store_of(job)) {
        return queue(ctx, Some(store)).await;
    }
    let (JobKind::Backup, Some(schedule), Some(backup)) = (job.kind, job.schedule_id, job.backup_id) else { return Ok(()) };
    let destinations = db::retention::destinations(&ctx.db, organization, schedule).await?;
    if destinations.is_empty() {
        return Ok(());
    }
    db::backup_copies::insert(&ctx.db, backup, &destinations, ctx.now()).await?;
    for store in destinations {
        queue(ctx, Some(store)).await?;
    }
    Ok(())
}

/// Forgets the copies that nothing asks for any more, and queues those again that could not be made.
pub(super) async fn again(ctx: &Arc<Ctx>) -> Result<()> {
    forget_unwanted(ctx, OrganizationId::DEFAULT).await?;
    queue(ctx, None).await
}

/// Forgets the copies that were never made and that no schedule asks for any more: they hold up nothing then.
pub(super) async fn forget_unwanted(ctx: &Ctx, organization: OrganizationId) -> Result<()> {
    let forgotten = db::backup_copies::forget_unwanted(&ctx.db, organization).await?;
    if forgotten > 0 {
        tracing::info!(forgotten, "copies that were never made are not asked for any more");
    }
    Ok(())
}

/// Queues one job for each store, or for this one, that has copies to be made and no job that makes them. A store that
/// has just refused is left in peace for a while, unless all are asked for.
pub(super) async fn queue(ctx: &Ctx, only: Option<StoreId>) -> Result<()> {
    for Unmade { organization, store, failed_at } in db::backup_copies::unmade(&ctx.db, only).await? {
        let resting = failed_at.is_some_and(|at| (ctx.now().0 - at.0).abs() < REST_MS);
        if only.is_some() && resting {
            continue;
        }
        let job = Job {
            payload: json!({ "storeId": store }),
            exclusive_key: Some(format!("copy:{store}")),
            priority: PRIORITY,
            ..jobs::new(JobKind::Copy, ctx)
        };
        jobs::enqueue(ctx, &Actor { organization_id: organization, ..Actor::system() }, job).await?;
    }
    Ok(())
}

/// The store that a copy job writes to.
pub(super) fn store_of(job: &Job) -> Option<StoreId> {
    job.payload["storeId"].as_str().and_then(|id| id.parse().ok())
}

/// Makes every copy that is still to be made in a store. What refuses one backup keeps no other from its copy; the job then fails,
/// to be tried again. A store that does not answer is asked once.
pub(super) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = store_of(job).ok_or_else(|| Error::internal("a copy job without a store"))?;
    let name = match db::stores::get(&ctx.db, organization, id).await {
        Ok(config) => config.name,
        Err(error) if error.kind == Kind::NotFound => {
            run.info("the store is not configured any more: there is nothing to copy to it");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let target = Target { id, name };
    let mut tried = HashSet::new();
    let mut refused: Option<Error> = None;
    loop {
        let mut waiting = db::backup_copies::to_make(&ctx.db, organization, id).await?;
        waiting.retain(|backup| tried.insert(*backup));
        if waiting.is_empty() {
            break;
        }
        for backup in waiting {
            run.check()?;
            // Asked before each: a store that went away makes no list of failures as long as the backups are.
            target.answer(ctx, organization, run).await?;
            match copy(ctx, organization, backup, &target, run).await {
                Ok(()) => {}
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => {
                    run.error(format!("copying backup {backup} to '{}' failed: {error}", target.name));
                    refused.get_or_insert(error.while_doing(format!("copying to '{}'", target.name)));
                }
            }
        }
    }
    refused.map_or(Ok(()), |error| Err(error.retryable()))
}

/// Where a job copies to.
struct Target {
    id: StoreId,
    name: String,
}

impl Target {
    /// Errors when the store cannot be written to; every copy that waits for it says so then.
    async fn answer(&self, ctx: &Ctx, organization: OrganizationId, run: &Run) -> Result<()> {
        let asked = run.until_cancelled(stores::ask(ctx, organization, self.id, stores::PATIENCE)).await;
        let Err(error) = asked else { return Ok(()) };
        if !error.is_cancelled() {
            db::backup_copies::refuse(&ctx.db, self.id, &error.to_string(), ctx.now()).await?;
        }
        Err(error.while_doing(format!("copying to '{}'", self.name)).retryable())
    }
}

/// Makes one copy, records how it ended, and has retention look at the database again.
async fn copy(ctx: &Arc<Ctx>, organization: OrganizationId, id: BackupId, target: &Target, run: &Run) -> Result<()> {
    let backup = match db::backups::get(&ctx.db, organization, id).await {
        Ok(backup) if backup.status == BackupStatus::Completed => backup,
        Ok(_) => return Ok(()),
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let copies = db::backup_copies::of_backup(&ctx.db, id).await?;
    let Some(copy) = copies.into_iter().find(|copy| copy.store_id == target.id) else { return Ok(()) };
    let to = stores::open(ctx, organization, target.id).await?;
    let made = make(ctx, organization, &backup, to.as_ref(), &target.name, run).await;
    let (status, error) = match &made {
        Ok(()) => (CopyStatus::Complete, None),
        Err(error) => (CopyStatus::Failed, Some(error.to_string())),
    };
    let recorded = db::backup_copies::finish(&ctx.db, id, target.id, status, error.as_deref(), ctx.now()).await?;
    // What was damaged may still be of use to somebody, as long as nothing better is there.
    if !recorded || (made.is_err() && copy.status != CopyStatus::Damaged) {
        // No manifest vouches for what is there: it would only take up room.
        take_back(&backup, to.as_ref(), run).await;
    }
    made?;
    if !recorded {
        run.info(format!("the copy of backup {id} is not asked for any more"));
        return Ok(());
    }
    // Its manifest is the one that was read: the pin may be newer.
    db::manifest_writes::note_store(&ctx.db, id, target.id, ctx.now()).await?;
    backup::write_noted_pins_of(ctx, id).await?;
    run.info(format!("copied to '{}': {} bytes, read back and equal", target.name, backup.stored_size()));
    match backup.database_id {
        Some(database) => retention::due(ctx, organization, database).await,
        None => Ok(()),
    }
}

/// Removes what is under a backup's keys in a store that is not to have it. What stays behind is told and does no harm.
async fn take_back(backup: &Backup, from: &dyn Store, run: &Run) {
    for key in backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key)) {
        if let Err(error) = from.delete(key).await {
            run.warn(format!("{key} may be left behind: {error}"));
            return;
        }
    }
}

/// Writes one copy: each artifact, read back; the manifest last, so that a copy without it is none.
async fn make(ctx: &Ctx, organization: OrganizationId, backup: &Backup, to: &dyn Store, name: &str, run: &Run) -> Result<()> {
    let manifest = backup.manifest_key.as_deref().ok_or_else(|| Error::conflict("the backup has no manifest"))?;
    let from = readable_in(ctx, organization, backup, run).await?.store;
    // What was damaged there is no copy any more from here on.
    to.delete(manifest).await?;
    for artifact in &backup.artifacts {
        transfer(artifact, from.as_ref(), to, name, run).await?;
    }
    to.put(manifest, from.get(manifest, None).await?).await.map(drop)
}

/// Copies one artifact and reads it back. Public for tests with stores that are slow.
pub async fn transfer(artifact: &Artifact, from: &dyn Store, to: &dyn Store, name: &str, run: &Run) -> Result<()> {
    let flow = Flow::new(run, format!("copying to {name}"), artifact.stored_size);
    let body = flow.through(proven(artifact, from.get(&artifact.key, None).await?));
    run.until_cancelled(to.put(&artifact.key, body)).await?;
    let flow = Flow::new(run, format!("reading back from {name}"), artifact.stored_size);
    let read_back = flow.through(to.get(&artifact.key, None).await?);
    let digest = run.until_cancelled(digest(read_back)).await?;
    if digest != artifact.stored_sha256 {
        return Err(Error::new(Kind::Storage, format!("{} reads back differently from '{name}'", artifact.key))
            .hint("check the disk of that store"));
    }
    Ok(())
}

/// The same stream; it ends with an error unless it is what was backed up, so that damage is not passed on.
fn proven(artifact: &Artifact, stream: ByteStream) -> ByteStream {
    let (key, expected) = (artifact.key.clone(), artifact.stored_sha256.clone());
    let begin = (stream, Sha256::new());
    Box::pin(stream::try_unfold(begin, move |(mut stream, mut digest)| {
        let wrong = || Error::new(Kind::Storage, format!("{key} is not what was backed up: it is damaged where it is copied from"));
        let (wrong, expected) = (wrong(), expected.clone());
        async move {
            match stream.next().await.transpose()? {
                Some(piece) => {
                    digest.update(&piece);
                    Ok(Some((piece, (stream, digest))))
                }
                None if hex::encode(digest.finalize()) == expected => Ok(None),
                None => Err(wrong.hint("verify the backup")),
            }
        }
    }))
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
