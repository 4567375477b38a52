//! Files whose every block opens, but whose parts do not belong together: made by hand, as a program with an error or an
//! attacker with the key would.

use super::*;
use crate::snapshot::{
    container,
    footer::Footer,
    hashing::Hashing,
    index::{Entry, Totals},
};

fn row(key: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![0x10, 0x81, key], vec![0, 1, b'v'])
}

fn leaf(keys: &[u8]) -> Vec<u8> {
    let mut batch = RowBatch::default();
    keys.iter().map(|key| row(*key)).for_each(|(key, value)| batch.push(&key, &value));
    batch.bytes().to_vec()
}

/// A file in the making.
struct Forge {
    file: container::Writer,
    bytes: Arc<Mutex<Vec<u8>>>,
    hashing: Hashing,
}

impl Forge {
    fn new() -> Self {
        let (out, bytes) = memory();
        let file = container::Writer::new(SNAPSHOT, "e", "d", None, out).unwrap();
        Self { file, bytes, hashing: Hashing::new(None) }
    }

    /// A leaf that says what it holds.
    fn leaf(&mut self, plain: &[u8], last: u8, rows: u64) -> Entry {
        let totals = Totals { rows, distinct: rows, leaves: 1, bytes: plain.len() as u64 };
        let block = self.file.block(plain).unwrap();
        Entry { last: row(last).0.into(), totals, id: self.hashing.leaf(plain), block }
    }

    /// A node of these children.
    fn node(&mut self, level: u8, children: &[&Entry]) -> Entry {
        let mut plain = vec![level];
        let mut hasher = self.hashing.hasher(level);
        let mut totals = Totals::default();
        for child in children {
            let mut covered = Vec::new();
            child.put(&mut covered);
            hasher.update(&covered);
            plain.extend(covered);
            child.block.put(&mut plain);
            totals.add(&child.totals);
        }
        let block = self.file.block(&plain).unwrap();
        let last = children.last().map(|child| child.last.clone()).unwrap_or_default();
        Entry { last, totals, id: *hasher.finalize().as_bytes(), block }
    }

    /// Ends the file with this as the root of its table, on this level.
    fn finish(self, root: &Entry, level: u8) -> Snapshot {
        self.end(Some(root), level, &serde_json::to_vec(&Schema { tables: vec![keyed("t")], objects: vec![] }).unwrap()).unwrap()
    }

    fn end(mut self, root: Option<&Entry>, level: u8, schema: &[u8]) -> Result<Snapshot> {
        let schema = self.file.block(schema).unwrap();
        let totals = root.map_or(Totals { rows: 7, ..Totals::default() }, |root| root.totals);
        let entry = TableEntry {
            name: name(),
            rows: totals.rows,
            distinct: totals.distinct,
            seen: totals.rows,
            bytes: totals.bytes,
            leaves: totals.leaves,
            root: root.map_or_else(|| self.hashing.leaf(b""), |root| root.id),
            sample: None,
            level,
            block: root.map(|root| root.block),
            last: root.map(|root| root.last.clone()).unwrap_or_default(),
        };
        let footer = Footer { facts: facts(), schema, tables: vec![entry] };
        self.file.finish(&serde_json::to_vec(&footer).unwrap()).unwrap();
        open(&self.bytes.lock().unwrap())
    }
}

fn unproven(snapshot: &Snapshot, says: &str) {
    let error = snapshot.prove(&mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("proving t: ") && error.contains(says), "{error}");
}

/// Reads everything as whoever shows, compares or restores it would.
fn read(snapshot: &Snapshot) -> Result<u64> {
    let mut cursor = snapshot.cursor(&name(), None, None)?;
    let mut rows = 0;
    while cursor.peek()?.is_some() {
        cursor.advance()?;
        rows += 1;
    }
    Ok(rows)
}

#[test]
fn what_is_made_by_hand_as_it_should_be_is_proven() {
    let mut forge = Forge::new();
    let leaves = [forge.leaf(&leaf(&[1, 2]), 2, 2), forge.leaf(&leaf(&[3]), 3, 1)];
    let root = forge.node(1, &[&leaves[0], &leaves[1]]);
    let snapshot = forge.finish(&root, 1);
    assert_eq!((snapshot.prove(&mut |_| Ok(())).unwrap(), read(&snapshot).unwrap()), (3, 3));
}

