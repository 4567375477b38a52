//! What a person reads when the file system refuses.

use std::{io, path::Path};

use rustix::io::Errno;

use crate::error::{Error, Kind};

/// `doing path: cause (next step)`.
pub(super) fn fault(doing: &str, path: &Path, cause: impl Into<io::Error>) -> Error {
    let cause = cause.into();
    let errno = Errno::from_io_error(&cause);
    let shown = path.display();
    let error = Error::new(Kind::Storage, format!("{doing} {shown}"));
    let error = match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => error.hint("free space on the disk that holds it, or choose another store"),
        Some(Errno::FBIG) => error.hint("raise the file size limit of this process or of the file system"),
        Some(Errno::ROFS) => error.hint("its file system is mounted read-only: mount it writable, or choose another store"),
        Some(Errno::ACCESS | Errno::PERM) => {
            error.hint(format!("let the user that runs DBSnap (uid {}) read and write there", rustix::process::geteuid().as_raw()))
        }
        Some(Errno::LOOP | Errno::NOTDIR) => {
            error.hint("a part of the path is a symbolic link or a file; inside a store none is followed: remove it")
        }
        Some(Errno::ISDIR) => error.hint("a folder has that name: choose another key"),
        Some(Errno::NOENT) => error.hint("the folder is gone: is the volume mounted?"),
        _ => error,
    };
    error.source(cause)
}
