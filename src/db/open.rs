//! Opens the catalogue: checks the file, brings its schema up to date, and knows the way back when that fails.
//! What is specific to SQLite is here.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::NaiveDate;
use deadpool_sqlite::{
    Config, Hook, HookError, Pool, Runtime,
    rusqlite::{self, Connection, ErrorCode, OpenFlags, backup::Backup},
};
use rusqlite_migration::{M, Migrations};

use super::{Db, lock::make_private_dir};
use crate::error::{Context, Error, Kind, Result};

/// Every step of the schema, oldest first. A step that was released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_initial.sql"),
    include_str!("../../migrations/0002_partial_backups.sql"),
    include_str!("../../migrations/0003_diffs.sql"),
    include_str!("../../migrations/0004_time.sql"),
];

/// Copies of each kind (from before migrations, daily) that are kept beside the file.
const KEPT_COPIES: usize = 3;

const BEFORE_MIGRATION: &str = ".before-v";
const DAILY: &str = ".daily-";

const READERS: usize = 4;

/// How long a statement waits for another process (a `sqlite3` shell, a copying tool) to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the catalogue at `path`, making it (0600, folder 0700) when there is none. Before pending migrations run, the
/// file is copied to `<name>.before-v<N>.bak`, N being the schema it goes to; when one fails the copy is put back.
///
/// Errors when the file is damaged, when a newer build has written it, or when a migration fails; each says what to do.
pub async fn open(path: &Path) -> Result<Db> {
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || prepare(&owned, MIGRATIONS))
        .await
        .map_err(|cause| Error::internal("opening the catalogue").source(cause))??;
    let db = Db { path: path.to_owned(), readers: pool(path, READERS, true)?, writer: pool(path, 1, false)? };
    db.ping().await?;
    Ok(db)
}

fn pool(path: &Path, size: usize, read_only: bool) -> Result<Pool> {
    let Ok(builder) = Config::new(path).builder(Runtime::Tokio1);
    let set_up = Hook::async_fn(move |connection, _| {
        Box::pin(async move {
            let done = connection.interact(move |connection| set_up_connection(connection, read_only)).await;
            done.map_err(|cause| HookError::message(cause.to_string()))?.map_err(HookError::Backend)
        })
    });
    builder
        .max_size(size)
        .post_create(set_up)
        .build()
        .map_err(|cause| Error::internal(format!("opening the catalogue {}", path.display())).source(cause))
}

/// What SQLite keeps per connection. `synchronous=FULL`: a completed backup that the catalogue forgot after a power cut
/// would be an orphan to the next start, so every commit is synced; commits are few, and log lines come in batches.
fn set_up_connection(connection: &Connection, read_only: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "query_only", read_only)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Everything that happens before the catalogue is used: file modes, integrity, version, copy, migration.
fn prepare(path: &Path, steps: &[&str]) -> Result<()> {
    make_private_dir(path.parent().unwrap_or(Path::new(".")))?;
    make_private_file(path)?;
    let doing = || format!("opening the catalogue {}", path.display());
    let mut db = connect_checked(path)?;
    let version = version(&db).context(Kind::Internal, doing)?;
    if version > steps.len() {
        let known = steps.len();
        return Err(Error::conflict(format!(
            "the catalogue {} was written by a newer dbsnap (schema {version}; this one knows schema {known})",
            path.display()
        ))
        .hint(format!("start the newer version, or put back its copy from before that upgrade{}", list_copies(path))));
    }
    if version < steps.len() {
        migrate(&mut db, path, version, steps)?;
    }
    db.pragma_update(None, "journal_mode", "WAL").context(Kind::Internal, doing)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No CREATE: the file was made with its mode, and SQLite gives its journals the same.
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    set_up_connection(&db, false)?;
    Ok(db)
}

fn make_private_file(path: &Path) -> Result<()> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(drop)
        .context(Kind::Storage, || format!("opening the catalogue {}", path.display()))
        .map_err(|error| error.hint("make the file writable for the user that runs dbsnap, or set DATABASE_PATH"))
}

/// Connects. Errors unless SQLite finds the file sound.
fn connect_checked(path: &Path) -> Result<Connection> {
    let found = connect(path).and_then(|db| {
        let answer: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((db, answer))
    });
    let reason = match found {
        Ok((db, answer)) if answer == "ok" => return Ok(db),
        Ok((_, answer)) => answer,
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => error.to_string(),
        Err(error) => return Err(error).context(Kind::Internal, || format!("opening the catalogue {}", path.display())),
    };
    Err(Error::internal(format!("the catalogue {} is damaged: {}", path.display(), reason.trim())).hint(format!(
        "move it away (with its -wal and -shm files) and either put one of its own copies in its place{}, or run `dbsnap rebuild`, \
         which reads the backups' manifests from their store",
        list_copies(path)
    )))
}

