//! Changes written into real servers: everything there and back, guards, trials, conflicts, references; and scripts.

use dbsnap::{
    engines::{Applied, ApplyOptions, Engine as _, OnConflict, RowTarget},
    error::Result,
    snapshot::{ChangeKind, Row, RowChange, Schema},
};
use serde_json::json;

use super::{
    Bench, ENGINE, by_hand, refused,
    restores::round_trip,
    rows,
    rows_read::{NEGATIVE_ZERO, TYPES, VALUES},
    run, settings,
};
use crate::support::{
    mysql::{FLAVOURS, Server, shared},
    rows::{Everything, OVERWRITE, SKIP, STOP, apply, assert_eq_content, changes, everything, find, load, reverse},
};

impl Bench {
    async fn target(&self, server: &Server, database: &str) -> Result<Box<dyn RowTarget>> {
        ENGINE.open_target(&settings(server, database), &self.run()).await
    }

    async fn state(&self, server: &Server, database: &str) -> (Schema, Everything) {
        let mut source = self.source(server, database, json!({})).await.unwrap();
        let everything = everything(source.as_mut(), &self.run()).await;
        (source.schema().clone(), everything)
    }
}

async fn number(server: &Server, database: &str, sql: &str) -> i64 {
    match rows(server, database, sql).await[0][0] {
        mysql_async::Value::Int(number) => number,
        ref other => panic!("{sql}: {other:?}"),
    }
}

const MODES: &str = "SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', NAMES utf8mb4";

const BEFORE: &[&str] = &[
    MODES,
    TYPES,
    VALUES,
    NEGATIVE_ZERO,
    "CREATE TABLE texts (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, u VARCHAR(20) UNIQUE, touched TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP)",
    "INSERT INTO texts VALUES ('a', 'one', '2020-01-01 00:00:00'), ('b', 'two', '2020-01-01 00:00:00'), ('C', 'three', NULL), ('ä\\\\', 'four', NULL)",
    "CREATE TABLE pair (a BIGINT, b VARBINARY(8), v LONGTEXT, PRIMARY KEY (a, b))",
    "INSERT INTO pair VALUES (-1, '', 'x'), (1, 0x00, 'y'), (1, 0x0001, 'z'), (9223372036854775807, 0xff27, NULL)",
    "CREATE TABLE odd_keys (f FLOAT NOT NULL, d DECIMAL(30,10) NOT NULL, t DATETIME(3) NOT NULL, bits BIT(9) NOT NULL, e ENUM('x','y') NOT NULL, n INT, PRIMARY KEY (f, d, t, bits, e))",
    "INSERT INTO odd_keys VALUES (0.1, 12345678901234567890.0123456789, '2026-01-02 03:04:05.678', 257, 'x', 1), (0.1, 12345678901234567890.0123456788, '0000-00-00', 1, 'y', 2)",
    "CREATE TABLE loose (a INT, b TEXT, f FLOAT)",
    "INSERT INTO loose VALUES (1, 'x', 0.1), (1, 'x', 0.1), (1, 'x', 0.1), (1, 'X', 0.1), (NULL, NULL, NULL), (NULL, NULL, NULL), (2, 'gone', 1)",
    "CREATE TABLE `odd ``name``` (id INT PRIMARY KEY, `c``d` TEXT)",
    "INSERT INTO `odd ``name``` VALUES (0, 'zero')",
];

