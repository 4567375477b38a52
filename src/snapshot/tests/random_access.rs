//! Rows by key, pages and ranges, against a map in memory.

use super::*;

#[test]
fn what_was_written_is_read_back_whatever_its_size() {
    for rows in [some_rows(0, 1, 1), some_rows(1, 1, 2), some_rows(200, 30, 3), some_rows(30_000, 100, 4), some_rows(5, 400_000, 5)] {
        let keys = TestKeys(1);
        for lock in [None, Some(lock(&keys))] {
            let encrypted = lock.is_some();
            let (bytes, entry) = write(&keyed("t"), &rows, lock, None);
            assert_eq!(key_note(&bytes).unwrap().map(|note| note.key_id).as_deref(), encrypted.then_some("00000001"));
            let snapshot = Snapshot::open(Arc::new(Bytes::from(bytes)), Some(&keys)).unwrap();
            assert_eq!(snapshot.hash_key_id(), encrypted.then_some("00000001"));
            assert_eq!(snapshot.facts(), &facts());
            assert_eq!(snapshot.tables(), std::slice::from_ref(&entry));
            assert_eq!(snapshot.schema().tables, [keyed("t")]);
            assert_eq!((entry.rows, entry.distinct, entry.seen), (rows.len() as u64, rows.len() as u64, rows.len() as u64));
            assert_eq!(snapshot.table(&name()), Some(&keyed("t")));
            let mut read = 0;
            let proven = snapshot.prove(&mut |bytes| {
                read = bytes;
                Ok(())
            });
            assert_eq!(proven.unwrap(), entry.rows);
            assert!(read < snapshot.size() && (read > 0 || rows.is_empty()));
            assert!(rest(&mut snapshot.cursor(&name(), None, None).unwrap()) == rows);
            let leaves: Vec<_> = snapshot.leaves(&name()).unwrap().map(|leaf| leaf.unwrap()).collect();
            assert_eq!(leaves.len() as u64, entry.leaves);
            assert_eq!(leaves.iter().map(|leaf| leaf.rows).sum::<u64>(), entry.rows);
            for leaf in leaves {
                let range = snapshot.cursor(&name(), leaf.after.as_deref(), Some(&leaf.to));
                assert_eq!(rest(&mut range.unwrap()).len() as u64, leaf.rows);
            }
        }
    }
}

#[test]
fn pages_ranges_and_single_rows_are_those_of_a_map() {
    let rows = some_rows(20_000, 200, 6);
    let list: Vec<_> = rows.iter().collect();
    let snapshot = open(&write(&keyed("t"), &rows, None, None).0).unwrap();
    let mut random = Random(9);
    for _ in 0..300 {
        let offset = random.below(20_500) as usize;
        let page = snapshot.page(&name(), offset as u64, 50).unwrap();
        let expected: Vec<_> = list.iter().skip(offset).take(50).map(|(key, value)| RowRef { key, value }).collect();
        assert_eq!(page.iter().map(|row| row.unwrap()).collect::<Vec<_>>(), expected);

        let mut key = Vec::new();
        push_integer(&mut key, i128::from(random.below(150_000)) - 2000);
        let found = snapshot.get(&name(), &key).unwrap();
        assert_eq!(found.map(|(_, value)| value.to_vec()).as_ref(), rows.get(&key));

        let mut to = Vec::new();
        push_integer(&mut to, i128::from(random.below(150_000)) - 2000);
        if key < to {
            let range = rest(&mut snapshot.cursor(&name(), Some(&key), Some(&to)).unwrap());
            let bounds = (std::ops::Bound::Excluded(key.clone()), std::ops::Bound::Included(to.clone()));
            assert!(range.iter().eq(rows.range::<Vec<u8>, _>(bounds)));
        }
    }
}

#[test]
fn subtrees_can_be_passed_from_wherever_one_begins() {
    // Long keys make small nodes, and so a deep tree.
    let long = |(mut key, value): (Vec<u8>, Vec<u8>)| {
        key.extend([0x20; 1500]);
        (key, value)
    };
    let rows: Rows = some_rows(8_000, 2000, 7).into_iter().map(long).collect();
    let snapshot = open(&write(&keyed("t"), &rows, None, None).0).unwrap();
    let mut random = Random(11);
    let mut deepest = 0;
    for _ in 0..40 {
        let mut cursor = snapshot.cursor(&name(), None, None).unwrap();
        let mut seen = 0;
        loop {
            let subtrees = cursor.subtrees().unwrap().to_vec();
            deepest = deepest.max(subtrees.len());
            assert!(subtrees.windows(2).all(|pair| pair[0].rows <= pair[1].rows));
            if !subtrees.is_empty() && random.below(3) > 0 {
                let chosen = random.below(subtrees.len() as u64).min(random.below(3)) as usize;
                seen += subtrees[chosen].rows;
                cursor.skip(chosen).unwrap();
                continue;
            }
            if cursor.peek().unwrap().is_none() {
                break;
            }
            for _ in 0..1 + random.below(2000) {
                if cursor.peek().unwrap().is_some() {
                    cursor.advance().unwrap();
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, rows.len() as u64);
    }
    assert!(deepest >= 3, "the table has {deepest} levels");
}

/// A file that counts how often it is read.
struct Counted(Bytes, Arc<std::sync::atomic::AtomicU64>);

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.read(offset, length)
    }
}