#[test]
fn leaves_that_are_not_what_the_index_says_are_refused() {
    let one = |plain: &[u8], last: u8, rows: u64| {
        let mut forge = Forge::new();
        let root = forge.leaf(plain, last, rows);
        forge.finish(&root, 0)
    };
    unproven(&one(&leaf(&[2, 1]), 1, 2), "not in the order of their keys");
    unproven(&one(&leaf(&[1, 1]), 1, 2), "not in the order of their keys");
    unproven(&one(&leaf(&[1, 2]), 3, 2), "not those that belong here");
    unproven(&one(&leaf(&[1, 2]), 2, 3), "not those that belong here");
    unproven(&one(&leaf(&[1, 2])[..3], 1, 1), "is cut");
    assert!(read(&one(&leaf(&[1, 2])[..3], 1, 1)).is_err());
    unproven(&one(b"\x03\x10\x81\x01\x04\0\x01vX", 1, 1), "columns of its table");
    unproven(&one(b"\x06\x10\x81\x01\x10\x81\x01\x03\0\x01v", 1, 1), "columns of its table");
    let mut forge = Forge::new();
    let other = Entry { id: [7; 32], ..forge.leaf(&leaf(&[1]), 1, 1) };
    let snapshot = forge.finish(&other, 0);
    unproven(&snapshot, "not those that belong here");
    assert!(read(&snapshot).unwrap_err().to_string().contains("not those that belong here"));
}

/// Makes a root and its level over two leaves.
type Roots<'a> = &'a dyn Fn(&mut Forge, [Entry; 2]) -> (Entry, u8);

#[test]
fn nodes_that_do_not_fit_where_they_stand_are_refused() {
    let refused = |forged: Roots<'_>| {
        let mut forge = Forge::new();
        let leaves = [forge.leaf(&leaf(&[1, 2]), 2, 2), forge.leaf(&leaf(&[3]), 3, 1)];
        let (root, level) = forged(&mut forge, leaves);
        let snapshot = forge.finish(&root, level);
        unproven(&snapshot, "it is not the part of the index that belongs here");
        assert!(read(&snapshot).is_err());
        assert!(snapshot.leaves(&name()).unwrap().last().unwrap().is_err(), "the error comes once, and is the last");
    };
    refused(&|forge, [a, b]| (forge.node(1, &[&b, &a]), 1));
    refused(&|forge, [a, _]| (forge.node(1, &[&a, &a]), 1));
    refused(&|forge, [a, b]| (forge.node(1, &[&a, &b]), 2));
    refused(&|forge, [a, b]| (forge.node(2, &[&a, &b]), 1));
    refused(&|forge, [a, b]| (Entry { id: a.id, ..forge.node(1, &[&a, &b]) }, 1));
    refused(&|forge, [a, b]| (Entry { last: row(4).0.into(), ..forge.node(1, &[&a, &b]) }, 1));
    refused(&|forge, [a, b]| (Entry { totals: a.totals, ..forge.node(1, &[&a, &b]) }, 1));
    refused(&|forge, _| (forge.node(1, &[]), 1));
    refused(&|forge, [a, _]| (Entry { block: forge.file.block(b"").unwrap(), ..a }, 1));
    refused(&|forge, [a, _]| (Entry { block: forge.file.block(b"\x01").unwrap(), ..a }, 1));
    for cut in 2..60 {
        refused(&|forge, [a, b]| {
            let whole = forge.node(1, &[&a, &b]);
            let mut plain = vec![1];
            a.put(&mut plain);
            a.block.put(&mut plain);
            plain.truncate(cut.min(plain.len() - 1));
            (Entry { block: forge.file.block(&plain).unwrap(), ..whole }, 1)
        });
    }
    let long = [&[1, 0][..], &[0; 4], &[0; 32], &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]].concat();
    refused(&|forge, [a, _]| (Entry { block: forge.file.block(&long).unwrap(), ..a }, 1));
}

#[test]
fn a_footer_or_schema_that_does_not_belong_is_refused() {
    let schema = serde_json::to_vec(&Schema { tables: vec![keyed("t")], objects: vec![] }).unwrap();
    unproven(&Forge::new().end(None, 0, &schema).unwrap(), "a table without rows says that it has some");
    let mut forge = Forge::new();
    let root = forge.leaf(&leaf(&[1]), 1, 1);
    let error = forge.end(Some(&root), 0, b"{\"tables\":[],\"objects\":[]}").unwrap().prove(&mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("rows of t, but not its columns"));
    assert!(Forge::new().end(None, 0, b"[").err().unwrap().to_string().contains("its end cannot be read"));
    let forge = Forge::new();
    forge.file.finish(b"{\"tables\":[{\"name\":\"t\",\"root\":\"xx\"}]}").unwrap();
    assert!(open(&forge.bytes.lock().unwrap()).err().unwrap().to_string().contains("its end cannot be read"));
}
