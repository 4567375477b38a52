//! Snapshots as a whole: what is written is read back, equal content is equal, and nothing altered is taken for whole.

mod equal_content;
mod forged;
mod hostile;
mod random_access;
mod random_tables;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{container::Output, *};
use crate::{
    domain::time::Moment,
    error::{Error, Result},
};

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys that every test can make, from numbers instead of a passphrase.
pub(super) struct TestKeys(pub u8);

impl Unlock for TestKeys {
    fn unlock(&self, note: &KeyNote, file_salt: &[u8; 32], preamble: &[u8]) -> Result<FileKeys> {
        if note.kdf != "test" {
            return Err(Error::validation("another key derivation"));
        }
        let seal = blake3::derive_key("test seal", &[&[self.0][..], file_salt, preamble].concat());
        let hash = blake3::derive_key("test hash", &[self.0]);
        Ok(FileKeys { seal: seal.into(), hash: hash.into() })
    }
}

pub(super) fn lock(keys: &TestKeys) -> Lock<'_> {
    let note = KeyNote { key_id: format!("0000000{}", keys.0), kdf: "test".into(), iterations: 1, salt: "00".repeat(16) };
    Lock { note, keys }
}

/// A file in memory, and where its bytes go.
pub(super) fn memory() -> (Output, Arc<Mutex<Vec<u8>>>) {
    let file: Arc<Mutex<Vec<u8>>> = Default::default();
    let target = file.clone();
    (
        Box::new(move |bytes: Bytes| {
            target.lock().unwrap().extend_from_slice(&bytes);
            Ok(())
        }),
        file,
    )
}

pub(super) fn facts() -> SnapshotFacts {
    SnapshotFacts {
        engine: "sqlite".into(),
        database: "shop".into(),
        moment: Moment(1_700_000_000_000),
        server_version: "SQLite 3".into(),
        marks: Default::default(),
        warnings: vec!["none".into()],
        partial: false,
        dbsnap_version: "0.1.0".into(),
    }
}

/// A table of a key and a value.
pub(super) fn table(name: &str, key: Key) -> Table {
    let column = |name: &str, class| Column {
        name: name.into(),
        type_name: String::new(),
        class,
        nullable: true,
        default: None,
        generated: None,
        options: Default::default(),
    };
    let columns = vec![column("id", Class::Integer), column("value", Class::Text)];
    Table { name: TableName::new(None, name), columns, key, definition: String::new(), options: Default::default() }
}

pub(super) fn keyed(name: &str) -> Table {
    table(name, Key::Columns { columns: vec!["id".into()] })
}

/// Writes one table of rows with these keys and values.
pub(super) fn write(table: &Table, rows: &Rows, lock: Option<Lock<'_>>, sample: Option<f64>) -> (Vec<u8>, TableEntry) {
    let (out, file) = memory();
    let mut writer = Writer::new(out, lock, "sqlite", "shop").unwrap();
    writer.begin(table, sample).unwrap();
    for (key, value) in rows {
        writer.push(RowRef { key, value }).unwrap();
    }
    let entry = writer.end().unwrap();
    let schema = Schema { tables: vec![table.clone()], objects: Vec::new() };
    let size = writer.finish(&schema, &facts()).unwrap();
    let bytes = file.lock().unwrap().clone();
    assert_eq!(size, bytes.len() as u64);
    (bytes, entry)
}

pub(super) fn open(bytes: &[u8]) -> Result<Snapshot> {
    Snapshot::open(Arc::new(Bytes::copy_from_slice(bytes)), None)
}

pub(super) fn name() -> TableName {
    TableName::new(None, "t")
}

/// A table of `rows` rows whose values have about `length` bytes, the same for the same seed.
pub(super) fn some_rows(rows: u64, length: usize, seed: u64) -> Rows {
    let mut random = Random(seed);
    let mut key = |at: u64| {
        let mut key = Vec::new();
        push_integer(&mut key, i128::from(at) * 7 - 1000);
        let length = random.below(2 * length as u64 + 1);
        (key, some_value(length, &mut random))
    };
    (0..rows).map(&mut key).collect()
}

/// A value of a row of [`table`], of this many random bytes.
pub(super) fn some_value(length: u64, random: &mut Random) -> Vec<u8> {
    let mut value = vec![0];
    varint::put(&mut value, length);
    value.extend((0..length).map(|_| random.next() as u8));
    value
}

pub(super) fn leaf_ids(snapshot: &Snapshot) -> Vec<[u8; 32]> {
    snapshot.leaves(&name()).unwrap().map(|leaf| leaf.unwrap().id).collect()
}

/// Numbers that are the same in every run (xorshift64*).
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// All rows from here on.
pub(super) fn rest(cursor: &mut dyn RowCursor) -> Rows {
    let mut rows = Rows::new();
    while let Some(row) = cursor.peek().unwrap() {
        assert!(rows.last_key_value().is_none_or(|(last, _)| last[..] < *row.key));
        rows.insert(row.key.to_vec(), row.value.to_vec());
        cursor.advance().unwrap();
    }
    assert!(cursor.peek().unwrap().is_none());
    rows
}
