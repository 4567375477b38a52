//! Rows and schema of one moment, read from live files and from the copies of dumps.

use std::path::Path;

use dbsnap::{
    domain::fields::validate,
    engines::{KeyRange, Order, RowSource},
    error::Result,
    snapshot::{Class, Key, ObjectKind, Row, Table, push_integer, rows},
};
use rusqlite::types::{Value, ValueRef};
use serde_json::json;

use super::{
    Bench, engine, expect_error, open,
    round_trip::{EVERYTHING, fill},
    settings,
};
use crate::support::rows::{Everything, everything, gather, table};

impl Bench {
    pub async fn source(&self, path: &Path) -> Result<Box<dyn RowSource>> {
        let options = validate(engine().info().dump_options, json!({"busyTimeout": self.patience}).as_object().unwrap())?;
        engine().open_source(&settings(path), &options, &self.run()).await
    }

    pub async fn gather(&self, source: &mut dyn RowSource, table: &Table, range: &KeyRange) -> Result<Vec<(Vec<u8>, Row)>> {
        gather(source, table, range, &self.run()).await
    }

    pub async fn everything(&self, source: &mut dyn RowSource) -> Everything {
        everything(source, &self.run()).await
    }
}

fn key(table: &Table) -> Vec<&str> {
    match &table.key {
        Key::Columns { columns } => columns.iter().map(String::as_str).collect(),
        Key::Row => vec!["*"],
    }
}

/// A cell as SQLite itself tells the value.
fn cell(value: ValueRef<'_>, class: Class) -> Option<Vec<u8>> {
    let (letter, bytes) = match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => (b'i', number.to_string().into_bytes()),
        ValueRef::Real(number) if number.is_infinite() => (b'r', if number > 0.0 { b"Infinity".to_vec() } else { b"-Infinity".to_vec() }),
        ValueRef::Real(number) => (b'r', number.to_string().into_bytes()),
        ValueRef::Text(bytes) => (b't', bytes.to_vec()),
        ValueRef::Blob(bytes) => (b'b', bytes.to_vec()),
    };
    Some(if class == Class::Any { [&[letter], &bytes[..]].concat() } else { bytes })
}

#[tokio::test]
async fn every_value_of_every_kind_of_table_is_read_as_it_is() {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", EVERYTHING);
    fill(&connection);
    let mut source = bench.source(&path).await.unwrap();
    let tables = source.schema().tables.clone();
    assert!(tables.iter().any(|table| table.name.name == "words_data"), "shadow tables are tables");
    assert!(!tables.iter().any(|table| table.name.name == "words"), "virtual tables have no rows");
    for table in tables {
        let found = bench.gather(source.as_mut(), &table, &KeyRange::all()).await.unwrap();
        let columns: Vec<String> = table.stored().map(|column| format!("\"{}\"", column.name.replace('"', "\"\""))).collect();
        let sql = format!("SELECT {} FROM \"{}\"", columns.join(", "), table.name.name.replace('"', "\"\""));
        let mut statement = connection.prepare(&sql).unwrap();
        let classes: Vec<Class> = table.stored().map(|column| column.class).collect();
        let expected: Vec<Vec<Option<Vec<u8>>>> = statement
            .query_map([], |row| Ok(classes.iter().enumerate().map(|(at, class)| cell(row.get_ref(at).unwrap(), *class)).collect()))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let shortest = |cell: Option<Vec<u8>>| match cell {
            // Numbers are compared as numbers: there are several short forms.
            Some(bytes) if bytes.first() == Some(&b'r') => {
                Some(format!("r{:e}", std::str::from_utf8(&bytes[1..]).unwrap().parse::<f64>().unwrap()).into_bytes())
            }
            cell => cell,
        };
        let found: Vec<Vec<Option<Vec<u8>>>> = found
            .into_iter()
            .map(|(_, row)| row.cells.into_iter().map(|cell| shortest(cell.map(|bytes| bytes.to_vec()))).collect())
            .collect();
        let expected: Vec<Vec<Option<Vec<u8>>>> = expected.into_iter().map(|row| row.into_iter().map(shortest).collect()).collect();
        assert_eq!(found, expected, "{}", table.name);
    }
    let keyless = table(source.as_ref(), "no_key");
    let rows = bench.gather(source.as_mut(), &keyless, &KeyRange::all()).await.unwrap();
    assert!(rows.iter().any(|(_, row)| row.cells[0].as_deref() == Some(b"t\xff\xfe\x80")), "text that is not UTF-8 keeps its bytes");
}