const EDITS: &[&str] = &[
    MODES,
    "INSERT INTO types (id) VALUES (7)",
    "UPDATE types SET f = -0e0, d = -0e0 WHERE id = 7",
    "UPDATE types SET f = 0.30000001, d = 0.1, dec_ = 0.0000000001, bits = 65536, da = '2026-02-31', dt = NULL, ti = '-00:00:01', js = '{\"b\": 2}', tx = 'back\\\\slash', bl = 0x00ff, latin = 'ü', st = 'y', g = ST_GeomFromText('POINT(3 4)') WHERE id = 1",
    "UPDATE types SET tx = ' null', ts = '2026-05-05 05:05:05.000001' WHERE id = 4",
    "DELETE FROM types WHERE id = 2",
    "INSERT INTO types (id, f, d, en, y) VALUES (5, 3.4e38, -1.7976931348623157e308, 'a', 2155), (-6, 1e-45, 5e-324, NULL, NULL)",
    "DELETE FROM texts WHERE k = 'b'",
    "UPDATE texts SET k = 'c' WHERE k = 'C'",
    "UPDATE texts SET u = 'ONE', touched = '2021-01-01 00:00:00' WHERE k = 'a'",
    "INSERT INTO texts VALUES ('it''s; -- 🐘\n', 'two', NULL)",
    "UPDATE pair SET v = REPEAT('é', 70000) WHERE a = 1 AND b = 0x00",
    "DELETE FROM pair WHERE a = -1",
    "INSERT INTO pair VALUES (1, 0x0002, NULL), (-9223372036854775808, 0x27, 'least')",
    "UPDATE odd_keys SET n = 3 WHERE n = 1",
    "DELETE FROM odd_keys WHERE n = 2",
    "DELETE FROM loose WHERE b = 'gone'",
    "DELETE FROM loose WHERE b COLLATE utf8mb4_bin = 'x' LIMIT 2",
    "INSERT INTO loose VALUES (1, 'X', 0.1), (3, 'new', 16777216), (NULL, NULL, NULL)",
    "INSERT INTO `odd ``name``` VALUES (1, 'one')",
];

#[tokio::test]
async fn everything_goes_there_and_back_and_is_the_same() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let source = round_trip::everything(server).await;
        run(
            server,
            &source,
            &[
                MODES,
                "RENAME TABLE types TO more_types",
                TYPES,
                VALUES,
                NEGATIVE_ZERO,
                "CREATE TABLE many (id INT PRIMARY KEY AUTO_INCREMENT, t TEXT)",
            ],
        )
        .await;
        run(server, &source, &["INSERT INTO many (t) SELECT REPEAT('row', 50) FROM information_schema.columns LIMIT 1000"]).await;
        let bench = Bench::new();
        let (schema, all) = bench.state(server, &source).await;
        let copy = format!("{source}_copy");
        let notes = load(bench.target(server, &copy).await.unwrap(), &schema, &all, &bench.run()).await.unwrap();
        assert_eq!(notes, Vec::<String>::new(), "{flavour:?}");
        let (found, rows_found) = bench.state(server, &copy).await;
        assert_eq_content(&rows_found, &all);
        for (found, expected) in found.objects.iter().zip(&schema.objects) {
            assert_eq!(found, expected, "{flavour:?}");
        }
        assert_eq!(found, schema);
        let logged = "SELECT COUNT(*) FROM log";
        assert_eq!(number(server, &copy, logged).await, number(server, &source, logged).await, "no trigger was there yet");
    }
}

#[tokio::test]
async fn changes_make_one_database_the_other_and_their_reverse_makes_it_as_it_was() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let (one, other) = (server.database("one").await, server.database("other").await);
        run(server, &one, BEFORE).await;
        run(server, &other, BEFORE).await;
        run(server, &other, EDITS).await;
        // Rows that exchange unique values.
        run(server, &one, &["INSERT INTO texts VALUES ('p', 'left', NULL), ('q', 'right', NULL)"]).await;
        run(server, &other, &["INSERT INTO texts VALUES ('p', 'right', NULL), ('q', 'left', NULL)"]).await;
        let bench = Bench::new();
        let (before, after) = (bench.state(server, &one).await.1, bench.state(server, &other).await.1);
        assert!(before.iter().zip(&after).all(|(before, after)| before.rows != after.rows), "every table has changes");
        for back in [false, true] {
            let mut target = bench.target(server, &one).await.unwrap();
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
            assert_eq_content(&bench.state(server, &one).await.1, if back { &before } else { &after });
        }
    }
}

