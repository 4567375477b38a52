//! Writing: a private file in `.incoming`, made durable, then renamed to its key.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::fd::OwnedFd,
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};
use tokio::sync::mpsc;

use super::{
    faults::fault,
    tree::{RACES, Tree, object},
};
use crate::{
    domain::{store::ObjectInfo, stream::PIECE},
    error::{Error, Kind, Result},
};

/// The folder of unfinished files in the root of a store.
pub(super) const INCOMING: &str = ".incoming";

/// Where nothing can be locked, a file that was not written to for this long is left behind: no writer waits for longer.
const STILL: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What the writer is told. A channel that closes before `Publish` means that the object is given up.
pub(super) enum Order {
    Piece(Bytes),
    Publish,
}

/// Writes what arrives and publishes it under `key`. `None` when the sender gave up; nothing is left behind then.
pub(super) fn write(tree: &Tree, key: &str, mut orders: mpsc::Receiver<Order>) -> Result<Option<ObjectInfo>> {
    let failed = |cause: std::io::Error| fault("writing", &tree.path(key), cause);
    let incoming = Incoming::create(tree, key)?;
    // Pieces as large as the buffer go past it; small ones are gathered.
    let mut out = BufWriter::with_capacity(PIECE, &incoming.file);
    let mut size = 0u64;
    loop {
        match orders.blocking_recv() {
            Some(Order::Piece(piece)) => {
                out.write_all(&piece).map_err(failed)?;
                size += piece.len() as u64;
            }
            Some(Order::Publish) => break,
            None => {
                // What is buffered is not worth writing.
                let _ = out.into_parts();
                return Ok(None);
            }
        }
    }
    out.flush().map_err(failed)?;
    drop(out);
    incoming.publish(tree, key, size).map(Some)
}

/// Proves that a file can be written, made durable and removed.
pub(super) fn probe(tree: &Tree) -> Result<()> {
    let probe = Incoming::create(tree, "probe")?;
    (&probe.file)
        .write_all(b"DBSnap was here to see whether it can write.\n")
        .and_then(|()| probe.file.sync_all())
        .map_err(|cause| fault("writing a probe to", tree.root(), cause))
}

/// Removes files that no living writer holds. Returns how many.
pub(super) fn sweep(tree: &Tree) -> Result<u64> {
    let failed = |cause: Errno| fault("sweeping", &tree.path(INCOMING), cause);
    let folder = match tree.folder([INCOMING], false) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(0),
        Err(cause) => return Err(failed(cause)),
    };
    let mut removed = 0;
    for entry in rustix::fs::Dir::read_from(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." || !is_left(&folder, name) {
            continue;
        }
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => removed += 1,
            Err(Errno::NOENT) => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    Ok(removed)
}

/// Whether no living writer holds the file, perhaps one of another process on the same folder. What cannot be told is held.
fn is_left(folder: &OwnedFd, name: &std::ffi::CStr) -> bool {
    // For writing: over NFS a file that is opened for reading cannot be locked so.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
    let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    let age = File::from(file).metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
    speaks_for_left(locked, age.unwrap_or_default())
}

/// `age` is the time since it was written to last.
fn speaks_for_left(locked: rustix::io::Result<()>, age: Duration) -> bool {
    match locked {
        Ok(()) => true,
        // A file system without locks: writers do without them there too.
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => age >= STILL,
        Err(_) => false,
    }
}

/// An unfinished file; dropping it removes it.
struct Incoming {
    folder: OwnedFd,
    name: String,
    file: File,
}

impl Incoming {
    fn create(tree: &Tree, key: &str) -> Result<Self> {
        let failed = |cause: Errno| fault("writing", &tree.path(key), cause);
        let folder = tree.folder([INCOMING], true).map_err(failed)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..RACES {
            let name = uuid::Uuid::new_v4().simple().to_string();
            let file = rustix::fs::openat(&folder, name.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            let incoming =
                Self { folder: folder.try_clone().map_err(|cause| fault("writing", &tree.path(key), cause))?, name, file: file.into() };
            // The lock tells a sweep that this file has a living writer; one that came in between made it nameless.
            match rustix::fs::flock(&incoming.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => {}
                Err(Errno::WOULDBLOCK) => continue,
                Err(cause) => return Err(failed(cause)),
            }
            if rustix::fs::fstat(&incoming.file).map_err(failed)?.st_nlink > 0 {
                return Ok(incoming);
            }
        }
        Err(Error::new(Kind::Storage, format!("'{INCOMING}' in {} is being swept again and again", tree.root().display())))
    }

    /// Makes the content durable, sees that it is all there, gives it its key and makes that durable.
    fn publish(self, tree: &Tree, key: &str, size: u64) -> Result<ObjectInfo> {
        let failed = |cause: Errno| fault("writing", &tree.path(key), cause);
        rustix::fs::fsync(&self.file).map_err(failed)?;
        let stat = rustix::fs::fstat(&self.file).map_err(failed)?;
        let written = object(key, &stat).filter(|object| object.size == size).ok_or_else(|| {
            Error::new(Kind::Storage, format!("{} has {} bytes where {size} were written", tree.path(key).display(), stat.st_size))
                .hint("something else writes into the store's folder, or the disk is failing")
        })?;
        let mut races = 0;
        let folder = loop {
            let moved = tree.parent(key, true).and_then(|(folder, name)| {
                rustix::fs::renameat(&self.folder, self.name.as_str(), &folder, name)?;
                Ok(folder)
            });
            match moved {
                Ok(folder) => break folder,
                // A concurrent delete removed the folder it had emptied: make it again.
                Err(Errno::NOENT) if races < RACES => races += 1,
                Err(cause) => return Err(failed(cause)),
            }
        };
        rustix::fs::fsync(&folder).map_err(failed)?;
        Ok(written)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already when it was published; what else fails is found by the next sweep.
        let _ = rustix::fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_or_a_long_silence_shows_that_a_file_was_left_behind() {
        let young = Duration::from_secs(3600);
        assert!(speaks_for_left(Ok(()), young));
        for held in [Errno::WOULDBLOCK, Errno::BADF, Errno::IO, Errno::INTR, Errno::STALE] {
            assert!(!speaks_for_left(Err(held), STILL), "{held}");
        }
        for without_locks in [Errno::NOTSUP, Errno::NOSYS, Errno::NOLCK] {
            assert!(!speaks_for_left(Err(without_locks), young), "{without_locks}");
            assert!(speaks_for_left(Err(without_locks), STILL), "{without_locks}");
        }
    }
}