fn version(db: &Connection) -> rusqlite::Result<usize> {
    db.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)).map(|version| version as usize)
}

fn migrate(db: &mut Connection, path: &Path, version: usize, steps: &[&str]) -> Result<()> {
    let target = steps.len();
    // A new file has nothing to keep.
    let copy = (version > 0).then(|| beside(path, &format!("{BEFORE_MIGRATION}{target}.bak")));
    if let Some(copy) = &copy {
        copy_file(db, copy)?;
    }
    let migrations = Migrations::new(steps.iter().map(|step| M::up(step)).collect());
    let Err(cause) = migrations.to_latest(db) else {
        return drop_old_copies(path, BEFORE_MIGRATION);
    };
    let failed = Error::internal(format!("the catalogue {} cannot be brought to schema {target}", path.display())).source(cause);
    let Some(copy) = copy else { return Err(failed) };
    match put_back(db, &copy) {
        Ok(()) => Err(failed.hint("the file is as it was before; start the previous version, and report this")),
        Err(second) => Err(failed.hint(format!("putting the file back failed too ({second}): copy {} over it", copy.display()))),
    }
}

/// Copies the open database to `to`: whole and durable, or not there.
pub(super) fn copy_file(db: &Connection, to: &Path) -> Result<()> {
    let doing = || format!("copying the catalogue to {}", to.display());
    let unfinished = beside(to, ".tmp");
    if unfinished.exists() {
        fs::remove_file(&unfinished).context(Kind::Storage, doing)?;
    }
    make_private_file(&unfinished)?;
    let mut target = connect(&unfinished).context(Kind::Storage, doing)?;
    run_backup(db, &mut target).context(Kind::Storage, doing)?;
    target.close().map_err(|(_, cause)| cause).context(Kind::Storage, doing)?;
    let synced = File::open(&unfinished).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&unfinished, to));
    synced.and_then(|()| File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()).context(Kind::Storage, doing)
}

/// Writes the copy's pages over the open database: one transaction, so a crash on the way loses neither.
fn put_back(db: &mut Connection, copy: &Path) -> rusqlite::Result<()> {
    let source = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    run_backup(&source, db)
}

fn run_backup(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    Backup::new(from, to)?.run_to_completion(1024, Duration::ZERO, None)
}

/// `<path><suffix>`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Keeps a copy `<name>.daily-<YYYYMMDD>.bak` of today, if there is none yet, and drops the oldest.
/// True when one was made.
pub(super) fn keep_daily_copy(db: &Connection, path: &Path, today: NaiveDate) -> Result<bool> {
    let copy = beside(path, &format!("{DAILY}{}.bak", today.format("%Y%m%d")));
    if copy.exists() {
        return Ok(false);
    }
    copy_file(db, &copy)?;
    drop_old_copies(path, DAILY)?;
    Ok(true)
}

