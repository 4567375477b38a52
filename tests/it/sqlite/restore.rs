//! Every way to restore, and that a failure leaves the target as it was.

use std::{fs, os::unix::fs::PermissionsExt};

use dbsnap::{
    domain::{
        artifact::TableCount,
        restore::{RestoreContent, RestoreMode, RestorePlan},
    },
    error::Kind,
};
use serde_json::json;

use super::{Bench, content, expect_error, number, open, plan, rows};

const SHOP: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
    CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, customer NOT NULL REFERENCES customers (id), total);
    CREATE TABLE log (line);
    CREATE INDEX by_customer ON orders (customer);
    CREATE VIEW totals AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer;
    CREATE TRIGGER logged AFTER INSERT ON orders BEGIN INSERT INTO log VALUES ('order ' || new.id); END;
    INSERT INTO customers VALUES (1, 'Ada'), (2, 'Brian');
    INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20), (3, 1, 30);";

fn tables(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn counts(outcome: &[TableCount]) -> Vec<(&str, u64)> {
    outcome.iter().map(|table| (table.name.as_str(), table.rows)).collect()
}

#[tokio::test]
async fn new_makes_a_private_file_and_refuses_a_name_that_is_taken() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    let into = bench.path("deeper/new.db");
    let outcome = bench.restore(&dumped, &into, plan(RestoreMode::New)).await.unwrap();
    assert_eq!(counts(&outcome.tables), [("customers", 2), ("log", 3), ("orders", 3)]);
    assert_eq!(content(&into), content(&source));
    assert_eq!(fs::metadata(&into).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(bench.path("deeper")).unwrap().count(), 1, "nothing beside it");

    let refused = bench.restore(&dumped, &source, plan(RestoreMode::New)).await;
    assert_eq!(expect_error(refused, &["shop.db exists already", "mode 'drop'"]).kind, Kind::Conflict);
    fs::write(bench.path("ghost.db-wal"), "left by a database that is gone").unwrap();
    expect_error(bench.restore(&dumped, &bench.path("ghost.db"), plan(RestoreMode::New)).await, &["ghost.db-wal exists already"]);
    std::os::unix::fs::symlink(bench.path("elsewhere"), bench.path("dangling.db")).unwrap();
    expect_error(bench.restore(&dumped, &bench.path("dangling.db"), plan(RestoreMode::New)).await, &["exists already"]);
    let elsewhere = RestorePlan { target_name: Some(bench.path("named.db").to_str().unwrap().into()), ..plan(RestoreMode::New) };
    bench.restore(&dumped, &source, elsewhere).await.unwrap();
    assert_eq!(content(&bench.path("named.db")), content(&source));
}