#[test]
fn a_row_or_page_takes_few_reads_and_a_whole_table_large_ones() {
    let rows = some_rows(20_000, 400, 12);
    let reads = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let file = Counted(write(&keyed("t"), &rows, None, None).0.into(), reads.clone());
    let taken = || reads.swap(0, std::sync::atomic::Ordering::Relaxed);
    let snapshot = Snapshot::open(Arc::new(file), None).unwrap();
    assert!(taken() <= 3, "beginning, end and schema");
    assert!(snapshot.entry(&name()).unwrap().level == 1);
    for key in rows.keys().step_by(997) {
        snapshot.get(&name(), key).unwrap().unwrap();
    }
    assert!(taken() <= 1 + 21, "the index once, and a leaf each");
    snapshot.page(&name(), 9_000, 20).unwrap();
    assert!(taken() <= 2);
    assert!(rest(&mut snapshot.cursor(&name(), None, None).unwrap()) == rows);
    let taken = taken();
    assert!(taken <= 12, "{taken} reads of {} leaves", snapshot.entry(&name()).unwrap().leaves);
}

#[test]
fn a_range_that_begins_or_ends_with_a_leaf_offers_it_whole() {
    let rows = some_rows(8_000, 200, 8);
    let snapshot = open(&write(&keyed("t"), &rows, None, None).0).unwrap();
    let leaves: Vec<_> = snapshot.leaves(&name()).unwrap().map(|leaf| leaf.unwrap()).collect();
    for pair in leaves.windows(2) {
        let mut cursor = snapshot.cursor(&name(), Some(&pair[0].to), Some(&pair[1].to)).unwrap();
        assert_eq!(cursor.subtrees().unwrap()[0], Subtree { id: pair[1].id, rows: pair[1].rows, leaves: 1 });
        assert_eq!(cursor.subtrees().unwrap().len(), 1, "what is larger holds other rows too");
        cursor.skip(7).unwrap();
        cursor.skip(0).unwrap();
        assert!(cursor.peek().unwrap().is_none() && cursor.subtrees().unwrap().is_empty());
        cursor.advance().unwrap();
    }
    let mut inside = snapshot.cursor(&name(), rows.keys().next().map(|key| &key[..]), Some(&leaves[1].to)).unwrap();
    assert!(inside.subtrees().unwrap().is_empty());
    for _ in 1..leaves[0].rows {
        inside.advance().unwrap();
    }
    assert_eq!(inside.subtrees().unwrap()[0].id, leaves[1].id, "the end of a leaf is the beginning of the next");
    let mut cut = snapshot.cursor(&name(), None, rows.keys().nth(3).map(|key| &key[..])).unwrap();
    assert!(cut.subtrees().unwrap().is_empty(), "the first leaf goes on after the range");
    assert_eq!(rest(&mut cut).len(), 4);
}

#[test]
fn what_is_not_there_is_told_by_its_name() {
    let snapshot = open(&write(&keyed("t"), &some_rows(3, 9, 1), None, None).0).unwrap();
    let missing = TableName::new(Some("public"), "missing");
    let error = snapshot.page(&missing, 0, 1).unwrap_err();
    assert!(error.to_string().contains("public.missing") && error.kind == crate::error::Kind::NotFound);
    assert!(snapshot.entry(&missing).is_none() && snapshot.table(&missing).is_none());
    assert!(snapshot.get(&name(), b"nothing").unwrap().is_none());
    assert_eq!(snapshot.page(&name(), 3, 10).unwrap().rows(), 0);
    assert_eq!((snapshot.header().engine.as_str(), snapshot.header().database.as_str()), ("sqlite", "shop"));
}

#[test]
fn a_file_on_disk_is_read_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.snap");
    let rows = some_rows(300, 300, 4);
    std::fs::write(&path, write(&keyed("t"), &rows, None, None).0).unwrap();
    let file = FileAt::open(&path).unwrap();
    assert!(is_snapshot(&file.read(0, 8).unwrap()) && !is_snapshot(b"PGDMP"));
    assert!(file.read(file.size() - 1, 2).unwrap_err().to_string().contains("a.snap from byte"));
    let snapshot = Snapshot::open(Arc::new(file), None).unwrap();
    assert!(rest(&mut snapshot.cursor(&name(), None, None).unwrap()) == rows);
    assert!(FileAt::open(&folder.path().join("b.snap")).err().unwrap().to_string().contains("b.snap"));
    let memory = Bytes::from_static(b"abc");
    assert!(memory.read(u64::MAX, 1).is_err() && ReadAt::read(&memory, 2, 2).is_err() && memory.read(1, usize::MAX).is_err());
    assert_eq!(memory.read(1, 2).unwrap(), "bc");
}

#[test]
fn an_unencrypted_snapshot_can_be_written_twice_the_same() {
    let rows = some_rows(500, 300, 1);
    let write = || {
        let (out, file) = memory();
        let mut writer = Writer::reproducible(out, "sqlite", "shop", [7; 32]).unwrap();
        writer.begin(&keyed("t"), None).unwrap();
        rows.iter().for_each(|(key, value)| writer.push(RowRef { key, value }).unwrap());
        writer.end().unwrap();
        writer.finish(&Schema { tables: vec![keyed("t")], objects: vec![] }, &facts()).unwrap();
        file.lock().unwrap().clone()
    };
    assert!(write() == write());
}
