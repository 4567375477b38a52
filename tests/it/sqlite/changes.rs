//! Changes written into real files: everything there and back, guards, trials, conflicts, references; and scripts.

use std::path::Path;

use dbsnap::{
    engines::{Applied, ApplyOptions, OnConflict, RowTarget},
    error::Result,
    snapshot::{ChangeKind, Row, RowChange, Schema},
};

use super::{
    Bench, content, engine, expect_error, number, open,
    round_trip::{EVERYTHING, fill},
    rows, settings,
};
use crate::support::rows::{Everything, OVERWRITE, SKIP, STOP, apply, assert_eq_content, changes, find, load, reverse};

impl Bench {
    async fn target(&self, path: &Path) -> Result<Box<dyn RowTarget>> {
        engine().open_target(&settings(path), &self.run()).await
    }

    async fn state(&self, path: &Path) -> (Schema, Everything) {
        let mut source = self.source(path).await.unwrap();
        let everything = self.everything(source.as_mut()).await;
        (source.schema().clone(), everything)
    }
}

/// Two states of a table of everything, in files of their own.
const BEFORE: &str = "
    CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE, v);
    CREATE TABLE texts (k TEXT PRIMARY KEY COLLATE NOCASE, n INT) WITHOUT ROWID;
    CREATE TABLE loose (a, b REAL);
    CREATE TABLE hidden (rowid, _rowid_, oid);
    CREATE TABLE pair (a INT, b BLOB, v TEXT, made AS (a || v), PRIMARY KEY (a, b));
    INSERT INTO t VALUES (-9223372036854775808, 'least', NULL), (1, 'one', 1), (2, 'two', 2.5), (3, 'three', 'x'), (4, 'four', x'00ff'), (5, 'five', 'NULL');
    INSERT INTO texts VALUES ('a', 1), ('b', 2), ('C', 3);
    INSERT INTO loose VALUES (1, 0.1), (1, 0.1), (1, 0.1), ('1', 0.1), (x'31', 0.1), (NULL, NULL), (NULL, NULL), ('gone', 1);
    INSERT INTO hidden VALUES (1, 2, 3), (4, 5, 6);
    INSERT INTO pair (a, b, v) VALUES (1, x'00', 'one'), (1, x'01', 'two'), (-1, x'', 'three');
";

const EDITS: &str = "
    DELETE FROM t WHERE id = -9223372036854775808;
    UPDATE t SET name = CASE id WHEN 1 THEN '-1' WHEN 2 THEN '-2' ELSE '-3' END WHERE id IN (1, 2, 3);
    UPDATE t SET name = CASE id WHEN 1 THEN 'two' WHEN 2 THEN 'three' ELSE 'one' END WHERE id IN (1, 2, 3);
    UPDATE t SET v = '2.5' WHERE id = 2; UPDATE t SET v = 1.0 WHERE id = 1; UPDATE t SET v = CAST(x'6100ff' AS TEXT) WHERE id = 3;
    UPDATE t SET name = 'FIVE', v = NULL WHERE id = 5;
    INSERT INTO t VALUES (9223372036854775807, 'it''s; -- 🦀' || char(10), 1e308), (7, NULL, -0.0), (8, '', 9e999), (9, 'nine', 4.9e-324), (10, 'ten', 0.30000000000000004);
    DELETE FROM texts WHERE k = 'b'; INSERT INTO texts VALUES ('ü', NULL); UPDATE texts SET k = 'c' WHERE k = 'C';
    DELETE FROM loose WHERE a = 'gone'; INSERT INTO loose VALUES ('1', 0.1), ('1', 0.1), ('new', -1.5), (NULL, NULL);
    DELETE FROM loose WHERE rowid IN (SELECT rowid FROM loose WHERE a = 1 AND typeof(a) = 'integer' LIMIT 2);
    DELETE FROM hidden WHERE oid = 3; INSERT INTO hidden VALUES (7, 8, 9);
    UPDATE pair SET v = 'changed' WHERE b = x'01'; DELETE FROM pair WHERE a = -1;
    INSERT INTO pair (a, b, v) VALUES (3, x'ff', NULL);
";

