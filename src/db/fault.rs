//! What can go wrong in a query, and how it reads outside.

use deadpool_sqlite::rusqlite::{self, ErrorCode, ffi};

use crate::error::{Error, Kind};

/// Inside a query: either SQLite's error, or one of ours that already says everything.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Ours(Error),
}

pub(super) type Outcome<T> = std::result::Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl Fault {
    /// The error for people; `doing` is what was being done.
    pub(super) fn explain(self, doing: &str) -> Error {
        let error = match self {
            Self::Ours(error) => return error,
            Self::Sqlite(error) => error,
        };
        let rusqlite::Error::SqliteFailure(code, message) = &error else {
            return Error::internal(format!("{doing}: the catalogue cannot answer")).source(error);
        };
        match (code.code, code.extended_code) {
            (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                // "UNIQUE constraint failed: databases.project_id, databases.name": the last column is the one that people chose.
                let column = message.as_deref().and_then(|text| text.rsplit('.').next()).unwrap_or("id").to_owned();
                tracing::debug!(%error, doing, "refused as a double");
                Error::conflict(format!("{doing}: another one has the same {column}")).hint(format!("choose another {column}"))
            }
            (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
                Error::conflict(format!("{doing}: something still uses it, or what it refers to is gone")).source(error)
            }
            (ErrorCode::DiskFull, _) => Error::new(Kind::Storage, format!("{doing}: the catalogue's disk is full"))
                .source(error)
                .hint("free space on the disk that DATABASE_PATH is on")
                .retryable(),
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
                Error::internal(format!("{doing}: the catalogue is locked by another program"))
                    .source(error)
                    .hint("close other programs that have the file at DATABASE_PATH open")
                    .retryable()
            }
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Error::internal(format!("{doing}: the catalogue is damaged"))
                .source(error)
                .hint("restart dbsnap: it checks the file and lists the ways back"),
            _ => Error::internal(format!("{doing}: the catalogue cannot answer")).source(error),
        }
    }
}
