//! What a person reads when SQLite refuses.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::{Error, Kind};

/// `doing path: cause (next step)`; an interrupted statement is a cancel.
pub(super) fn fault(kind: Kind, doing: &str, path: &Path, cause: rusqlite::Error) -> Error {
    let code = cause.sqlite_error_code();
    if code == Some(ErrorCode::OperationInterrupted) {
        return Error::cancelled();
    }
    let error = Error::new(kind, format!("{doing} {}", path.display()));
    let error = match code {
        Some(ErrorCode::NotADatabase) => {
            error.hint("the file is no SQLite database, or an encrypted one: check the path, and decrypt it with the tool that made it")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            error.hint("the file is damaged: restore a backup of it, or save what can be read with the sqlite3 command .recover")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            error.hint("another connection holds it locked: end its transaction, or raise the lock timeout").retryable()
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => error.hint(format!(
            "let the user that runs DBSnap (uid {}) read the file and write its folder, where SQLite keeps its journal",
            rustix::process::geteuid().as_raw()
        )),
        Some(ErrorCode::ReadOnly) if kind == Kind::Database => {
            error.hint("its last writer was interrupted and the journal must be rolled back: open it once with its application or sqlite3")
        }
        Some(ErrorCode::ReadOnly) => error.hint("make the file and its folder writable for the user that runs DBSnap"),
        Some(ErrorCode::DiskFull) => error.hint("free space on the disk that holds it"),
        _ => error,
    };
    error.source(cause)
}

/// Whether waiting can help.
pub(super) fn is_busy(cause: &rusqlite::Error) -> bool {
    matches!(cause.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