/// The file's own copies whose suffix begins with `kind`, newest first.
fn copies(path: &Path, kind: &str) -> Vec<PathBuf> {
    let Some((folder, name)) = path.parent().zip(path.file_name()) else { return Vec::new() };
    let prefix = format!("{}{kind}", name.to_string_lossy());
    let mut found: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "bak"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// For messages: the copies in brackets, newest first.
fn list_copies(path: &Path) -> String {
    let names: Vec<_> = copies(path, ".").iter().map(|copy| copy.display().to_string()).collect();
    if names.is_empty() { " (there is none yet)".to_owned() } else { format!(" ({})", names.join(", ")) }
}

fn drop_old_copies(path: &Path, kind: &str) -> Result<()> {
    for old in copies(path, kind).into_iter().skip(KEPT_COPIES) {
        fs::remove_file(&old).context(Kind::Storage, || format!("removing the old copy {}", old.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &[&str] = &["CREATE TABLE a (x TEXT); INSERT INTO a VALUES ('kept');", "ALTER TABLE a ADD COLUMN y TEXT;"];

    fn rows(path: &Path) -> Vec<String> {
        let db = Connection::open(path).unwrap();
        let mut statement = db.prepare("SELECT x FROM a").unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn the_list_of_migrations_is_the_folder_and_every_one_applies() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, MIGRATIONS);
        Migrations::new(MIGRATIONS.iter().map(|step| M::up(step)).collect()).validate().unwrap();
    }

    #[test]
    fn the_bundled_sqlite_has_no_known_corruption_bug() {
        assert!(rusqlite::version_number() >= 3_053_000, "SQLite {}", rusqlite::version());
    }

    #[test]
    fn a_new_catalogue_is_private_and_in_wal_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/dbsnap.db");
        prepare(&path, GOOD).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let db = Connection::open(&path).unwrap();
        assert_eq!(db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap(), "wal");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dbsnap.db");
        prepare(&path, &GOOD[..1]).unwrap();
        // The second step works and the third does not: without the copy the file would be left between two versions.
        let failed = prepare(&path, &[GOOD[0], "DELETE FROM a; ALTER TABLE a ADD COLUMN y TEXT;", "DROP TABLE missing;"]).unwrap_err();
        let text = failed.to_string();
        assert!(text.contains("cannot be brought to schema 3") && text.contains("no such table: missing"), "{text}");
        assert!(text.contains("the file is as it was before"), "{text}");
        assert_eq!(rows(&path), ["kept"]);
        assert_eq!(version(&Connection::open(&path).unwrap()).unwrap(), 1);
        assert_eq!(rows(&folder.path().join("dbsnap.db.before-v3.bak")), ["kept"]);
        prepare(&path, GOOD).unwrap();
    }

    #[test]
    fn the_last_three_copies_from_before_migrations_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dbsnap.db");
        let steps: Vec<_> = GOOD.iter().copied().chain(std::iter::repeat_n("INSERT INTO a (x) VALUES ('more');", 4)).collect();
        for known in 1..=steps.len() {
            prepare(&path, &steps[..known]).unwrap();
        }
        let mut names: Vec<_> =
            copies(&path, BEFORE_MIGRATION).iter().map(|copy| copy.file_name().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["dbsnap.db.before-v4.bak", "dbsnap.db.before-v5.bak", "dbsnap.db.before-v6.bak"]);
    }

    #[test]
    fn one_copy_a_day_is_kept_for_three_days() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dbsnap.db");
        prepare(&path, GOOD).unwrap();
        let db = connect(&path).unwrap();
        let days = (1..=5).map(|day| NaiveDate::from_ymd_opt(2026, 1, day).unwrap());
        for day in days {
            assert!(keep_daily_copy(&db, &path, day).unwrap());
            assert!(!keep_daily_copy(&db, &path, day).unwrap(), "once a day");
        }
        let kept = copies(&path, DAILY);
        assert_eq!(kept.len(), 3);
        let newest = folder.path().join("dbsnap.db.daily-20260105.bak");
        assert_eq!(kept[0], newest);
        assert_eq!(rows(&newest), ["kept"]);
        assert_eq!(fs::metadata(&newest).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_catalogue_of_a_newer_build_is_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dbsnap.db");
        prepare(&path, &GOOD[..1]).unwrap();
        prepare(&path, GOOD).unwrap();
        let refused = prepare(&path, &GOOD[..1]).unwrap_err();
        assert_eq!(refused.kind, Kind::Conflict);
        let text = refused.to_string();
        assert!(text.contains("newer dbsnap (schema 2; this one knows schema 1)") && text.contains("before-v2.bak"), "{text}");
        assert_eq!(version(&Connection::open(&path).unwrap()).unwrap(), 2);
    }

    #[test]
    fn a_damaged_file_is_named_with_the_ways_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dbsnap.db");
        prepare(&path, &GOOD[..1]).unwrap();
        prepare(&path, GOOD).unwrap();
        let whole = fs::read(&path).unwrap();
        let no_database =
            b"these are not the bytes of a database, but more than a hundred of them, so that they look like a header to read".to_vec();
        let mut page_overwritten = whole.clone();
        page_overwritten[4096..].fill(0xa5);
        for broken in [no_database, whole[..whole.len() / 2].to_vec(), page_overwritten] {
            fs::write(&path, &broken).unwrap();
            let text = prepare(&path, GOOD).unwrap_err().to_string();
            for part in [path.to_str().unwrap(), "is damaged", "before-v2.bak", "dbsnap rebuild"] {
                assert!(text.contains(part), "{part} is not in: {text}");
            }
            assert_eq!(fs::read(&path).unwrap(), broken, "the evidence stays");
        }
    }
}
