//! Sorting, with little memory so that there are many files and merges.

use super::*;
use crate::snapshot::{
    cursor::RowCursor,
    tests::{Random, Rows, rest},
};

fn name() -> TableName {
    TableName::new(None, "orders")
}

/// A sorter that merges three files at a time; with one byte of memory every row is a file.
fn sorter(folder: &Path, memory: usize, keyless: bool) -> Sorter {
    Sorter { fan_in: 3, ..Sorter::new(folder, memory, &name(), keyless) }
}

fn push(sorter: &mut Sorter, key: &[u8], value: &[u8]) {
    sorter.push(RowRef { key, value }).unwrap();
}

#[test]
fn rows_come_in_order_whatever_their_number_and_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(3);
    for (rows, memory) in [(0, 1), (1, 1), (100, 1), (20_000, 3 << 20), (20_000, Sorter::MEMORY)] {
        let mut sorter = sorter(folder.path(), memory, false);
        let mut expected = Rows::new();
        while expected.len() < rows {
            let key = random.next().to_be_bytes()[..1 + random.below(8) as usize].to_vec();
            let value = vec![7; random.below(600) as usize];
            if let std::collections::btree_map::Entry::Vacant(place) = expected.entry(key) {
                push(&mut sorter, place.key(), &value);
                place.insert(value);
            }
        }
        let mut sorted = sorter.finish().unwrap();
        assert!(sorted.runs.len() <= 4 && sorted.subtrees().unwrap().is_empty());
        sorted.skip(0).unwrap();
        assert!(rest(&mut sorted) == expected, "there is nothing that could be passed");
    }
}

#[test]
fn a_row_of_any_size_is_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let mut sorter = sorter(folder.path(), 4 << 20, false);
    let expected: Rows = (0..8_u8).map(|key| (vec![key], vec![key; usize::from(key % 3) * 5_000_000])).collect();
    for (key, value) in expected.iter().rev() {
        push(&mut sorter, key, value);
    }
    assert!(rest(&mut sorter.finish().unwrap()) == expected);
}

#[test]
fn equal_rows_of_a_table_without_a_key_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    for memory in [1, Sorter::MEMORY] {
        let mut sorter = sorter(folder.path(), memory, true);
        for at in 0..40_u8 {
            push(&mut sorter, &[at % 4], &[1 + at % 2, b'v', at % 4]);
        }
        let mut expected = Rows::new();
        for key in 0..4 {
            expected.insert(vec![key], vec![10 * (1 + key % 2), b'v', key]);
        }
        assert_eq!(rest(&mut sorter.finish().unwrap()), expected);
    }
    let mut sorter = sorter(folder.path(), 1, true);
    push(&mut sorter, b"a", b"\x7fv");
    push(&mut sorter, b"a", b"\x01v");
    assert_eq!(rest(&mut sorter.finish().unwrap())[&b"a"[..]], b"\x80\x01v");
}

#[test]
fn equal_keys_in_a_table_with_a_key_are_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for memory in [1, Sorter::MEMORY] {
        let mut sorter = Sorter::new(folder.path(), memory, &name(), false);
        for key in [b"b", b"a", b"b"] {
            push(&mut sorter, key, b"");
        }
        let mut sorted = sorter.finish().unwrap();
        assert_eq!(sorted.peek().unwrap().unwrap().key, b"a");
        sorted.advance().unwrap();
        assert!(sorted.peek().unwrap_err().to_string().contains("two rows of orders have the same key"));
    }
}

#[test]
fn nothing_is_seen_in_the_folder_and_an_unusable_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut sorter = sorter(folder.path(), 1, false);
    push(&mut sorter, b"secret", b"");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let mut missing = Sorter::new(&folder.path().join("missing"), 1, &name(), false);
    let error = missing.push(RowRef { key: b"a", value: b"" }).unwrap_err().to_string();
    assert!(error.contains("making a file for sorting in") && error.contains("missing"), "{error}");
}