#[tokio::test]
async fn everything_goes_there_and_back_and_is_the_same() {
    let bench = Bench::new();
    for (at, setting) in ["", "PRAGMA encoding = 'UTF-16be';"].into_iter().enumerate() {
        let (path, connection) = bench.database(&format!("source{at}.db"), &format!("{setting} {EVERYTHING}"));
        fill(&connection);
        if at == 1 {
            // What is no text in UTF-16 is not kept by SQLite itself when it is read as UTF-8.
            connection.execute_batch("DELETE FROM no_key WHERE b = 1").unwrap();
        }
        let (schema, all) = bench.state(&path).await;
        let copy = bench.path(&format!("copy{at}.db"));
        let notes = load(bench.target(&copy).await.unwrap(), &schema, &all, &bench.run()).await.unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let (found, rows_found) = bench.state(&copy).await;
        assert_eq!(found, schema);
        assert_eq_content(&rows_found, &all);
        let same = |path| content(path).into_iter().map(|(name, rows)| (name, rows.len())).collect::<Vec<_>>();
        assert_eq!(same(&copy), same(&path));
        let copy = open(&copy);
        assert_eq!(rows(&copy, "SELECT title FROM words WHERE words MATCH 'restore'").len(), 1, "full-text search works");
        copy.execute_batch("INSERT INTO words VALUES ('later', 'works'); INSERT INTO numbered (note) VALUES ('next')").unwrap();
        assert_eq!(number(&copy, "SELECT max(id) FROM numbered"), 4, "AUTOINCREMENT goes on");
        assert_eq!(number(&copy, "SELECT count(*) FROM audit"), number(&connection, "SELECT count(*) FROM audit"), "no trigger fired");
        assert_eq!(rows(&copy, "PRAGMA integrity_check"), rows(&connection, "PRAGMA integrity_check"));
    }
}

#[tokio::test]
async fn changes_make_one_database_the_other_and_their_reverse_makes_it_as_it_was() {
    let bench = Bench::new();
    let (path, connection) = bench.database("a.db", BEFORE);
    let (_, before) = bench.state(&path).await;
    let (other, _) = bench.database("b.db", &format!("{BEFORE}{EDITS}"));
    let (_, after) = bench.state(&other).await;
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "every table has changes");
    for back in [false, true] {
        let mut target = bench.target(&path).await.unwrap();
        for (before, after) in before.iter().zip(&after) {
            let mut changes = changes(&before.rows, &after.rows);
            if back {
                changes = reverse(changes);
            }
            let again = changes.clone();
            let applied = apply(target.as_mut(), &before.table, changes, STOP, &bench.run()).await.unwrap();
            assert_eq!((applied.unchanged, applied.skipped), (0, 0));
            let applied = apply(target.as_mut(), &before.table, again.clone(), STOP, &bench.run()).await.unwrap();
            assert_eq!(applied, Applied { unchanged: again.len() as u64, ..Applied::default() }, "{}", before.name());
        }
        target.commit(&bench.run()).await.unwrap();
        assert_eq_content(&bench.state(&path).await.1, if back { &before } else { &after });
    }
    drop(connection);
}

