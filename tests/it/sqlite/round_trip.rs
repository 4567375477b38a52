//! Everything that a SQLite file can hold comes back.

use dbsnap::domain::restore::{RestoreContent, RestoreMode, RestorePlan};
use rusqlite::{Connection, params};

use super::{Bench, content, number, open, plan, rows};

/// Names that need quotes, and one of everything.
pub const EVERYTHING: &str = r#"
    PRAGMA application_id = 252006674;
    PRAGMA user_version = 42;
    CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL CHECK (price >= 0), data BLOB, any_value);
    CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT);
    CREATE TABLE no_key (a, b);
    CREATE TABLE without_rowid (code TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;
    CREATE TABLE strict_table (i INT, r REAL, t TEXT, b BLOB, x ANY) STRICT;
    CREATE TABLE generated (a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED, c TEXT AS ('v' || a) VIRTUAL);
    CREATE TABLE "quo""ted 'name' 🦀" ("col ""umn" TEXT, [select] INT, `emoji 🗄️` TEXT DEFAULT 'x;y');
    CREATE TABLE rowid_column (rowid TEXT, _rowid_ TEXT, oid TEXT);
    CREATE TABLE empty_table (a, b UNIQUE);
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE audit (what TEXT);
    CREATE UNIQUE INDEX by_name ON plain (name COLLATE NOCASE);
    CREATE INDEX partial ON plain (price) WHERE price > 10;
    CREATE INDEX expression ON plain (lower(name), length(data));
    CREATE VIEW expensive AS SELECT name FROM plain WHERE price > 10;
    CREATE TRIGGER audited AFTER INSERT ON plain BEGIN INSERT INTO audit VALUES ('plain ' || new.name); END;
    CREATE TRIGGER through_view INSTEAD OF INSERT ON expensive BEGIN INSERT INTO plain (name, price) VALUES (new.name, 99); END;
    CREATE VIRTUAL TABLE words USING fts5 (title, body, tokenize = 'porter unicode61');
    CREATE VIRTUAL TABLE boxes USING rtree (id, min_x, max_x, min_y, max_y);
"#;

pub fn fill(connection: &Connection) {
    connection
        .execute_batch(
            r#"
        INSERT INTO numbered (note) VALUES ('one'), ('two'), ('three');
        DELETE FROM numbered WHERE id = 3;
        INSERT INTO no_key (rowid, a, b) VALUES (7, 1, NULL), (9, 'text', x'00ff'), (-5, 9223372036854775807, -1e308);
        INSERT INTO without_rowid VALUES ('a', 1), ('b', NULL);
        INSERT INTO strict_table VALUES (1, 2.5, 't', x'00', 'any'), (NULL, NULL, NULL, NULL, 7);
        INSERT INTO generated (a) VALUES (1), (2), (NULL);
        INSERT INTO "quo""ted 'name' 🦀" VALUES ('a "b" ''c''', 1, 'line
break'), (NULL, 2, '');
        INSERT INTO rowid_column VALUES ('r', 's', 'o');
        INSERT INTO parent VALUES (1), (2);
        INSERT INTO child VALUES (10, 1), (11, 2), (12, NULL);
        INSERT INTO words VALUES ('Backups', 'restoring is what matters'), ('Ünïcödé', 'the quick brown fox');
        INSERT INTO boxes VALUES (1, 0, 1, 0, 1), (2, 5, 6, 5.5, 7.25);
        "#,
        )
        .unwrap();
    let big_text = "wörds 🦀 ".repeat(300_000);
    let big_blob: Vec<u8> = (0..3_000_000u32).map(|at| at.wrapping_mul(2_654_435_761) as u8).collect();
    let insert = "INSERT INTO plain (name, price, data, any_value) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(insert, params!["big", 12.5, big_blob, big_text]).unwrap();
    connection.execute(insert, params!["nan is null", f64::NAN, rusqlite::types::Null, f64::INFINITY]).unwrap();
    connection.execute(insert, params!["negative zero", 0.0, "", -0.0]).unwrap();
    connection.execute(insert, params!["nul \0 inside", 0.1 + 0.2, vec![0u8; 0], f64::MIN_POSITIVE]).unwrap();
    connection.execute("INSERT INTO no_key VALUES (CAST(x'fffe80' AS TEXT), 1)", []).unwrap();
}

/// Makes the database under different storage settings, and restores it whole into a new file.
async fn check_whole(settings: &str) {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", &format!("{settings}; {EVERYTHING}"));
    fill(&connection);
    connection.execute_batch("ANALYZE").unwrap();
    let dumped = bench.dump(&path).await.unwrap();
    for mode in [RestoreMode::New, RestoreMode::Drop] {
        let into = bench.path(&format!("{mode}.db"));
        let outcome = bench.restore(&dumped, &into, plan(mode)).await.unwrap();
        assert_eq!(outcome.tables, dumped.counts());
        assert_eq!(content(&into), content(&path), "{settings}, {mode}");
        for pragma in ["encoding", "page_size", "auto_vacuum", "application_id", "user_version"] {
            let ask = |path| rows(&open(path), &format!("PRAGMA {pragma}"));
            assert_eq!(ask(&into), ask(&path), "{settings}: {pragma}");
        }
        let found = rows(&open(&into), "SELECT title FROM words WHERE words MATCH 'restore'");
        assert_eq!(found.len(), 1, "the full-text index works");
    }
}

#[tokio::test]
async fn a_whole_database_comes_back_whatever_its_storage_settings() {
    for settings in [
        "SELECT 1",
        "PRAGMA encoding = 'UTF-16le'",
        "PRAGMA encoding = 'UTF-16be'; PRAGMA page_size = 512",
        "PRAGMA page_size = 65536; PRAGMA journal_mode = WAL",
        "PRAGMA auto_vacuum = FULL",
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = TRUNCATE",
    ] {
        check_whole(settings).await;
    }
}

#[tokio::test]
async fn counts_are_exact_and_leave_out_what_is_not_a_table_of_the_user() {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", EVERYTHING);
    fill(&connection);
    let counts: Vec<_> = bench.dump(&path).await.unwrap().counts().into_iter().map(|table| (table.name, table.rows)).collect();
    let expect = [
        ("audit", 4),
        ("boxes", 2),
        ("child", 3),
        ("empty_table", 0),
        ("generated", 3),
        ("no_key", 4),
        ("numbered", 2),
        ("parent", 2),
        ("plain", 4),
        ("quo\"ted 'name' 🦀", 2),
        ("rowid_column", 1),
        ("strict_table", 2),
        ("without_rowid", 2),
        ("words", 2),
    ];
    assert_eq!(counts, expect.map(|(name, rows)| (name.to_owned(), rows)));
}

#[tokio::test]
async fn everything_comes_back_table_by_table_too() {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", EVERYTHING);
    fill(&connection);
    let dumped = bench.dump(&path).await.unwrap();
    let (into, _) = bench.database("target.db", "CREATE TABLE mine (a); INSERT INTO mine VALUES (1); CREATE TABLE audit (other, shape);");
    let outcome = bench.restore(&dumped, &into, plan(RestoreMode::Clean)).await.unwrap();
    assert_eq!(outcome.tables.len(), dumped.counts().len());
    let (mut expect, mut got) = (content(&path), content(&into));
    let mine = got.iter().position(|(name, _)| name == "mine").expect("what the backup does not have stays");
    assert_eq!(got.remove(mine).1.len(), 1);
    got[0].1.retain(|object| object[1] != rusqlite::types::Value::Text("mine".into()));
    expect.sort_by(|a, b| a.0.cmp(&b.0));
    got.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(got, expect);

    let connection = open(&into);
    assert_eq!(number(&connection, "SELECT count(*) FROM words WHERE words MATCH 'restoring'"), 1);
    assert_eq!(number(&connection, "SELECT count(*) FROM boxes WHERE min_x > 4"), 1);
    connection.execute_batch("INSERT INTO expensive VALUES ('through the view'); INSERT INTO numbered (note) VALUES ('next')").unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM audit"), 5, "triggers did not fire in the restore, and do now");
    assert_eq!(number(&connection, "SELECT max(id) FROM numbered"), 4, "AUTOINCREMENT goes on after the highest number ever given");
}

#[tokio::test]
async fn the_schema_alone_is_empty_and_works() {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", EVERYTHING);
    fill(&connection);
    let dumped = bench.dump(&path).await.unwrap();
    for mode in [RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append] {
        let into = bench.path(&format!("{mode}.db"));
        if mode != RestoreMode::New {
            open(&into).execute_batch("CREATE TABLE plain (gone); INSERT INTO plain VALUES (1)").unwrap();
        }
        let outcome = bench.restore(&dumped, &into, RestorePlan { content: RestoreContent::Schema, ..plan(mode) }).await;
        if mode == RestoreMode::Append {
            // The index of `plain` needs columns that the existing table does not have, and it is not touched.
            let warnings = outcome.unwrap().warnings;
            assert!(warnings.iter().any(|warning| warning.contains("plain exists already")), "{warnings:?}");
            continue;
        }
        assert!(outcome.unwrap().tables.iter().all(|table| table.rows == 0));
        let connection = open(&into);
        let schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";
        assert_eq!(rows(&connection, schema), rows(&open(&path), schema), "{mode}");
        connection.execute_batch("INSERT INTO plain (name) VALUES ('x'); INSERT INTO words VALUES ('a', 'b')").unwrap();
        assert_eq!(number(&connection, "SELECT count(*) FROM audit"), 1);
    }
}