#[tokio::test]
async fn a_script_makes_one_database_the_other_and_its_reverse_makes_it_as_it_was() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let (one, other) = (server.database("one").await, server.database("other").await);
        run(server, &one, BEFORE).await;
        run(server, &other, BEFORE).await;
        run(server, &other, EDITS).await;
        let bench = Bench::new();
        let (before, after) = (bench.state(server, &one).await.1, bench.state(server, &other).await.1);
        let script = ENGINE.script().unwrap();
        for back in [false, true] {
            let mut text = script.begin("from one\nDROP TABLE types; -- to the other");
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
                let said = by_hand(flavour, server, &one, text.as_bytes());
                assert!(!said.contains("ERROR"), "{flavour:?}: {said}");
                assert_eq_content(&bench.state(server, &one).await.1, if back { &before } else { &after });
            }
        }
    }
}

fn row(cells: &[Option<&str>]) -> Row {
    Row { cells: cells.iter().map(|cell| cell.map(|text| bytes::Bytes::from(text.to_owned()))).collect(), count: 1 }
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
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("guards").await;
        run(
            server,
            &name,
            &[
                "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_general_ci, f FLOAT)",
                "INSERT INTO t VALUES (1, 'one', 0.1), (2, 'two', 0.2), (3, 'three', 0.3), (4, 'four', 0.4), (5, 'five', NULL)",
                "CREATE TABLE seen (id INT)",
                "CREATE TRIGGER watch AFTER UPDATE ON t FOR EACH ROW INSERT INTO seen VALUES (NEW.id)",
            ],
        )
        .await;
        // Of each change, the row is not as it expects: there, other (by case alone, by a hair), gone; and already done.
        let wrong = || {
            vec![
                change(None, Some(row(&[Some("1"), Some("eins"), None]))),
                change(Some(row(&[Some("2"), Some("TWO"), Some("0.2")])), None),
                change(Some(row(&[Some("3"), Some("three"), Some("0.30000004")])), Some(row(&[Some("3"), Some("drei"), None]))),
                change(Some(row(&[Some("6"), Some("six"), None])), Some(row(&[Some("6"), Some("sechs"), None]))),
                change(Some(row(&[Some("99"), None, None])), None),
                change(Some(row(&[Some("5"), Some("fünf"), None])), Some(row(&[Some("5"), Some("five"), None]))),
                change(Some(row(&[Some("4"), Some("four"), Some("0.4")])), Some(row(&[Some("4"), Some("Four"), Some("0.4")]))),
            ]
        };
        let bench = Bench::new();
        let (schema, before) = bench.state(server, &name).await;
        let t = find(&schema, "t");
        let run = bench.run();

        let mut target = bench.target(server, &name).await.unwrap();
        let error = refused(
            apply(target.as_mut(), &t, wrong(), STOP, &run).await,
            &[
                "t 1: another row with this key",
                "t 2: the row has other values in name",
                "t 3: the row has other values in f",
                "t 6: the row is not there",
            ],
        );
        assert_eq!(error.kind, dbsnap::error::Kind::Conflict);
        refused(target.commit(&run).await, &["earlier step"]);
        assert_eq_content(&bench.state(server, &name).await.1, &before);
        assert!(bench.log().contains("the triggers of t fire"), "{}", bench.log());

        let mut target = bench.target(server, &name).await.unwrap();
        let applied = apply(target.as_mut(), &t, wrong(), SKIP, &run).await.unwrap();
        assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged, applied.skipped), (0, 1, 0, 2, 4));
        drop(target);
        assert_eq_content(&bench.state(server, &name).await.1, &before);

        let mut target = bench.target(server, &name).await.unwrap();
        let trial = ApplyOptions { on_conflict: OnConflict::Overwrite, dry_run: true };
        let tried = apply(target.as_mut(), &t, wrong(), trial, &run).await.unwrap();
        target.commit(&run).await.unwrap();
        assert_eq_content(&bench.state(server, &name).await.1, &before);

        let mut target = bench.target(server, &name).await.unwrap();
        let applied = apply(target.as_mut(), &t, wrong(), OVERWRITE, &run).await.unwrap();
        assert_eq!(applied, tried);
        assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged, applied.skipped), (1, 3, 1, 2, 0));
        target.commit(&run).await.unwrap();
        let sql = "SELECT COUNT(*) FROM t WHERE BINARY name IN ('eins', 'drei', 'Four', 'five', 'sechs')";
        assert_eq!(number(server, &name, sql).await, 5);
    }
}