#[tokio::test]
async fn a_script_makes_one_database_the_other_and_its_reverse_makes_it_as_it_was() {
    let bench = Bench::new();
    let unswapped =
        EDITS.replace("WHEN 1 THEN 'two' WHEN 2 THEN 'three' ELSE 'one' END", "WHEN 1 THEN 'eins' WHEN 2 THEN 'zwei' ELSE 'drei' END");
    let (path, connection) = bench.database("a.db", BEFORE);
    let (_, before) = bench.state(&path).await;
    let (other, _) = bench.database("b.db", &format!("{BEFORE}{unswapped}"));
    let (_, after) = bench.state(&other).await;
    let script = engine().script().unwrap();
    for back in [false, true] {
        let mut text = script.begin("from a\nDROP TABLE t; -- to b");
        for (before, after) in before.iter().zip(&after) {
            let found = changes(&before.rows, &after.rows);
            let mut found = if back { reverse(found) } else { found };
            // What goes makes room for what comes.
            found.sort_by_key(|change| change.kind != ChangeKind::Removed);
            for change in found {
                text += &script.change(&before.table, &change).unwrap();
            }
        }
        text += &script.end();
        // Twice: the second time, nothing is as it was expected.
        for _ in 0..2 {
            connection.execute_batch(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq_content(&bench.state(&path).await.1, if back { &before } else { &after });
        }
    }
}

fn row(id: &str, name: &str, value: Option<&str>) -> Row {
    let cell = |text: &str| Some(bytes::Bytes::from(text.to_owned()));
    Row { cells: vec![cell(id), cell(name), value.and_then(cell)], count: 1 }
}

fn change(before: Option<Row>, after: Option<Row>) -> RowChange {
    let kind = match (&before, &after) {
        (None, _) => ChangeKind::Added,
        (_, None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    RowChange { kind, before, after }
}

#[tokio::test]
async fn rows_that_are_not_as_expected_are_told_skipped_or_overwritten() {
    let bench = Bench::new();
    // Of each change, the row is not as it expects: there, gone, other; and one that is already as it is wanted.
    let wrong = || {
        vec![
            change(None, Some(row("1", "teins", Some("i1")))),
            change(Some(row("2", "ttwo", Some("i2"))), None),
            change(Some(row("3", "tthree", Some("t3"))), Some(row("3", "tdrei", None))),
            change(Some(row("6", "tsix", None)), Some(row("6", "tsechs", None))),
            change(Some(row("99", "tno", None)), None),
            change(Some(row("5", "tfünf", None)), Some(row("5", "tfive", Some("tNULL")))),
            change(Some(row("4", "tfour", Some("b\0\u{7f}"))), Some(row("4", "tfour", Some("i4")))),
        ]
    };
    let start = format!("{BEFORE} UPDATE t SET v = x'007f' WHERE id = 4");
    let (path, connection) = bench.database("a.db", &start);
    let (schema, before) = bench.state(&path).await;
    let t = find(&schema, "t");

    let mut target = bench.target(&path).await.unwrap();
    let error = expect_error(
        apply(target.as_mut(), &t, wrong(), STOP, &bench.run()).await,
        &[
            "t 1: another row with this key is there",
            "t 2: the row has other values in v",
            "t 3: the row has other values in v",
            "t 6: the row is not there",
            "nothing was changed",
        ],
    );
    assert_eq!(error.kind, dbsnap::error::Kind::Conflict);
    expect_error(target.commit(&bench.run()).await, &["earlier step"]);
    assert_eq!(bench.state(&path).await.1, before);

    let mut target = bench.target(&path).await.unwrap();
    let applied = apply(target.as_mut(), &t, wrong(), SKIP, &bench.run()).await.unwrap();
    assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged, applied.skipped), (0, 1, 0, 2, 4));
    assert_eq!(applied.conflicts.len(), 4);
    drop(target);
    assert_eq!(bench.state(&path).await.1, before, "without a commit nothing stays");

    let mut target = bench.target(&path).await.unwrap();
    let trial = ApplyOptions { on_conflict: OnConflict::Overwrite, dry_run: true };
    let tried = apply(target.as_mut(), &t, wrong(), trial, &bench.run()).await.unwrap();
    target.commit(&bench.run()).await.unwrap();
    assert_eq!(bench.state(&path).await.1, before, "a trial changes nothing");

    let mut target = bench.target(&path).await.unwrap();
    let applied = apply(target.as_mut(), &t, wrong(), OVERWRITE, &bench.run()).await.unwrap();
    assert_eq!(applied, tried);
    assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged, applied.skipped), (1, 3, 1, 2, 0));
    target.commit(&bench.run()).await.unwrap();
    let names = rows(&connection, "SELECT id || name FROM t WHERE id BETWEEN 0 AND 100 ORDER BY id");
    assert_eq!(format!("{names:?}").matches("Text").count(), 5);
    assert_eq!(number(&connection, "SELECT count(*) FROM t WHERE name IN ('eins', 'drei', 'sechs', 'four', 'five')"), 5);
}

#[tokio::test]
async fn numbers_of_equal_rows_are_guarded_too() {
    let bench = Bench::new();
    let (path, connection) = bench.database("a.db", BEFORE);
    let (schema, _) = bench.state(&path).await;
    let loose = find(&schema, "loose");
    let some = |count| Some(Row { cells: vec![Some("i1".into()), Some("r0.1".into())], count });
    let mut target = bench.target(&path).await.unwrap();
    let run = bench.run();
    let applied = apply(target.as_mut(), &loose, vec![change(some(2), some(5))], SKIP, &run).await.unwrap();
    assert!(applied.conflicts[0].contains("3 times instead of 2"), "{:?}", applied.conflicts);
    let applied = apply(target.as_mut(), &loose, vec![change(some(3), some(1))], STOP, &run).await.unwrap();
    assert_eq!(applied.deleted, 2);
    let applied = apply(target.as_mut(), &loose, vec![change(some(7), some(4))], OVERWRITE, &run).await.unwrap();
    assert_eq!(applied.inserted, 3);
    target.commit(&run).await.unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM loose WHERE a = 1 AND typeof(a) = 'integer'"), 4);
}