#[tokio::test]
async fn drop_replaces_everything_in_either_journal_mode_and_page_size() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    for (name, settings) in [
        ("wal.db", "PRAGMA journal_mode = WAL"),
        ("delete.db", "SELECT 1"),
        ("small-pages.db", "PRAGMA page_size = 512"),
        ("small-pages-wal.db", "PRAGMA page_size = 512; PRAGMA journal_mode = WAL"),
        ("utf16.db", "PRAGMA encoding = 'UTF-16le'"),
    ] {
        let (into, other) =
            bench.database(name, &format!("{settings}; CREATE TABLE gone (a); INSERT INTO gone VALUES (randomblob(100000))"));
        fs::set_permissions(&into, fs::Permissions::from_mode(0o640)).unwrap();
        let mode = rows(&other, "PRAGMA journal_mode");
        if name.starts_with("small-pages-wal") {
            drop(other);
        }
        bench.restore(&dumped, &into, plan(RestoreMode::Drop)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(content(&into), content(&source), "{name}");
        assert_eq!(rows(&open(&into), "PRAGMA journal_mode"), mode, "{name}");
        assert_eq!(fs::metadata(&into).unwrap().permissions().mode() & 0o777, 0o640, "owner and mode stay");
    }
    bench.restore(&dumped, &bench.path("was-not-there.db"), plan(RestoreMode::Drop)).await.unwrap();
    let chosen = RestorePlan { tables: tables(&["customers"]), ..plan(RestoreMode::Drop) };
    bench.restore(&dumped, &bench.path("wal.db"), chosen).await.unwrap();
    assert_eq!(number(&open(&bench.path("wal.db")), "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 1);
}

#[tokio::test]
async fn chosen_tables_come_with_their_indexes_triggers_and_sequence() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    let (into, target) = bench.database("target.db", SHOP);
    target.execute_batch("DELETE FROM orders; INSERT INTO customers VALUES (3, 'Chloe'); DELETE FROM log; DROP TRIGGER logged; DROP INDEX by_customer; DROP VIEW totals").unwrap();
    let chosen = RestorePlan { tables: tables(&["ORDERS"]), ..plan(RestoreMode::Clean) };
    let outcome = bench.restore(&dumped, &into, chosen).await.unwrap();
    assert_eq!(counts(&outcome.tables), [("orders", 3)]);
    assert_eq!(number(&target, "SELECT count(*) FROM customers"), 3, "other tables stay");
    assert_eq!(number(&target, "SELECT count(*) FROM log"), 0, "no trigger fired");
    assert_eq!(number(&target, "SELECT count(*) FROM sqlite_schema WHERE name IN ('by_customer', 'logged')"), 2);
    assert_eq!(number(&target, "SELECT count(*) FROM sqlite_schema WHERE name = 'totals'"), 0, "views belong to no table");
    target.execute_batch("INSERT INTO orders (customer, total) VALUES (3, 5)").unwrap();
    assert_eq!(number(&target, "SELECT max(id) FROM orders"), 4);

    let unknown = RestorePlan { tables: tables(&["orders", "nope"]), ..plan(RestoreMode::Clean) };
    assert_eq!(
        expect_error(bench.restore(&dumped, &into, unknown).await, &["no table nope", "customers, log, orders"]).kind,
        Kind::Validation
    );
}

#[tokio::test]
async fn a_restore_that_breaks_references_is_refused_unless_accepted() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    let (into, target) = bench.database("target.db", SHOP);
    target.execute_batch("DELETE FROM orders WHERE customer = 2; DELETE FROM customers WHERE id = 2").unwrap();
    let before = content(&into);
    let mut chosen = RestorePlan { tables: tables(&["orders"]), ..plan(RestoreMode::Clean) };
    expect_error(
        bench.restore(&dumped, &into, chosen.clone()).await,
        &["1 rows would refer to rows that are not there", "ignoreForeignKeys"],
    );
    assert_eq!(content(&into), before);
    chosen.engine.insert("ignoreForeignKeys".into(), json!(true));
    bench.restore(&dumped, &into, chosen).await.unwrap();
    assert_eq!(number(&target, "SELECT count(*) FROM orders"), 3);
}

#[tokio::test]
async fn append_adds_rows_on_the_columns_that_both_have() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    let (into, target) = bench.database(
        "target.db",
        "CREATE TABLE customers (extra DEFAULT 'x', name TEXT, id INTEGER PRIMARY KEY);
         INSERT INTO customers VALUES ('y', 'Zoe', 26);
         CREATE TABLE log (line, at); INSERT INTO log (rowid, line) VALUES (1, 'old');
         CREATE TABLE fired (a); CREATE TRIGGER t AFTER INSERT ON customers BEGIN INSERT INTO fired VALUES (1); END;",
    );
    let outcome = bench.restore(&dumped, &into, plan(RestoreMode::Append)).await.unwrap();
    assert_eq!(counts(&outcome.tables), [("customers", 3), ("log", 4), ("orders", 3)]);
    assert_eq!(number(&target, "SELECT count(*) FROM customers WHERE extra = 'x'"), 2);
    assert_eq!(number(&target, "SELECT count(*) FROM fired"), 0);
    assert_eq!(number(&target, "SELECT seq FROM sqlite_sequence WHERE name = 'orders'"), 3);
}

#[tokio::test]
async fn append_names_the_table_of_a_conflict_and_changes_nothing() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    for definition in ["UNIQUE", "UNIQUE ON CONFLICT REPLACE", "UNIQUE ON CONFLICT IGNORE"] {
        let name = format!("{}.db", definition.replace(' ', "-"));
        let (into, _) = bench.database(
            &name,
            &format!("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT {definition}); INSERT INTO customers VALUES (7, 'Brian')"),
        );
        let before = content(&into);
        expect_error(
            bench.restore(&dumped, &into, plan(RestoreMode::Append)).await,
            &["customers", "UNIQUE constraint failed", "nothing was changed", "clean"],
        );
        assert_eq!(content(&into), before, "{definition}");
    }
}

