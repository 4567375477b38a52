//! Opening files: a source that is only read, a target that is written, and files of which nothing is trusted.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, limits::Limit, types::FromSql};
use rustix::fs::Access;
use url::Url;

use super::{ask, faults::fault, faults::is_busy};
use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run},
    error::{Error, Kind, Result},
};

/// How often a cancel is looked for, in steps of SQLite's virtual machine.
const STEPS: i32 = 20_000;

/// How long SQLite itself waits for a lock; longer waits are loops that see a cancel.
const NAP: Duration = Duration::from_millis(100);

/// How long to wait for locks.
pub(super) fn patience(options: &Settings) -> Duration {
    Duration::from_secs(options.integer("busyTimeout").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(60))
}

/// Makes statements of a connection end when a cancel is asked for.
pub(super) fn obey(connection: &Connection, run: &Run) -> rusqlite::Result<()> {
    let cancel = run.cancel.clone();
    connection.busy_timeout(NAP)?;
    connection.progress_handler(STEPS, Some(move || cancel.is_cancelled()))
}

/// Does `work` again while somebody else holds a lock, until `patience` is over or a cancel is asked for.
pub(super) fn patiently<T>(run: &Run, patience: Duration, mut work: impl FnMut() -> rusqlite::Result<T>) -> Result<rusqlite::Result<T>> {
    let begun = Instant::now();
    loop {
        run.check()?;
        match work() {
            // SQLite answers some conflicts at once, without its own nap.
            Err(cause) if is_busy(&cause) && begun.elapsed() < patience => std::thread::sleep(NAP / 10),
            done => return Ok(done),
        }
    }
}

/// A database that is read and never changed. Dropping it leaves no journal behind that was not there before.
pub(super) struct Source {
    connection: Option<Connection>,
    pub path: PathBuf,
    /// The write-ahead log was there before.
    had_wal: bool,
    /// Opened without locks, because nothing can be locked there; the file as it was then.
    unlocked: Option<(u64, Option<SystemTime>)>,
}

impl Source {
    /// Errors when there is no such file or it is no SQLite database.
    pub(super) fn open(path: &Path, patience: Duration, run: &Run) -> Result<Self> {
        let metadata = existing(path, Kind::Database)?;
        if metadata.len() == 0 {
            return Err(Error::new(Kind::Database, format!("{} is empty: there is no database in it yet", path.display()))
                .hint("start the application that makes it, or check the path"));
        }
        // SQLite keeps the journals beside the file that a symbolic link points to.
        let path = path.canonicalize().map_err(|cause| Error::new(Kind::Database, format!("opening {}", path.display())).source(cause))?;
        let had_wal = beside(&path, "-wal").exists();
        let failed = |cause| fault(Kind::Database, "opening", &path, cause);
        let connection =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
        obey(&connection, run).map_err(failed)?;
        let mut source = Self { connection: Some(connection), path: path.clone(), had_wal, unlocked: None };
        match patiently(run, patience, || ask::<i64>(source.connection(), "PRAGMA schema_version"))? {
            Ok(_) => {}
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::CannotOpen) && source.is_at_rest() => source.open_unlocked(run)?,
            Err(cause) => return Err(failed(cause)),
        }
        Ok(source)
    }

    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is there until drop")
    }

    /// One value, once no other connection has the database locked.
    pub(super) fn ask<T: FromSql>(&self, sql: &str, patience: Duration, run: &Run) -> Result<T> {
        patiently(run, patience, || ask(self.connection(), sql))?.map_err(|cause| fault(Kind::Database, "reading", &self.path, cause))
    }

    /// Bytes of its pages, those in the write-ahead log included.
    pub(super) fn size(&self, patience: Duration, run: &Run) -> Result<u64> {
        let pages: i64 = self.ask("PRAGMA page_count", patience, run)?;
        let page_size: i64 = self.ask("PRAGMA page_size", patience, run)?;
        Ok(pages.saturating_mul(page_size).unsigned_abs())
    }

    /// A write-ahead database without its log, in a folder that cannot be written, such as a read-only mount.
    fn is_at_rest(&self) -> bool {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        !beside(&self.path, "-wal").exists() && rustix::fs::access(folder, Access::WRITE_OK).is_err()
    }

    fn open_unlocked(&mut self, run: &Run) -> Result<()> {
        let failed = |cause| fault(Kind::Database, "opening", &self.path, cause);
        let mut url = Url::from_file_path(&self.path).map_err(|()| Error::internal("an absolute path is a file URL"))?;
        url.set_query(Some("immutable=1"));
        let stamp = stamp(&self.path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(url.as_str(), flags).map_err(failed)?;
        obey(&connection, run).and_then(|()| ask::<i64>(&connection, "PRAGMA schema_version")).map_err(failed)?;
        self.connection = Some(connection);
        self.unlocked = Some(stamp);
        Ok(())
    }

    /// Errors when a file that could not be locked has changed since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        match self.unlocked {
            Some(before) if beside(&self.path, "-wal").exists() || stamp(&self.path)? != before => {
                Err(Error::new(Kind::Backup, format!("{} was written while it was copied without locks", self.path.display()))
                    .hint("mount its folder writable, so that SQLite can lock it")
                    .retryable())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.connection = None;
        if !self.had_wal && beside(&self.path, "-wal").exists() {
            // A reader cannot remove the log that it had to make. A writer that is the last to close does, under SQLite's
            // own locks; while others have the database open, the log stays theirs.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let _ = Connection::open_with_flags(&self.path, flags).and_then(|connection| ask::<i64>(&connection, "PRAGMA schema_version"));
        }
    }
}

/// Opens a database to change it; it must exist. Triggers do not fire and foreign keys are not enforced on this connection.
pub(super) fn target(path: &Path, run: &Run) -> Result<Connection> {
    existing(path, Kind::Restore)?;
    let failed = |cause| fault(Kind::Restore, "opening", path, cause);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    obey(&connection, run).and_then(|()| quiet(&connection)).map_err(failed)?;
    Ok(connection)
}

/// Makes a new database file (0600) for a restore.
pub(super) fn create(path: &Path, run: &Run) -> Result<Connection> {
    use std::os::unix::fs::OpenOptionsExt;

    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|cause| Error::new(Kind::Restore, format!("making {}", path.display())).source(cause))?;
    target(path, run)
}

/// Opens a file of which nothing is trusted, such as an upload: its schema may call no function with side effects, its
/// pages are checked as they are read, and the shapes of its statements are limited.
pub(super) fn untrusted(path: &Path, run: &Run) -> Result<Connection> {
    let open = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        obey(&connection, run)?;
        quiet(&connection)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 16 << 20)?;
        Ok(connection)
    };
    open().map_err(|cause| fault(Kind::Restore, "reading the backup in", path, cause))
}

/// Nothing that the file holds runs by itself.
pub(super) fn quiet(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA ignore_check_constraints = ON")
}

/// The file that SQLite keeps beside a database, such as `-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn existing(path: &Path, kind: Kind) -> Result<Metadata> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(_) => Err(Error::new(kind, format!("{shown} is not a file")).hint("give the path of the database file itself")),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(kind, format!("the SQLite file {shown} does not exist")).hint(match kind {
                Kind::Restore => "restore with mode 'new' to make it",
                _ => "check the path; in a container, mount the folder that holds the file",
            }))
        }
        Err(cause) => Err(Error::new(kind, format!("opening {shown}")).source(cause)),
    }
}

fn stamp(path: &Path) -> Result<(u64, Option<SystemTime>)> {
    let metadata = existing(path, Kind::Database)?;
    Ok((metadata.len(), metadata.modified().ok()))
}
