//! Snapshots in the product: made with backups, opened where they are stored, looked at, restored from.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    db,
    domain::{
        artifact::{Artifact, ArtifactKind},
        backup::Backup,
        ids::{ArtifactId, BackupId, OrganizationId},
    },
    error::{Context, Error, Kind, Result},
    pipeline::keys::KeyRing,
    services::{Ctx, copies},
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

/// Snapshots that were opened last.
#[derive(Default)]
pub struct Opened(Mutex<Vec<(ArtifactId, Arc<Snapshot>)>>);

impl Opened {
    fn find(&self, id: ArtifactId) -> Option<Arc<Snapshot>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| *known == id)?;
        let found = kept.remove(at);
        let snapshot = found.1.clone();
        kept.push(found);
        Some(snapshot)
    }

    fn keep(&self, id: ArtifactId, snapshot: Arc<Snapshot>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != id);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((id, snapshot));
    }

    /// Forgets a snapshot that may have changed or gone.
    pub fn forget(&self, id: ArtifactId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != id);
    }
}

/// The snapshot of a backup. Errors with `NotFound` when the backup has none. Its reads block: use it where that is allowed.
pub async fn open(ctx: &Ctx, organization: OrganizationId, id: BackupId) -> Result<Arc<Snapshot>> {
    let backup = db::backups::get(&ctx.db, organization, id).await?;
    open_of(ctx, organization, &backup).await
}

/// See [`open`].
pub async fn open_of(ctx: &Ctx, organization: OrganizationId, backup: &Backup) -> Result<Arc<Snapshot>> {
    let artifact = backup.artifact(ArtifactKind::Snapshot).ok_or_else(|| {
        Error::not_found(format_args!("a snapshot of backup {}", backup.id)).hint("choose a backup with the artifact snapshot, or make one")
    })?;
    if let Some(snapshot) = ctx.snapshots.find(artifact.id) {
        return Ok(snapshot);
    }
    let (store, _) = copies::readable(ctx, organization, backup).await?;
    let snapshot = Arc::new(open_stored(store, artifact, Some(&ctx.keys)).await?);
    ctx.snapshots.keep(artifact.id, snapshot.clone());
    Ok(snapshot)
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
