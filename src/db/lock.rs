//! One process owns a data directory. The lock ends with the process, however it ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::error::{Context, Error, Kind, Result};

/// Held while this process uses the data directory.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes `<data_dir>/dbsnap.lock`, making the folder (0700) when it is missing.
    /// Errors with `Conflict` when another process holds it, and names that process.
    pub fn acquire(data_dir: &Path) -> Result<Self> {
        make_private_dir(data_dir)?;
        let path = data_dir.join("dbsnap.lock");
        let naming = || format!("locking the data directory with {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .context(Kind::Storage, naming)
            .map_err(|error| error.hint("make the folder writable for the user that runs dbsnap"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held_by_another(&mut file, data_dir)),
            Err(TryLockError::Error(cause)) => return Err(cause).context(Kind::Storage, naming),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .context(Kind::Storage, naming)?;
        Ok(Self { _file: file })
    }
}

fn held_by_another(file: &mut File, data_dir: &Path) -> Error {
    let mut text = String::new();
    // The pid only helps the reader: without it the message is still true.
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let who = pid.map_or_else(|| "another dbsnap".to_owned(), |pid| format!("another dbsnap (pid {pid})"));
    Error::conflict(format!("{who} uses {}", data_dir.display())).hint("stop it first, or set DATABASE_PATH to another folder")
}

/// Makes a folder and its parents, each new one 0700.
pub fn make_private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context(Kind::Storage, || format!("making the folder {}", path.display()))
        .map_err(|error| error.hint("make its parent writable for the user that runs dbsnap"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_with_the_pid_of_the_first_until_that_one_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataLock::acquire(folder.path()).unwrap();
        let refused = DataLock::acquire(folder.path()).unwrap_err();
        assert_eq!(refused.kind, Kind::Conflict);
        assert!(refused.context.contains(&format!("another dbsnap (pid {}) uses {}", std::process::id(), folder.path().display())));
        drop(first);
        DataLock::acquire(folder.path()).unwrap();
    }
}
