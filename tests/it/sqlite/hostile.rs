//! Uploads that are cut, damaged, or made to do harm.

use std::fs;

use bytes::Bytes;
use dbsnap::{
    domain::restore::{RestoreMode, RestorePlan},
    error::{Error, Kind},
};

use super::{Bench, content, expect_error, number, open, plan};

const MINE: &str = "CREATE TABLE mine (a); INSERT INTO mine VALUES (1)";

/// Restores an upload in every mode and expects each to be refused with the target unchanged.
async fn refused(bench: &Bench, upload: &[u8], parts: &[&str]) -> Vec<Error> {
    let (into, connection) = bench.database("target.db", &format!("DROP TABLE IF EXISTS mine; {MINE}"));
    drop(connection);
    let before = content(&into);
    let mut errors = Vec::new();
    for mode in [RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append] {
        let path = if mode == RestoreMode::New { bench.path("new.db") } else { into.clone() };
        errors.push(expect_error(bench.restore_bytes(Bytes::copy_from_slice(upload), &[], &path, plan(mode)).await, parts));
        assert_eq!(content(&into), before);
        assert!(!bench.path("new.db").exists());
    }
    errors
}

fn database(bench: &Bench, sql: &str) -> Vec<u8> {
    let (path, connection) = bench.database("upload.db", sql);
    drop(connection);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    bytes
}

const ROWS: &str = "CREATE TABLE t (a, b); CREATE INDEX i ON t (a);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, randomblob(100) FROM n;";

#[tokio::test]
async fn what_is_no_sqlite_file_is_refused() {
    let bench = Bench::new();
    for upload in [&b"PGDMP\x01\x0e\x00 and more"[..], b"", b"SQLite", b"SQLite format 3\0", &[0; 5000]] {
        for error in refused(&bench, upload, &["not a SQLite database"]).await {
            assert_eq!(error.kind, Kind::Validation);
        }
    }
}

#[tokio::test]
async fn a_cut_file_is_refused() {
    let bench = Bench::new();
    let whole = database(&bench, ROWS);
    for cut in [100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        refused(&bench, &whole[..cut], &["is not whole", "another backup"]).await;
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_before_anything_is_dropped() {
    let bench = Bench::new();
    let whole = database(&bench, ROWS);
    for page in [2, 5, whole.len() / 4096 - 2] {
        let mut hurt = whole.clone();
        hurt[page * 4096..page * 4096 + 200].fill(0xff);
        refused(&bench, &hurt, &["damaged"]).await;
    }
}

#[tokio::test]
async fn random_damage_never_harms_the_target() {
    let bench = Bench::new();
    let whole = database(&bench, ROWS);
    let (into, _) = bench.database("target.db", MINE);
    let before = content(&into);
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..60 {
        let mut hurt = whole.clone();
        for _ in 0..8 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = (seed >> 16) as usize % hurt.len();
            hurt[at] ^= (seed as u8) | 1;
        }
        // Damage inside a value leaves a sound file: then the restore is right to do it.
        match bench.restore_bytes(hurt.into(), &[], &into, plan(RestoreMode::Clean)).await {
            Err(_) => assert_eq!(content(&into), before),
            Ok(_) => {
                assert_eq!(number(&open(&into), "SELECT count(*) FROM mine"), 1);
                open(&into).execute_batch("DROP TABLE IF EXISTS t").unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_file_with_a_write_ahead_log_flag_is_taken() {
    let bench = Bench::new();
    let upload = database(&bench, &format!("PRAGMA journal_mode = WAL; {ROWS}"));
    assert_eq!(upload[18..20], [2, 2]);
    let outcome = bench.restore_bytes(upload.into(), &[], &bench.path("new.db"), plan(RestoreMode::New)).await.unwrap();
    assert_eq!(outcome.tables[0].rows, 5000);
    assert_eq!(bench.files(), ["new.db"]);
}

/// Names and statements that would do harm if a name were not quoted or a second statement ran.
#[tokio::test]
async fn names_are_only_names() {
    let bench = Bench::new();
    let odd = [r#"a"; DROP TABLE mine; --"#, "'; DROP TABLE mine; --", "x) SELECT 1 --", "new\nline", "main", "dbsnap_backup", "select"];
    let sql: String = odd
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            format!(
                "CREATE TABLE {quoted} ({quoted} INTEGER, b); INSERT INTO {quoted} VALUES ({n}, 2);
                 CREATE INDEX \"i{n} {}\" ON {quoted} ({quoted});",
                name.replace('"', "\"\"")
            )
        })
        .collect();
    let upload = database(&bench, &sql);
    let (into, _) = bench.database("target.db", MINE);
    for mode in [RestoreMode::Clean, RestoreMode::Append, RestoreMode::Clean] {
        let outcome = bench.restore_bytes(upload.clone().into(), &[], &into, plan(mode)).await.unwrap();
        assert_eq!(outcome.tables.len(), odd.len());
    }
    for name in odd {
        let chosen = RestorePlan { tables: vec![name.to_owned()], ..plan(RestoreMode::Clean) };
        let outcome = bench.restore_bytes(upload.clone().into(), &[], &into, chosen).await.unwrap();
        assert_eq!(outcome.tables[0].name, name);
    }
    assert_eq!(number(&open(&into), "SELECT a FROM mine"), 1);
}

#[tokio::test]
async fn a_second_statement_in_a_schema_does_not_run() {
    let bench = Bench::new();
    let upload = database(
        &bench,
        "CREATE TABLE t (a); PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a); DROP TABLE mine; ATTACH ''/tmp/dbsnap-canary.db'' AS x';",
    );
    let (into, _) = bench.database("target.db", MINE);
    // Refused or taken: in either case only the first statement can have run.
    let _ = bench.restore_bytes(upload.into(), &[], &into, plan(RestoreMode::Clean)).await;
    assert_eq!(number(&open(&into), "SELECT a FROM mine"), 1);
    assert!(!std::path::Path::new("/tmp/dbsnap-canary.db").exists());
}

#[tokio::test]
async fn a_schema_entry_that_is_no_creation_is_refused() {
    let bench = Bench::new();
    for statement in ["DROP TABLE mine", "DELETE FROM mine", "PRAGMA user_version = 7", "CREATE TABLE t AS SELECT 1"] {
        let upload =
            database(&bench, &format!("CREATE TABLE t (a); PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = '{statement}';"));
        refused(&bench, &upload, &["malformed database schema"]).await;
    }
}