#[tokio::test]
async fn references_that_would_break_are_refused_by_name_and_old_ones_are_not() {
    let bench = Bench::new();
    let (path, connection) = bench.database(
        "a.db",
        "PRAGMA foreign_keys = OFF; CREATE TABLE parent (id INTEGER PRIMARY KEY, n);
         CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE);
         CREATE TABLE seen (x); CREATE TRIGGER watch AFTER DELETE ON parent BEGIN INSERT INTO seen VALUES (old.id); END;
         INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (10, 1), (11, 2), (12, 77)",
    );
    let (schema, all) = bench.state(&path).await;
    let parent = all.iter().find(|content| content.name() == "parent").unwrap();
    let remove = |at: usize| change(Some(parent.rows[at].1.clone()), None);
    let mut target = bench.target(&path).await.unwrap();
    apply(target.as_mut(), &parent.table, vec![remove(0)], STOP, &bench.run()).await.unwrap();
    expect_error(target.commit(&bench.run()).await, &["row 10 of child refers to a row of parent", "nothing was changed"]);
    assert_eq!(bench.state(&path).await.1, all);

    let mut target = bench.target(&path).await.unwrap();
    let gone = Row { cells: vec![Some("10".into()), Some("i1".into())], count: 1 };
    apply(target.as_mut(), &parent.table, vec![remove(0)], STOP, &bench.run()).await.unwrap();
    apply(target.as_mut(), &find(&schema, "child"), vec![change(Some(gone), None)], STOP, &bench.run()).await.unwrap();
    target.commit(&bench.run()).await.unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM child"), 2, "the row that was broken before stays");
    assert_eq!(number(&connection, "SELECT count(*) FROM seen"), 0, "no trigger fired");
}

#[tokio::test]
async fn what_is_there_already_made_otherwise_is_left_and_told() {
    let bench = Bench::new();
    let (path, _) = bench.database(
        "wanted.db",
        "CREATE TABLE t (a INT, b INT); CREATE VIEW v AS SELECT a FROM t; CREATE TABLE u (c); CREATE INDEX i ON u (c)",
    );
    let (schema, _) = bench.state(&path).await;
    let (other, connection) = bench.database("target.db", "CREATE TABLE T (a TEXT); CREATE VIEW v AS SELECT 1");
    let mut target = bench.target(&other).await.unwrap();
    let notes = target.create(&schema, false, &bench.run()).await.unwrap();
    assert!(notes.len() == 1 && notes[0].contains("table t exists already"), "{notes:?}");
    let t = find(&schema, "t");
    let wide = Row { cells: vec![Some("i1".into()), None], count: 1 };
    let notes = target.create(&schema, true, &bench.run()).await.unwrap();
    assert!(notes.len() == 1 && notes[0].contains("the view v exists already"), "{notes:?}");
    expect_error(apply(target.as_mut(), &t, vec![change(None, Some(wide))], STOP, &bench.run()).await, &["no column b"]);
    drop(target);
    assert_eq!(number(&connection, "SELECT count(*) FROM sqlite_schema"), 2);
}

#[tokio::test]
async fn a_new_file_goes_again_without_a_commit_and_scratch_files_only_by_their_name() {
    let bench = Bench::new();
    let path = bench.path("dbsnap_verify_1.db");
    let target = bench.target(&path).await.unwrap();
    assert!(path.exists());
    drop(target);
    assert!(bench.files().is_empty(), "{:?}", bench.files());
    bench.target(&path).await.unwrap().commit(&bench.run()).await.unwrap();
    let (precious, _) = bench.database("precious.db", "CREATE TABLE t (a)");
    expect_error(engine().drop_scratch(&settings(&precious), &bench.run()).await, &["no database of a verification"]);
    for _ in 0..2 {
        engine().drop_scratch(&settings(&path), &bench.run()).await.unwrap();
        assert_eq!(bench.files(), ["precious.db"]);
    }
}
