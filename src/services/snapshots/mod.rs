//! Snapshots in the product: made with backups, opened where they are stored, looked at, restored from.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    db,
    domain::{
        artifact::{Artifact, ArtifactKind},
        backup::Backup,
        ids::{ArtifactId, BackupId, OrganizationId, StoreId},
        run::Run,
    },
    error::{Context, Error, Kind, Result},
    pipeline::keys::KeyRing,
    services::{
        Ctx,
        copies::{self, Readable},
    },
    snapshot::{FileAt, ReadAt, Snapshot, Unlock},
    stores::Store,
};

pub mod browse;
mod file;
pub mod keys;
mod live;
pub mod text;
mod write;

pub use file::StoredFile;
pub use live::{Feed, LiveCursor, feed, live};
pub use write::{Spec, Written, count, write};

/// Opened snapshots that are kept, so that turning pages does not read their end again.
const KEPT: usize = 8;

/// How long it is believed that the store of an opened snapshot still has it: after that it is looked for again.
const BELIEVED: Duration = Duration::from_secs(30);

/// Snapshots that were opened last.
#[derive(Default)]
pub struct Opened(Mutex<Vec<Kept>>);

#[derive(Clone)]
struct Kept {
    id: ArtifactId,
    snapshot: Arc<Snapshot>,
    store: StoreId,
    /// When it was last seen in its store.
    seen: Instant,
}

impl Opened {
    fn find(&self, id: ArtifactId) -> Option<Kept> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|known| known.id == id)?;
        let found = kept.remove(at);
        kept.push(found.clone());
        Some(found)
    }

    fn keep(&self, opened: Kept) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.id != opened.id);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(opened);
    }

    /// Forgets a snapshot that may have changed or gone.
    pub fn forget(&self, id: ArtifactId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| known.id != id);
    }
}

/// The snapshot of a backup. Errors with `NotFound` when the backup has none. Its reads block: use it where that is allowed.
pub async fn open(ctx: &Ctx, organization: OrganizationId, id: BackupId) -> Result<Arc<Snapshot>> {
    let backup = db::backups::get(&ctx.db, organization, id).await?;
    open_of(ctx, organization, &backup).await
}

/// See [`open`].
pub async fn open_of(ctx: &Ctx, organization: OrganizationId, backup: &Backup) -> Result<Arc<Snapshot>> {
    let artifact = artifact_of(backup)?;
    match ctx.snapshots.find(artifact.id) {
        Some(known) if known.seen.elapsed() < BELIEVED => Ok(known.snapshot),
        _ => open_in(ctx, artifact, copies::readable(ctx, organization, backup).await?).await,
    }
}

/// [`open_of`] for a job, whose log says when it is not the backup's own store that is read.
pub async fn open_for(ctx: &Ctx, organization: OrganizationId, backup: &Backup, run: &Run) -> Result<Arc<Snapshot>> {
    let artifact = artifact_of(backup)?;
    open_in(ctx, artifact, copies::readable_in(ctx, organization, backup, run).await?).await
}

/// The snapshot in this store: the one that is open already, or newly opened.
async fn open_in(ctx: &Ctx, artifact: &Artifact, readable: Readable) -> Result<Arc<Snapshot>> {
    let Readable { store, store_id, .. } = readable;
    let snapshot = match ctx.snapshots.find(artifact.id).filter(|known| known.store == store_id) {
        Some(known) => known.snapshot,
        None => Arc::new(open_stored(store, artifact, Some(&ctx.keys)).await?),
    };
    ctx.snapshots.keep(Kept { id: artifact.id, snapshot: snapshot.clone(), store: store_id, seen: Instant::now() });
    Ok(snapshot)
}

fn artifact_of(backup: &Backup) -> Result<&Artifact> {
    backup.artifact(ArtifactKind::Snapshot).ok_or_else(|| {
        Error::not_found(format_args!("a snapshot of backup {}", backup.id)).hint("choose a backup with the artifact snapshot, or make one")
    })
}

/// A snapshot in a store. Errors when it has not the size that was recorded, and when its keys are missing.
pub async fn open_stored(store: Arc<dyn Store>, artifact: &Artifact, keys: Option<&KeyRing>) -> Result<Snapshot> {
    let file = StoredFile::open(store, &artifact.key).await?;
    if file.size() != artifact.stored_size {
        return Err(Error::new(
            Kind::Storage,
            format!("{} has {} bytes, {} were written: it is damaged", artifact.key, file.size(), artifact.stored_size),
        ));
    }
    let (file, keys) = (Arc::new(file), keys.cloned());
    blocking("opening the snapshot", move || Snapshot::open(file, keys.as_ref().map(|keys| keys as &dyn Unlock))).await
}

/// A snapshot in a local file.
pub async fn open_file(path: &Path, keys: Option<&KeyRing>) -> Result<Snapshot> {
    let (path, keys) = (path.to_owned(), keys.cloned());
    blocking("opening the snapshot", move || {
        let naming = || format!("opening {}", path.display());
        let file = Arc::new(FileAt::open(&path)?);
        Snapshot::open(file, keys.as_ref().map(|keys| keys as &dyn Unlock)).map_err(|error| error.while_doing(naming()))
    })
    .await
}

/// Runs work that reads snapshots on a thread where blocking is allowed.
pub async fn blocking<T: Send + 'static>(doing: &'static str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context(Kind::Internal, || doing.to_owned())?
}
