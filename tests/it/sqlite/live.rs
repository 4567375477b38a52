//! Dumps of databases that another process keeps writing.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dbsnap::domain::restore::RestoreMode;
use rusqlite::Connection;

use super::{Bench, number, open, plan};

const WRITER: &str = "DBSNAP_TEST_SQLITE_WRITER";

/// Money moves between two tables and every move is noted: at any moment both sums and the notes agree.
const BANK: &str = "
    CREATE TABLE savings (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, padding BLOB NOT NULL);
    CREATE TABLE current (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, padding BLOB NOT NULL);
    CREATE TABLE moves (amount INTEGER NOT NULL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
        INSERT INTO savings SELECT i, 1000, randomblob(3000) FROM n;
    INSERT INTO current SELECT id, 0, randomblob(3000) FROM savings;";

const TOTAL: i64 = 4_000_000;

fn assert_one_moment(connection: &Connection) {
    let [savings, current] = ["savings", "current"].map(|table| number(connection, &format!("SELECT sum(amount) FROM {table}")));
    let moved = number(connection, "SELECT coalesce(sum(amount), 0) FROM moves");
    assert_eq!(savings + current, TOTAL, "no money is lost or made");
    assert_eq!(current, moved, "the notes agree with the accounts");
}

/// Not a test of its own: the process that the tests below start. It moves money until it is killed.
#[test]
fn writer_process() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let connection = open(Path::new(&path));
    for round in 0i64.. {
        let (from, to) = (round * 7919 % 4000 + 1, round * 104_729 % 4000 + 1);
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE;
                 UPDATE savings SET amount = amount - 1, padding = randomblob(3000) WHERE id = {from};
                 UPDATE current SET amount = amount + 1 WHERE id = {to};
                 INSERT INTO moves VALUES (1);
                 COMMIT"
            ))
            .unwrap();
        // An application has other things to do as well.
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Writer(Child);

impl Writer {
    /// Returns once the writer has committed.
    fn start(path: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::live::writer_process"])
            .env(WRITER, path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (writer, reader) = (Self(child), open(path));
        let deadline = Instant::now() + Duration::from_secs(30);
        while number(&reader, "SELECT count(*) FROM moves") == 0 {
            assert!(Instant::now() < deadline, "the writer has not written in 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
        writer
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn check_dumps_under_load(mode: &str) -> Bench {
    let bench = Bench::new();
    let (path, connection) = bench.database("bank.db", &format!("PRAGMA journal_mode = {mode}; {BANK}"));
    drop(connection);
    let writer = Writer::start(&path);
    for round in 0..3 {
        let dumped = bench.dump(&path).await.unwrap();
        let after = number(&open(&path), "SELECT count(*) FROM moves");
        let copy = bench.path(&format!("copy-{round}.db"));
        bench.restore(&dumped, &copy, plan(RestoreMode::New)).await.unwrap();
        let copy = open(&copy);
        assert_one_moment(&copy);
        assert!(number(&copy, "SELECT count(*) FROM moves") <= after);
        let moves = dumped.counts().iter().find(|table| table.name == "moves").unwrap().rows;
        assert_eq!(i64::try_from(moves).unwrap(), number(&copy, "SELECT count(*) FROM moves"));
    }
    // The writer still gets its turn.
    let before = number(&open(&path), "SELECT count(*) FROM moves");
    let deadline = Instant::now() + Duration::from_secs(30);
    while number(&open(&path), "SELECT count(*) FROM moves") == before {
        assert!(Instant::now() < deadline, "the writer is stuck");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(writer);
    let source = open(&path);
    assert_one_moment(&source);
    assert_eq!(number(&source, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    bench
}

#[tokio::test]
async fn a_write_ahead_database_is_copied_at_one_moment_without_beginning_again() {
    let bench = check_dumps_under_load("WAL").await;
    let log = bench.seen.log.lock().unwrap().join("\n");
    assert!(!log.contains("begins again") && !log.contains("one go"), "{log}");
}

#[tokio::test]
async fn a_rollback_journal_database_is_copied_at_one_moment_while_its_writer_takes_turns() {
    let bench = check_dumps_under_load("DELETE").await;
    let log = bench.seen.log.lock().unwrap().join("\n");
    assert!(log.contains("begins again"), "the writer committed in mid-copy: {log}");
}

#[tokio::test]
async fn a_writer_in_this_process_keeps_its_locks() {
    let bench = Bench::new();
    let (path, writer) = bench.database("own.db", BANK);
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO moves VALUES (5)").unwrap();
    bench.dump(&path).await.unwrap();
    // Had the dump opened the file past SQLite, closing it would have dropped this process's lock.
    let other = Writer::try_lock(&path);
    assert!(!other, "another process could lock the database in the middle of our transaction");
    writer.execute_batch("ROLLBACK").unwrap();
}

const LOCKER: &str = "DBSNAP_TEST_SQLITE_LOCKER";

/// Not a test of its own: the process that tries to lock a database. It succeeds as a test when it could.
#[test]
fn locker_process() {
    let Some(path) = std::env::var_os(LOCKER) else { return };
    Connection::open(&path).unwrap().execute_batch("PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK").unwrap();
}

impl Writer {
    /// Whether another process can begin to write.
    fn try_lock(path: &Path) -> bool {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::live::locker_process"])
            .env(LOCKER, path)
            .output()
            .unwrap();
        done.status.success()
    }
}

#[tokio::test]
async fn drop_replaces_a_database_that_another_process_keeps_writing() {
    let bench = Bench::new();
    let (old, _) = bench.database("old.db", &format!("{BANK} CREATE TABLE from_backup (a)"));
    let dumped = bench.dump(&old).await.unwrap();
    let (path, connection) = bench.database("live.db", &format!("PRAGMA journal_mode = WAL; {BANK} CREATE TABLE of_target (a)"));
    let reader = open(&path);
    assert_eq!(number(&reader, "SELECT count(*) FROM of_target"), 0);
    drop(connection);
    let writer = Writer::start(&path);
    bench.restore(&dumped, &path, plan(RestoreMode::Drop)).await.unwrap();
    assert_eq!(number(&reader, "SELECT count(*) FROM from_backup"), 0, "a connection that was open sees the restored database");
    let gone = reader.prepare("SELECT * FROM of_target").map(|_| ()).unwrap_err().to_string();
    assert!(gone.contains("no such table"), "{gone}");
    let deadline = Instant::now() + Duration::from_secs(30);
    let before = number(&reader, "SELECT count(*) FROM moves");
    while number(&reader, "SELECT count(*) FROM moves") == before {
        assert!(Instant::now() < deadline, "the writer does not go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(writer);
    assert_one_moment(&reader);
    assert_eq!(number(&reader, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    assert_eq!(
        number(&open(&path), "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"),
        1,
        "the target keeps its journal mode"
    );
}