#[tokio::test]
async fn data_alone_goes_into_tables_that_exist() {
    let bench = Bench::new();
    let (source, _) =
        bench.database("shop.db", &format!("{SHOP} CREATE VIRTUAL TABLE words USING fts5 (w); INSERT INTO words VALUES ('restored')"));
    let dumped = bench.dump(&source).await.unwrap();
    let data = |mode| RestorePlan { content: RestoreContent::Data, ..plan(mode) };
    let (into, target) =
        bench.database("target.db", &format!("{SHOP} CREATE VIRTUAL TABLE words USING fts5 (w); INSERT INTO words VALUES ('old')"));
    target
        .execute_batch("DELETE FROM log; INSERT INTO orders (customer, total) VALUES (1, 1), (1, 2); CREATE INDEX mine ON orders (total)")
        .unwrap();
    bench.restore(&dumped, &into, data(RestoreMode::Clean)).await.unwrap();
    for sql in ["SELECT * FROM orders", "SELECT * FROM customers", "SELECT * FROM log", "SELECT * FROM words WHERE words MATCH 'restored'"]
    {
        assert_eq!(rows(&target, sql), rows(&open(&source), sql), "{sql}");
    }
    assert_eq!(number(&target, "SELECT count(*) FROM words WHERE words MATCH 'old'"), 0);
    assert_eq!(number(&target, "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"), 1, "the target's own index stays");
    assert_eq!(number(&target, "SELECT seq FROM sqlite_sequence WHERE name = 'orders'"), 5, "numbers already given are not given again");

    let (empty, _) = bench.database("empty.db", "CREATE TABLE customers (id, name)");
    expect_error(bench.restore(&dumped, &empty, data(RestoreMode::Append)).await, &["no table log", "restore the schema too"]);
    for mode in [RestoreMode::New, RestoreMode::Drop] {
        assert_eq!(expect_error(bench.restore(&dumped, &bench.path("x.db"), data(mode)).await, &["data alone"]).kind, Kind::Validation);
    }
    assert_eq!(number(&open(&empty), "SELECT count(*) FROM customers"), 0);
}

#[tokio::test]
async fn what_cannot_be_a_target_is_named() {
    let mut bench = Bench::new();
    bench.patience = 0;
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    fs::write(bench.path("notes.txt"), "no database, only notes. ".repeat(500)).unwrap();
    let (locked, holder) = bench.database("locked.db", SHOP);
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (utf16, _) = bench.database("utf16.db", "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a)");
    for mode in [RestoreMode::Clean, RestoreMode::Append] {
        expect_error(bench.restore(&dumped, &bench.path("missing.db"), plan(mode)).await, &["missing.db does not exist", "mode 'new'"]);
        expect_error(bench.restore(&dumped, &utf16, plan(mode)).await, &["text encoding", "'new' or 'drop'"]);
    }
    for mode in [RestoreMode::Drop, RestoreMode::Clean, RestoreMode::Append] {
        expect_error(bench.restore(&dumped, &bench.path("notes.txt"), plan(mode)).await, &["notes.txt", "no SQLite database"]);
        let error = expect_error(bench.restore(&dumped, &locked, plan(mode)).await, &["locked.db", "holds it locked"]);
        assert!(error.retryable);
    }
    assert!(fs::read_to_string(bench.path("notes.txt")).unwrap().starts_with("no database"));
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(content(&locked), content(&source));
}

#[tokio::test]
async fn a_cancel_leaves_the_target_as_it_was() {
    for (mode, stages) in [
        (RestoreMode::New, &["checking", "verifying"][..]),
        (RestoreMode::Drop, &["checking", "replacing"]),
        (RestoreMode::Clean, &["checking", "restoring", "verifying"]),
        (RestoreMode::Append, &["restoring", "verifying"]),
    ] {
        for stage in stages {
            let bench = Bench::new();
            let (source, _) = bench.database("shop.db", SHOP);
            let dumped = bench.dump(&source).await.unwrap();
            let (into, target) = bench.database("target.db", "CREATE TABLE mine (a); INSERT INTO mine VALUES (1)");
            drop(target);
            let before = content(&into);
            bench.cancel_at(stage);
            let path = if mode == RestoreMode::New { bench.path("new.db") } else { into.clone() };
            let error = bench.restore(&dumped, &path, plan(mode)).await.unwrap_err();
            assert!(error.is_cancelled(), "{mode} at {stage}: {error}");
            assert_eq!(content(&into), before, "{mode} at {stage}");
            assert_eq!(bench.files(), ["shop.db", "target.db"], "{mode} at {stage}");
        }
    }
}

#[tokio::test]
async fn rows_that_differ_from_the_manifest_stop_the_restore() {
    let bench = Bench::new();
    let (source, _) = bench.database("shop.db", SHOP);
    let dumped = bench.dump(&source).await.unwrap();
    let mut expected = dumped.counts();
    expected[0].rows += 1;
    let (into, _) = bench.database("target.db", "CREATE TABLE mine (a)");
    let before = content(&into);
    for mode in [RestoreMode::Drop, RestoreMode::Clean] {
        let refused = bench.restore_bytes(dumped.bytes.clone(), &expected, &into, plan(mode)).await;
        expect_error(refused, &["customers has 2 rows where 3 were expected"]);
        assert_eq!(content(&into), before);
    }
}
