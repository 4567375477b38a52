#![no_main]
//! A snapshot: a whole file, rows as they are read from one, and a file whose blocks open but hold anything. The first byte
//! says which.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dbsnap::snapshot::{
    Class, Column, Key, Layout, RowBatch, RowCursor, RowRef, SNAPSHOT, Schema, Snapshot, Table, TableName, container, parts,
};
use dbsnap_fuzz::KEYS;
use libfuzzer_sys::fuzz_target;

/// Most rows that an input may become.
const MAX_ROWS: usize = 100_000;

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    match how % 4 {
        0 => drop(Snapshot::open(Arc::new(Bytes::copy_from_slice(bytes)), Some(&*KEYS)).map(|snapshot| read(&snapshot))),
        1 => row(bytes),
        2 => read(&forged(bytes, 0)),
        _ => read(&forged(bytes, 1 + how % 3)),
    }
});

fn table(key: Key) -> Table {
    let column = |(name, class)| Column {
        name: String::from(name),
        type_name: String::new(),
        class,
        nullable: true,
        default: None,
        generated: None,
        options: Default::default(),
    };
    let columns = [("a", Class::Integer), ("b", Class::Text), ("c", Class::Uuid), ("d", Class::Any)].into_iter().map(column).collect();
    Table { name: TableName::new(None, "t"), columns, key, definition: String::new(), options: Default::default() }
}

/// What a key or value holds is written again as the same bytes, or refused.
fn row(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let _ = parts(key);
    for by in [Key::Row, Key::Columns { columns: vec!["a".into(), "c".into()] }, Key::Columns { columns: vec!["d".into()] }] {
        let layout = Layout::of(&table(by)).expect("its key is stored");
        let Ok(row) = layout.decode(RowRef { key, value }) else { continue };
        let cells: Vec<_> = row.cells.iter().map(Option::as_deref).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        if layout.encode(&cells, &mut key, &mut value).is_ok() && row.count == 1 {
            assert_eq!(layout.decode(RowRef { key: &key, value: &value }).expect("it was just written"), row);
        }
    }
    let mut batch = RowBatch::default();
    batch.push(key, value);
    assert_eq!(batch.iter().count(), 1);
}

/// A file with one table whose root is a block of these bytes.
fn forged(bytes: &[u8], level: u8) -> Snapshot {
    let file: Arc<Mutex<Vec<u8>>> = Default::default();
    let target = file.clone();
    let out = move |bytes: Bytes| {
        target.lock().expect("one thread").extend_from_slice(&bytes);
        Ok(())
    };
    let mut writer = container::Writer::new(SNAPSHOT, "e", "d", None, Box::new(out)).expect("it is written to memory");
    let schema = Schema { tables: vec![table(Key::Columns { columns: vec!["a".into()] })], objects: Vec::new() };
    let schema = writer.block(&serde_json::to_vec(&schema).expect("it is JSON")).expect("it is short");
    let root = writer.block(bytes).expect("it is short");
    let id = blake3::Hasher::new_keyed(b"dbsnap/v1/public-snapshot-hashes").update(&[level]).update(bytes).finalize();
    let block = |block| serde_json::to_value(block).expect("it is JSON");
    let facts = serde_json::json!({
        "engine": "e", "database": "d", "moment": "2025-11-16T14:30:22.000Z", "serverVersion": "", "dbsnapVersion": ""
    });
    let entry = serde_json::json!({
        "name": "t", "rows": 1, "distinct": 1, "seen": 1, "bytes": bytes.len(), "leaves": 1, "root": id.to_hex().as_str(),
        "level": level, "block": block(root), "last": hex_of_last(bytes)
    });
    let footer = serde_json::json!({"facts": facts, "schema": block(schema), "tables": [entry]});
    writer.finish(footer.to_string().as_bytes()).expect("it is written to memory");
    let bytes = Bytes::from(file.lock().expect("one thread").clone());
    Snapshot::open(Arc::new(bytes), None).expect("its end is as it should be")
}

/// The last bytes, which may be taken for the last key.
fn hex_of_last(bytes: &[u8]) -> String {
    bytes.iter().rev().take(3).rev().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything that is done with a snapshot: it may fail, with an error.
fn read(snapshot: &Snapshot) {
    let _ = snapshot.prove(&mut |_| Ok(()));
    for entry in snapshot.tables() {
        let _ = snapshot.get(&entry.name, b"\x10\x81\x01");
        let _ = snapshot.page(&entry.name, 3, 10);
        let _ = snapshot.leaves(&entry.name).map(|leaves| leaves.take(MAX_ROWS).filter(Result::is_ok).count());
        let Ok(mut cursor) = snapshot.cursor(&entry.name, Some(b"\x10"), Some(b"\x20")) else { continue };
        for _ in 0..MAX_ROWS {
            if cursor.subtrees().is_err() || !matches!(cursor.peek(), Ok(Some(_))) || cursor.advance().is_err() {
                break;
            }
        }
    }
}
