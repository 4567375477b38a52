//! Snapshots written once open for ever, and the script that needs no dbsnap reads them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dbsnap::{
    domain::time::Moment,
    snapshot::{
        Class, Column, FileAt, Key, Layout, RowBatch, RowCursor, Schema, Snapshot, SnapshotFacts, Table, TableName, Unlock, Writer,
        is_snapshot,
    },
};
use serde_json::{Value, json};

use crate::{decrypt_script::Case, pipeline::support::KEYS};

/// The version of zstd that `v1.snap` was written with: another one may make other bytes of the same rows.
const ZSTD: &str = "1.5.7";

fn path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format").join(name)
}

fn open(name: &str) -> Snapshot {
    Snapshot::open(Arc::new(FileAt::open(&path(name)).unwrap()), Some(&*KEYS as &dyn Unlock)).unwrap()
}

fn table(name: &str, columns: &[(&str, Class)], key: &[&str]) -> Table {
    let column = |(name, class): &(&str, Class)| Column {
        name: (*name).to_owned(),
        type_name: "type".to_owned(),
        class: *class,
        nullable: true,
        default: None,
        generated: (*name == "twice").then(|| "id * 2".to_owned()),
        options: Default::default(),
    };
    let key = match key {
        [] => Key::Row,
        names => Key::Columns { columns: names.iter().map(|name| (*name).to_owned()).collect() },
    };
    Table {
        name: TableName::new(Some("public"), name),
        columns: columns.iter().map(column).collect(),
        key,
        definition: String::new(),
        options: Default::default(),
    }
}

type Cells = Vec<Option<Vec<u8>>>;

/// Tables with rows in the order of their keys, each with what the script prints of it.
fn content() -> Vec<(Table, Vec<(Cells, Value)>)> {
    let text = |value: &str| Some(value.as_bytes().to_vec());
    let users =
        table("users", &[("id", Class::Integer), ("twice", Class::Integer), ("name", Class::Text), ("plan", Class::Other)], &["id"]);
    let user = |id: i64| {
        let name = format!("näme of {id}");
        let plan = (id % 3 == 0).then(|| "free".to_owned());
        (vec![text(&id.to_string()), text(&name), plan.as_deref().and_then(text)], json!({"id": id, "name": name, "plan": plan}))
    };
    let kinds = [
        ("c", Class::Text),
        ("u", Class::Uuid),
        ("d", Class::Decimal),
        ("f", Class::Float),
        ("b", Class::Boolean),
        ("r", Class::Bytes),
        ("j", Class::Json),
        ("a", Class::Any),
    ];
    let everything = table("every.thing", &kinds, &["c", "u"]);
    let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    let odd = (
        vec![Some(b"a\0b".to_vec()), text(uuid), text("1.50"), text("-0"), text("t"), Some(vec![0, 255]), text("{\"a\":1}"), text("i7")],
        json!({"c": "a\0b", "u": uuid, "d": "1.50", "f": "-0", "b": true, "r": {"$bytes": "00ff"}, "j": "{\"a\":1}", "a": 7}),
    );
    let nulls = (
        vec![text("z"), text("not a uuid"), None, None, None, None, None, Some(b"b\0".to_vec())],
        json!({"c": "z", "u": "not a uuid", "d": null, "f": null, "b": null, "r": null, "j": null, "a": {"$bytes": "00"}}),
    );
    let log = table("log", &[("line", Class::Text)], &[]);
    let twice = (vec![text("the same")], json!({"line": "the same"}));
    vec![
        (users, (-2_000..2_000).map(user).collect()),
        (everything, vec![odd, nulls]),
        (log, vec![twice.clone(), twice]),
        (table("empty", &[("id", Class::Integer)], &["id"]), vec![]),
    ]
}

fn rows(table: &Table, cells: &[(Cells, Value)]) -> RowBatch {
    let layout = Layout::of(table).unwrap();
    let mut batch = RowBatch::default();
    for (cells, _) in cells.iter().take(if layout.keyless() { 1 } else { usize::MAX }) {
        let borrowed: Vec<_> = cells.iter().map(Option::as_deref).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        layout.encode(&borrowed, &mut key, &mut value).unwrap();
        if layout.keyless() {
            value[0] = 2;
        }
        batch.push(&key, &value);
    }
    batch
}

fn facts() -> SnapshotFacts {
    SnapshotFacts {
        engine: "postgresql".into(),
        database: "shop".into(),
        moment: Moment(1_763_303_422_000),
        server_version: "PostgreSQL 17.2".into(),
        marks: [("timeline".to_owned(), "1".to_owned())].into(),
        warnings: vec!["written once".into()],
        partial: false,
        dbsnap_version: "0.1.0".into(),
    }
}

fn schema() -> Schema {
    Schema { tables: content().into_iter().map(|(table, _)| table).collect(), objects: Vec::new() }
}

