//! The folder itself: reaching files under it part by part, so that no symbolic link leads outside.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::faults::fault;
use crate::{
    domain::{
        store::{ObjectInfo, StoreHealth},
        time::Moment,
    },
    error::Result,
};

pub(super) const FOLDER_MODE: Mode = Mode::RWXU;
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How often a folder that a concurrent delete removed is made again before giving up.
pub(super) const RACES: u32 = 64;

pub(super) struct Tree {
    root: PathBuf,
    made: OnceLock<()>,
}

impl Tree {
    /// Does not look at the folder: its disk may hang.
    pub(super) fn at(root: PathBuf) -> Result<Self> {
        let root = std::path::absolute(&root).map_err(|cause| fault("reading", &root, cause))?;
        Ok(Self { root, made: OnceLock::new() })
    }

    /// Makes the folder (0700) where it is missing, the first time.
    pub(super) fn ready(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;

        if self.made.get().is_none() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.root)
                .map_err(|cause| fault("making", &self.root, cause))?;
            self.made.get_or_init(|| ());
        }
        Ok(())
    }

    /// The path of a key, for messages only.
    pub(super) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The root may itself be a symbolic link: where it points is the owner's choice.
    pub(super) fn open_root(&self) -> rustix::io::Result<OwnedFd> {
        rustix::fs::open(&self.root, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())
    }

    /// The folder `parts`. With `make`, missing ones are made and every level is durable when this returns.
    pub(super) fn folder<'k>(&self, parts: impl IntoIterator<Item = &'k str>, make: bool) -> rustix::io::Result<OwnedFd> {
        let mut folder = self.open_root()?;
        for part in parts {
            if make {
                match rustix::fs::mkdirat(&folder, part, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(&folder)?,
                    Err(cause) => return Err(cause),
                }
            }
            folder = rustix::fs::openat(&folder, part, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }

    /// The folder of a key and the file's name in it.
    pub(super) fn parent<'k>(&self, key: &'k str, make: bool) -> rustix::io::Result<(OwnedFd, &'k str)> {
        match key.rsplit_once('/') {
            Some((folder, name)) => Ok((self.folder(folder.split('/'), make)?, name)),
            None => Ok((self.open_root()?, key)),
        }
    }

    pub(super) fn stat(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let found = self.parent(key, false).and_then(|(folder, name)| rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(stat) => Ok(object(key, &stat)),
            Err(cause) if self.is_absent(cause) => Ok(None),
            Err(cause) => Err(fault("looking at", &self.path(key), cause)),
        }
    }

    /// Removes a file and the folders that this leaves empty, and makes that durable.
    pub(super) fn delete(&self, key: &str) -> Result<()> {
        let failed = |cause: Errno| fault("deleting", &self.path(key), cause);
        let (folder, name) = match self.parent(key, false) {
            Ok(found) => found,
            Err(cause) if self.is_absent(cause) => return Ok(()),
            Err(cause) => return Err(failed(cause)),
        };
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&folder).map_err(failed)?,
            // A folder is no object.
            Err(Errno::NOENT | Errno::ISDIR) => return Ok(()),
            Err(cause) => return Err(failed(cause)),
        }
        let mut rest = key;
        while let Some((folder, _)) = rest.rsplit_once('/') {
            rest = folder;
            // Stops at the first folder that still holds something, or that a concurrent put or delete changed.
            let emptied = self.parent(folder, false).and_then(|(above, name)| {
                rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR)?;
                rustix::fs::fsync(&above)
            });
            if emptied.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Space on the file system below the root, as an ordinary user may use it.
    pub(super) fn space(&self) -> Result<StoreHealth> {
        let space = rustix::fs::statvfs(&self.root).map_err(|cause| fault("looking at", &self.root, cause))?;
        Ok(StoreHealth {
            free: Some(space.f_bavail.saturating_mul(space.f_frsize)),
            total: Some(space.f_blocks.saturating_mul(space.f_frsize)),
        })
    }

    /// Whether an error means "no such object": not when the whole folder is gone, as an unmounted volume's is.
    pub(super) fn is_absent(&self, cause: Errno) -> bool {
        matches!(cause, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) && self.root.is_dir()
    }
}

/// A regular file as an object; `None` for anything else.
pub(super) fn object(key: &str, stat: &Stat) -> Option<ObjectInfo> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let millis = stat.st_mtime.saturating_mul(1000).saturating_add((stat.st_mtime_nsec / 1_000_000) as i64);
    Some(ObjectInfo { key: key.to_owned(), size: u64::try_from(stat.st_size).unwrap_or(0), modified_at: Moment(millis), sha256: None })
}
