//! What a dump refuses, what it leaves alone, and how it ends early.

use std::{fs, os::unix::fs::symlink};

use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        restore::RestoreMode,
        stream::channel,
    },
    engines::from_url,
    error::Kind,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::{Bench, content, engine, expect_error, open, plan, settings};

const ROWS: &str = "CREATE TABLE t (a, b);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, randomblob(500) FROM n;";

#[tokio::test]
async fn what_is_no_database_is_named_with_the_next_step() {
    let bench = Bench::new();
    fs::write(bench.path("notes.txt"), "These are notes and certainly no database. ".repeat(100)).unwrap();
    fs::write(bench.path("empty.db"), "").unwrap();
    for (name, parts) in [
        ("missing.db", &["missing.db does not exist", "check the path"][..]),
        ("notes.txt", &["notes.txt", "not a database", "encrypted"]),
        ("empty.db", &["empty.db is empty", "start the application"]),
        ("scratch", &["is not a file", "database file itself"]),
    ] {
        let path = bench.path(name);
        assert_eq!(expect_error(bench.dump(&path).await, parts).kind, Kind::Database);
        expect_error(engine().probe(&settings(&path), &bench.run()).await, parts);
    }
    assert_eq!(bench.files(), ["empty.db", "notes.txt"], "nothing was made");
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_what_was_found() {
    let bench = Bench::new();
    let (path, connection) = bench.database("hurt.db", &format!("{ROWS} CREATE INDEX i ON t (a)"));
    drop(connection);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = expect_error(bench.dump(&path).await, &["hurt.db is damaged", "restore its last good backup"]);
    assert!(error.to_string().to_lowercase().contains("page"), "the finding is shown: {error}");
    assert_eq!(bench.files(), ["hurt.db"]);
}

#[tokio::test]
async fn rows_that_break_their_own_rules_are_backed_up_with_a_warning() {
    let bench = Bench::new();
    let (path, connection) =
        bench.database("odd.db", "CREATE TABLE t (a CHECK (a > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (-1)");
    connection.execute_batch("CREATE TABLE n (a); INSERT INTO n VALUES (NULL); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE n (a NOT NULL)' WHERE name = 'n'").unwrap();
    drop(connection);
    let dumped = bench.dump(&path).await.unwrap();
    assert!(dumped.facts.warnings.iter().any(|warning| warning.contains("NULL value in n.a")), "{:?}", dumped.facts.warnings);
    let into = bench.path("new.db");
    bench.restore(&dumped, &into, plan(RestoreMode::New)).await.unwrap();
    assert_eq!(content(&into), content(&path));
}

#[tokio::test]
async fn a_collation_that_only_the_application_has_does_not_prevent_a_backup() {
    let bench = Bench::new();
    let (path, connection) = bench.database("app.db", "CREATE TABLE sound (a); INSERT INTO sound VALUES (1)");
    connection
        .execute_batch(
            "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('b'), ('a'); CREATE INDEX i ON t (a); PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (a COLLATE of_the_app)' WHERE name = 'i'",
        )
        .unwrap();
    drop(connection);
    let dumped = bench.dump(&path).await.unwrap();
    assert_eq!(dumped.counts().iter().map(|table| table.rows).collect::<Vec<_>>(), [1, 2]);
    assert!(dumped.facts.warnings.iter().any(|warning| warning.contains("of_the_app")), "{:?}", dumped.facts.warnings);
    bench.restore(&dumped, &bench.path("new.db"), plan(RestoreMode::New)).await.unwrap();
}

#[tokio::test]
async fn a_locked_database_is_waited_for_and_then_named() {
    let mut bench = Bench::new();
    bench.patience = 0;
    let (path, connection) = bench.database("locked.db", ROWS);
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = expect_error(bench.dump(&path).await, &["locked.db", "another connection holds it locked", "lock timeout"]);
    assert!(error.retryable);
    bench.patience = 30;
    let dump = bench.dump(&path);
    let unlock = async {
        tokio::task::yield_now().await;
        connection.execute_batch("ROLLBACK").unwrap();
    };
    let (dumped, ()) = tokio::join!(dump, unlock);
    assert_eq!(dumped.unwrap().counts()[0].rows, 20_000);
}

#[tokio::test]
async fn nothing_is_left_beside_the_source_and_the_copy_is_one_file() {
    let bench = Bench::new();
    let (path, connection) = bench.database("wal.db", &format!("PRAGMA journal_mode = WAL; {ROWS}"));
    drop(connection);
    assert_eq!(bench.files(), ["wal.db"]);
    let before = fs::read(&path).unwrap();
    let dumped = bench.dump(&path).await.unwrap();
    engine().probe(&settings(&path), &bench.run()).await.unwrap();
    assert_eq!(bench.files(), ["wal.db"]);
    assert!(fs::read(&path).unwrap() == before, "the source was not touched");
    assert_eq!(dumped.bytes[18..20], [1, 1], "the copy needs no write-ahead log");
    assert_eq!(dumped.facts.size, Some(dumped.bytes.len() as u64));
}

#[tokio::test]
async fn what_only_the_write_ahead_log_holds_is_dumped_and_the_log_stays() {
    let bench = Bench::new();
    let (path, connection) =
        bench.database("wal.db", "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    let dumped = bench.dump(&path).await.unwrap();
    assert_eq!(dumped.counts()[0].rows, 1);
    assert_eq!(bench.files(), ["wal.db", "wal.db-shm", "wal.db-wal"]);
    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
}

#[tokio::test]
async fn a_read_only_mount_can_be_dumped() {
    let bench = Bench::new();
    let folder = bench.path("mounted");
    fs::create_dir(&folder).unwrap();
    mount("tmpfs", &folder, "tmpfs", MountFlags::empty(), None)
        .expect("a tmpfs can be mounted: run the tests as root, in a container with --privileged");
    for mode in ["WAL", "DELETE"] {
        open(&folder.join(format!("{mode}.db"))).execute_batch(&format!("PRAGMA journal_mode = {mode}; {ROWS}")).unwrap();
    }
    mount_remount(&folder, MountFlags::RDONLY, "").unwrap();
    for mode in ["WAL", "DELETE"] {
        let path = folder.join(format!("{mode}.db"));
        let dumped = bench.dump(&path).await.map(|dumped| dumped.counts()[0].rows);
        let probe = engine().probe(&settings(&path), &bench.run()).await.map(|probe| probe.read_only);
        assert_eq!((dumped.unwrap(), probe.unwrap()), (20_000, Some(true)), "{mode}");
    }
    let path = folder.join("DELETE.db");
    let dumped = bench.dump(&path).await.unwrap();
    expect_error(bench.restore(&dumped, &path, plan(RestoreMode::Drop)).await, &["DELETE.db", "readonly", "writable"]);
    expect_error(bench.restore(&dumped, &folder.join("new.db"), plan(RestoreMode::New)).await, &["Read-only file system", "writable"]);
    unmount(&folder, UnmountFlags::DETACH).unwrap();
}

#[tokio::test]
async fn a_scratch_folder_without_room_is_told_before_anything_is_copied() {
    let bench = Bench::new();
    let (path, _) = bench.database("big.db", ROWS);
    mount("tmpfs", bench.scratch(), "tmpfs", MountFlags::empty(), Some(c"size=1m"))
        .expect("a tmpfs can be mounted: run the tests as root, in a container with --privileged");
    let refused = bench.dump(&path).await;
    let left = bench.files();
    unmount(bench.scratch(), UnmountFlags::DETACH).unwrap();
    expect_error(refused, &["scratch", "bytes free", "free space"]);
    assert_eq!(left, ["big.db"]);
}

#[tokio::test]
async fn a_cancel_at_any_stage_leaves_no_file() {
    for stage in ["copying", "checking"] {
        let bench = Bench::new();
        let (path, _) = bench.database("source.db", ROWS);
        bench.cancel_at(stage);
        assert!(bench.dump(&path).await.err().unwrap().is_cancelled(), "{stage}");
        assert_eq!(bench.files(), ["source.db"]);
    }
    let bench = Bench::new();
    let (path, _) = bench.database("source.db", ROWS);
    let options = Default::default();
    let mut dump = engine().open_dump(&settings(&path), &options, false, &bench.run()).await.unwrap();
    let (out, _unread) = channel();
    bench.cancel.cancel();
    assert!(dump.write(ArtifactKind::Dump, out, &bench.run()).await.unwrap_err().is_cancelled());
    drop(dump);
    assert_eq!(bench.files(), ["source.db"]);
}

#[tokio::test]
async fn a_consumer_that_went_away_is_an_error() {
    let bench = Bench::new();
    let (path, _) = bench.database("source.db", ROWS);
    let mut dump = engine().open_dump(&settings(&path), &Default::default(), false, &bench.run()).await.unwrap();
    let (out, input) = channel();
    drop(input);
    expect_error(dump.write(ArtifactKind::Dump, out, &bench.run()).await, &["stopped reading"]);
}

#[tokio::test]
async fn a_probe_tells_what_is_there() {
    let bench = Bench::new();
    let (path, _) = bench.database("shop.db", &format!("{ROWS} CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE f USING fts5 (x)"));
    symlink(&path, bench.path("link.db")).unwrap();
    for path in [path.clone(), bench.path("link.db")] {
        let probe = engine().probe(&settings(&path), &bench.run()).await.unwrap();
        assert!(probe.server_version.starts_with("SQLite 3."), "{}", probe.server_version);
        assert_eq!((probe.tables, probe.read_only, probe.tool), (2, Some(false), None));
        assert_eq!(probe.size, Some(fs::metadata(&path).unwrap().len()));
        assert!(probe.warnings.is_empty(), "{:?}", probe.warnings);
    }
    let (odd, connection) = bench.database("odd #1?%20 🦀.db", "CREATE TABLE t (a)");
    drop(connection);
    assert_eq!(bench.dump(&odd).await.unwrap().counts().len(), 1, "an odd file name is only a name");
}

#[test]
fn urls_name_files() {
    for (url, expect) in [
        ("sqlite:///var/lib/app/shop.db", Ok("/var/lib/app/shop.db")),
        ("sqlite:///with%20space/%23%3F.db", Ok("/with space/#?.db")),
        ("sqlite://localhost/x.db", Ok("/x.db")),
        ("sqlite://server/x.db", Err("starts with /")),
        ("sqlite:relative.db", Err("starts with /")),
        ("sqlite:///x.db?mode=ro", Err("query")),
        ("sqlite:///folder/", Err("folder")),
    ] {
        match (from_url(url), expect) {
            (Ok((engine, settings)), Ok(path)) => assert_eq!(engine.address(&settings), path),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{url}: {:?}", got.map(|got| got.1)),
        }
    }
}

#[tokio::test]
async fn uploads_are_recognised_by_their_first_bytes() {
    let bench = Bench::new();
    let (path, connection) = bench.database("a.db", "CREATE TABLE t (a)");
    drop(connection);
    assert_eq!(engine().recognise(&fs::read(path).unwrap()), Some(DumpFormat::SqliteFile));
    for other in [&b"PGDMP"[..], b"-- SQL", b"", b"SQLite format 2\0"] {
        assert_eq!(engine().recognise(other), None);
    }
}