#[tokio::test]
async fn the_key_is_what_names_a_row_for_sure() {
    let bench = Bench::new();
    let (path, _connection) = bench.database(
        "keys.db",
        "CREATE TABLE alias (id INTEGER PRIMARY KEY, a);
         CREATE TABLE descending (id INTEGER PRIMARY KEY DESC, a);
         CREATE TABLE int_key (id INT PRIMARY KEY, a);
         CREATE TABLE composite (b TEXT, a INT, c, PRIMARY KEY (a, b));
         CREATE TABLE with_null (k TEXT PRIMARY KEY, u INT NOT NULL UNIQUE);
         INSERT INTO with_null VALUES (NULL, 1), (NULL, 2), ('x', 3);
         CREATE TABLE with_null_alone (k TEXT PRIMARY KEY); INSERT INTO with_null_alone VALUES (NULL);
         CREATE TABLE by_index (a TEXT NOT NULL, b TEXT NOT NULL, c TEXT NOT NULL); CREATE UNIQUE INDEX wide ON by_index (a, b);
         CREATE UNIQUE INDEX narrow ON by_index (c COLLATE NOCASE);
         CREATE TABLE unsafe (a TEXT NOT NULL, b TEXT UNIQUE, c AS (a) STORED NOT NULL UNIQUE);
         CREATE UNIQUE INDEX partial ON unsafe (a) WHERE a > 'b'; CREATE UNIQUE INDEX expression ON unsafe (lower(a));
         CREATE TABLE without_rowid (k TEXT, n INT, PRIMARY KEY (k, n)) WITHOUT ROWID;",
    );
    let source = bench.source(&path).await.unwrap();
    let found: Vec<(String, Vec<String>, bool)> = source
        .schema()
        .tables
        .iter()
        .map(|table| (table.name.to_string(), key(table).into_iter().map(str::to_owned).collect(), source.order(table) == Order::Key))
        .collect();
    let expected: Vec<(String, Vec<String>, bool)> = [
        ("alias", &["id"][..], true),
        ("by_index", &["c"], false),
        ("composite", &["a", "b"], false),
        ("descending", &["id"], false),
        ("int_key", &["id"], false),
        ("unsafe", &["*"], false),
        ("with_null", &["u"], false),
        ("with_null_alone", &["*"], false),
        ("without_rowid", &["k", "n"], false),
    ]
    .into_iter()
    .map(|(name, key, ordered)| (name.to_owned(), key.iter().map(|name| (*name).to_owned()).collect(), ordered))
    .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_schema_tells_everything_but_rows() {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", EVERYTHING);
    fill(&connection);
    connection.execute_batch("CREATE TABLE cased (name TEXT COLLATE NOCASE DEFAULT 'x' NOT NULL)").unwrap();
    let source = bench.source(&path).await.unwrap();
    let generated = table(source.as_ref(), "generated");
    assert_eq!(
        generated.columns.iter().map(|column| column.generated.as_deref()).collect::<Vec<_>>(),
        [None, Some("a * 2"), Some("'v' || a")]
    );
    assert_eq!(generated.stored().count(), 1);
    let cased = &table(source.as_ref(), "cased").columns[0];
    assert_eq!((cased.type_name.as_str(), cased.nullable, cased.default.as_deref()), ("TEXT", false, Some("'x'")));
    assert_eq!(cased.options["collation"], "NOCASE");
    assert_eq!(table(source.as_ref(), "strict_table").options["strict"], "yes");
    assert_eq!(table(source.as_ref(), "without_rowid").options["without rowid"], "yes");
    assert!(
        table(source.as_ref(), "plain")
            .definition
            .starts_with("CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL CHECK")
    );
    let object = |kind: ObjectKind, name: &str| {
        source.schema().objects.iter().find(|object| object.kind == kind && object.name.name == name).unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(object(ObjectKind::Sequence, "numbered").options["value"], "3");
    assert_eq!(object(ObjectKind::Namespace, "main").options["user_version"], "42");
    assert_eq!(object(ObjectKind::Namespace, "main").options["encoding"], "UTF-8");
    assert_eq!(object(ObjectKind::Unique, "empty_table (b)").definition, "UNIQUE (\"b\")");
    let foreign = object(ObjectKind::ForeignKey, "child (parent)");
    assert_eq!(foreign.definition, "FOREIGN KEY (\"parent\") REFERENCES \"parent\" (\"id\") ON DELETE CASCADE");
    assert_eq!(foreign.references.as_ref().unwrap().name, "parent");
    assert!(object(ObjectKind::View, "words").definition.starts_with("CREATE VIRTUAL TABLE words USING fts5"));
    assert_eq!(object(ObjectKind::Trigger, "audited").table.as_ref().unwrap().name, "plain");
    assert!(object(ObjectKind::Index, "partial").definition.ends_with("WHERE price > 10"));
}

#[tokio::test]
async fn rows_of_a_range_are_those_of_the_range() {
    let bench = Bench::new();
    let (path, connection) = bench.database(
        "ranges.db",
        "CREATE TABLE by_rowid (id INTEGER PRIMARY KEY, v); CREATE TABLE by_text (k TEXT PRIMARY KEY) WITHOUT ROWID",
    );
    for id in [i64::MIN, -300, -1, 0, 1, 255, 256, 65_536, i64::MAX] {
        connection.execute("INSERT INTO by_rowid VALUES (?1, ?1 || '')", [id]).unwrap();
        connection.execute("INSERT INTO by_text VALUES (?1 || '')", [id]).unwrap();
    }
    let mut source = bench.source(&path).await.unwrap();
    let bound = |number: i128| {
        let mut key = Vec::new();
        push_integer(&mut key, number);
        Some(key)
    };
    let by_rowid = table(source.as_ref(), "by_rowid");
    for (after, to, expect) in [
        (None, None, 9),
        (bound(-1), bound(256), 4),
        (bound(i64::MIN.into()), None, 8),
        (None, bound(i64::MAX.into()), 9),
        (bound(i64::MAX.into()), None, 0),
        (bound(300), bound(300), 0),
    ] {
        let rows = bench.gather(source.as_mut(), &by_rowid, &KeyRange { after, to }).await.unwrap();
        assert_eq!(rows.len(), expect);
    }
    let by_text = table(source.as_ref(), "by_text");
    let all = bench.gather(source.as_mut(), &by_text, &KeyRange::all()).await.unwrap();
    let mut keys: Vec<_> = all.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let range = KeyRange { after: Some(keys[2].clone()), to: Some(keys[5].clone()) };
    let mut found: Vec<_> = bench.gather(source.as_mut(), &by_text, &range).await.unwrap().into_iter().map(|(key, _)| key).collect();
    found.sort();
    assert_eq!(found, keys[3..=5]);
}

#[tokio::test]
async fn writers_neither_wait_nor_show_while_rows_are_read() {
    let bench = Bench::new();
    let (path, connection) = bench.database(
        "live.db",
        "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE u (a);
         WITH RECURSIVE s (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s LIMIT 50000) INSERT INTO t SELECT n, 'before' FROM s; INSERT INTO u VALUES (1)",
    );
    let mut source = bench.source(&path).await.unwrap();
    assert!(source.facts().warnings.is_empty(), "{:?}", source.facts().warnings);
    connection.execute_batch("UPDATE t SET v = 'after'; INSERT INTO u VALUES (2); CREATE TABLE later (x)").unwrap();
    let all = bench.everything(source.as_mut()).await;
    assert_eq!(all.iter().map(|table| (table.name(), table.rows.len())).collect::<Vec<_>>(), [("t".into(), 50_000), ("u".into(), 1)]);
    assert!(all[0].rows.iter().all(|(_, row)| row.cells[1].as_deref() == Some(b"tbefore")));
    drop(source);
    let mut source = bench.source(&path).await.unwrap();
    assert_eq!(source.schema().tables.len(), 3);
    let all = bench.everything(source.as_mut()).await;
    assert!(all[1].rows.iter().all(|(_, row)| row.cells[1].as_deref() == Some(b"tafter")));
}

#[tokio::test]
async fn with_a_rollback_journal_it_is_told_that_writers_wait() {
    let bench = Bench::new();
    let (path, connection) = bench.database("journal.db", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = bench.source(&path).await.unwrap();
    assert!(source.facts().warnings[0].contains("cannot commit"), "{:?}", source.facts().warnings);
    connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert!(connection.execute_batch("INSERT INTO t VALUES (2)").is_err());
    drop(source);
    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
}

#[tokio::test]
async fn the_rows_of_a_dump_are_those_of_its_own_copy() {
    let bench = Bench::new();
    let (path, connection) = bench.database("source.db", EVERYTHING);
    fill(&connection);
    let mut live = bench.source(&path).await.unwrap();
    let expected = (live.schema().clone(), bench.everything(live.as_mut()).await);
    drop(live);
    let mut dump = engine().open_dump(&settings(&path), &Default::default(), true, &bench.run()).await.unwrap();
    connection.execute_batch("DELETE FROM plain; DROP TABLE audit").unwrap();
    let mut source = dump.source(&bench.run()).await.unwrap();
    assert_eq!(source.facts().moment, dump.facts().moment);
    assert_eq!(source.facts().server_version, dump.facts().server_version);
    drop(dump);
    assert_eq!(source.schema(), &expected.0);
    assert_eq!(source.estimate(&table(source.as_ref(), "plain")), Some(4));
    assert_eq!(bench.everything(source.as_mut()).await, expected.1);
    drop(source);
    bench.files();
}

#[tokio::test]
async fn a_cancel_ends_the_reading_and_a_consumer_that_goes_away_too() {
    let bench = Bench::new();
    let (path, _connection) = bench.database(
        "long.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v); WITH RECURSIVE s (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s LIMIT 20000) INSERT INTO t SELECT n, zeroblob(1000) FROM s",
    );
    let mut source = bench.source(&path).await.unwrap();
    let all = table(source.as_ref(), "t");
    let (sender, receiver) = rows(&all).unwrap();
    drop(receiver);
    expect_error(source.rows(&all, &KeyRange::all(), sender, &bench.run()).await, &["stopped reading"]);
    let (sender, mut receiver) = rows(&all).unwrap();
    let run = bench.run();
    let cancelling = async {
        receiver.recv().await.unwrap();
        bench.cancel.cancel();
        while receiver.recv().await.is_some() {}
    };
    let range = KeyRange::all();
    let (done, ()) = tokio::join!(source.rows(&all, &range, sender, &run), cancelling);
    assert!(done.err().unwrap().is_cancelled());
}

#[tokio::test]
async fn rows_of_ten_megabytes_and_tables_of_none_and_one_are_read() {
    let bench = Bench::new();
    let (path, connection) =
        bench.database("sizes.db", "CREATE TABLE none (id INTEGER PRIMARY KEY, v); CREATE TABLE one (v); CREATE TABLE big (v, w)");
    connection.execute("INSERT INTO one VALUES ('NULL')", []).unwrap();
    for letter in 0..3_u8 {
        connection.execute("INSERT INTO big VALUES (?1, ?2)", (vec![letter; 10 << 20], "x".repeat(10 << 20))).unwrap();
    }
    let mut source = bench.source(&path).await.unwrap();
    let all = bench.everything(source.as_mut()).await;
    assert_eq!(all.iter().map(|table| table.rows.len()).collect::<Vec<_>>(), [3, 0, 1]);
    assert_eq!(all[2].rows[0].1.cells[0].as_deref(), Some(&b"tNULL"[..]));
    assert!(all[0].rows.iter().all(|(_, row)| row.cells.iter().all(|cell| cell.as_ref().unwrap().len() == (10 << 20) + 1)));
    let value: Value = open(&path).query_row("SELECT v FROM big LIMIT 1", [], |row| row.get(0)).unwrap();
    assert!(matches!(value, Value::Blob(_)));
}