#[tokio::test]
async fn references_that_would_break_are_refused_by_their_values_and_old_ones_are_not() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = server.database("references").await;
        run(
            server,
            &name,
            &[
                "CREATE TABLE parent (id INT PRIMARY KEY, n INT)",
                "CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
                "INSERT INTO parent VALUES (1, 1), (2, 2)",
                "SET foreign_key_checks = 0",
                "INSERT INTO child VALUES (10, 1), (11, 2), (12, 77), (13, NULL)",
            ],
        )
        .await;
        let bench = Bench::new();
        let (schema, all) = bench.state(server, &name).await;
        let parent = find(&schema, "parent");
        let gone = || change(Some(row(&[Some("1"), Some("1")])), None);
        let mut target = bench.target(server, &name).await.unwrap();
        apply(target.as_mut(), &parent, vec![gone()], STOP, &bench.run()).await.unwrap();
        refused(target.commit(&bench.run()).await, &["1 rows of child refer by fk to rows of parent", "nothing was changed"]);
        assert_eq_content(&bench.state(server, &name).await.1, &all);
        let mut target = bench.target(server, &name).await.unwrap();
        apply(target.as_mut(), &parent, vec![gone()], STOP, &bench.run()).await.unwrap();
        let child = change(Some(row(&[Some("10"), Some("1")])), None);
        apply(target.as_mut(), &find(&schema, "child"), vec![child], STOP, &bench.run()).await.unwrap();
        target.commit(&bench.run()).await.unwrap();
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM child").await, 3, "the row that was broken before stays");
    }
}

#[tokio::test]
async fn without_a_commit_nothing_stays_and_scratch_databases_go_only_by_their_name() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let source = server.database("plain").await;
        run(server, &source, &["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE VIEW v AS SELECT * FROM t"])
            .await;
        let bench = Bench::new();
        let (schema, all) = bench.state(server, &source).await;
        let existing = server.database("existing").await;
        let fresh = format!("dbsnap_verify_{source}");
        for (name, expect) in [(&existing, 1), (&fresh, 0)] {
            let mut target = bench.target(server, name).await.unwrap();
            target.create(&schema, false, &bench.run()).await.unwrap();
            apply(target.as_mut(), &all[0].table, changes(&[], &all[0].rows), STOP, &bench.run()).await.unwrap();
            let trial = ApplyOptions { dry_run: true, ..STOP };
            apply(target.as_mut(), &all[0].table, Vec::new(), trial, &bench.run()).await.unwrap();
            target.create(&schema, true, &bench.run()).await.unwrap();
            target.commit(&bench.run()).await.unwrap();
            let there = format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{name}'");
            assert_eq!(number(server, "", &there).await, expect);
            let tables = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{name}'");
            assert_eq!(number(server, "", &tables).await, 0);
        }
        load(bench.target(server, &fresh).await.unwrap(), &schema, &all, &bench.run()).await.unwrap();
        assert_eq!(number(server, &fresh, "SELECT COUNT(*) FROM v").await, 1);
        refused(ENGINE.drop_scratch(&settings(server, &source), &bench.run()).await, &["no database of a verification"]);
        for _ in 0..2 {
            ENGINE.drop_scratch(&settings(server, &fresh), &bench.run()).await.unwrap();
            let there = format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{fresh}'");
            assert_eq!(number(server, "", &there).await, 0);
        }
    }
}