fn fill(mut writer: Writer) {
    for (table, cells) in content() {
        writer.begin(&table, None).unwrap();
        rows(&table, &cells).iter().for_each(|row| writer.push(row.unwrap()).unwrap());
        writer.end().unwrap();
    }
    writer.finish(&schema(), &facts()).unwrap();
}

#[test]
fn snapshots_that_version_1_wrote_open() {
    for name in ["v1.snap", "v1.encrypted.snap"] {
        assert!(is_snapshot(&std::fs::read(path(name)).unwrap()));
        let snapshot = open(name);
        assert_eq!((snapshot.facts(), snapshot.schema()), (&facts(), &schema()), "{name}");
        assert_eq!(snapshot.prove(&mut |_| Ok(())).unwrap(), 4_004, "{name}");
        for (table, cells) in content() {
            let mut cursor = snapshot.cursor(&table.name, None, None).unwrap();
            for row in rows(&table, &cells).iter() {
                assert_eq!(cursor.peek().unwrap(), Some(row.unwrap()), "{name}: {}", table.name);
                cursor.advance().unwrap();
            }
            assert!(cursor.peek().unwrap().is_none());
        }
    }
}

#[test]
fn the_same_rows_are_written_as_version_1_wrote_them() {
    let file: Arc<Mutex<Vec<u8>>> = Default::default();
    let target = file.clone();
    let out = move |bytes: Bytes| {
        target.lock().unwrap().extend_from_slice(&bytes);
        Ok(())
    };
    fill(Writer::reproducible(Box::new(out), "postgresql", "shop", [9; 32]).unwrap());
    let now = file.lock().unwrap().clone();
    let ids = |snapshot: &Snapshot| snapshot.tables().iter().map(|table| (table.root, table.leaves)).collect::<Vec<_>>();
    let written = Snapshot::open(Arc::new(Bytes::from(now.clone())), None).unwrap();
    assert_eq!(ids(&written), ids(&open("v1.snap")), "leaves are cut and hashed as they were");
    if zstd::zstd_safe::version_string() == ZSTD {
        assert!(now == std::fs::read(path("v1.snap")).unwrap());
    }
}

fn lines(output: &std::process::Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_script_lists_and_prints_the_tables_of_a_snapshot() {
    for name in ["v1.snap", "v1.encrypted.snap"] {
        let case = Case::new(name, &std::fs::read(path(name)).unwrap());
        let tables = lines(&case.run(&[name]));
        let users = json!({"schema": "public", "name": "users", "rows": 4_000, "distinct": 4_000, "seen": 4_000});
        assert!(tables.len() == 4 && tables[0] == users && tables[2]["rows"] == 2 && tables[2]["distinct"] == 1, "{tables:?}");
        for (table, cells) in content() {
            let printed = lines(&case.run(&[name, "--table", &table.name.to_string()]));
            assert!(printed.iter().eq(cells.iter().map(|(_, line)| line)), "{name}: {}", table.name);
        }
        assert_eq!(serde_json::from_value::<Schema>(lines(&case.run(&[name, "--schema"]))[0].clone()).unwrap(), schema());
        assert!(case.run(&[name, "--table", "public.log", "-o", "out"]).status.success());
        assert_eq!(case.read("out"), b"{\"line\": \"the same\"}\n{\"line\": \"the same\"}\n");
        case.refused(&mut case.command(&[name, "--table", "public.log", "-o", "out"]), 2, "exists already");
        case.refused(&mut case.command(&[name, "--table", "public.other"]), 2, "there is no table public.other");
        let header = case.run(&[name, "--info"]);
        assert_eq!(serde_json::from_slice::<Value>(&header.stdout).unwrap()["engine"], "postgresql");
    }
}

#[test]
fn the_script_refuses_a_snapshot_that_is_cut_altered_or_of_another_key() {
    for name in ["v1.snap", "v1.encrypted.snap"] {
        let whole = std::fs::read(path(name)).unwrap();
        let refused = |bytes: &[u8], says: &str| {
            let case = Case::new("a.snap", bytes);
            case.refused(&mut case.command(&["a.snap", "--table", "public.users", "-o", "out"]), 1, says);
        };
        refused(&whole[..whole.len() - 1], "the end of the snapshot is missing");
        refused(&whole[..600], "the end of the snapshot is missing");
        refused(&whole[..100], "the header is not whole");
        for at in [700, whole.len() - 100] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            refused(&flipped, "is not authentic");
        }
    }
    let case = Case::new("a.snap", &std::fs::read(path("v1.encrypted.snap")).unwrap());
    case.refused(case.command(&["a.snap"]).env("ENCRYPTION_KEY", "some other passphrase of length"), 3, "the passphrase given makes key");
    case.refused(case.command(&["a.snap"]).env("HIDE_ZSTD", "1").env("PATH", "/nonexistent"), 2, "no zstd was found");
}
