//! Equal rows have equal ids in different files, and a small change makes few new ones.

use std::collections::HashSet;

use super::*;

fn snapshot(rows: &Rows) -> (Snapshot, TableEntry) {
    let (bytes, entry) = write(&keyed("t"), rows, None, None);
    (open(&bytes).unwrap(), entry)
}

#[test]
fn the_same_rows_are_the_same_tree_under_the_same_key_only() {
    let rows = some_rows(5_000, 200, 1);
    let of = |key: u8| {
        let keys = TestKeys(key);
        let (bytes, entry) = write(&keyed("t"), &rows, Some(lock(&keys)), None);
        (leaf_ids(&Snapshot::open(Arc::new(Bytes::from(bytes)), Some(&keys)).unwrap()), entry.root)
    };
    let first = of(1);
    assert_eq!(first, of(1), "two files with salts of their own");
    let second = of(2);
    assert!(first.1 != second.1 && first.0.iter().all(|id| !second.0.contains(id)));
    assert_ne!(snapshot(&rows).1.root, first.1);
}

#[test]
fn the_order_in_which_rows_came_does_not_matter() {
    let rows = some_rows(5_000, 200, 2);
    let expected = snapshot(&rows).1.root;
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    for _ in 0..3 {
        let mut shuffled: Vec<_> = rows.iter().collect();
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, random.below(at as u64 + 1) as usize);
        }
        let mut sorter = Sorter::new(folder.path(), 1 << 20, &name(), false);
        for (key, value) in shuffled {
            sorter.push(RowRef { key, value }).unwrap();
        }
        assert_eq!(snapshot(&rest(&mut sorter.finish().unwrap())).1.root, expected);
    }
}

#[test]
fn leaves_have_the_sizes_they_should_have() {
    for (rows, length) in [(60_000, 60), (400, 20_000), (9, 700_000)] {
        let rows = some_rows(rows, length, 3);
        let (snapshot, entry) = snapshot(&rows);
        let mut sizes: Vec<usize> = Vec::new();
        for leaf in snapshot.leaves(&name()).unwrap() {
            let leaf = leaf.unwrap();
            let inside = rest(&mut snapshot.cursor(&name(), leaf.after.as_deref(), Some(&leaf.to)).unwrap());
            let mut batch = RowBatch::default();
            inside.iter().for_each(|(key, value)| batch.push(key, value));
            assert!(batch.bytes().len() <= 256 << 10 || inside.len() == 1);
            sizes.push(batch.bytes().len());
        }
        assert_eq!(sizes.iter().sum::<usize>() as u64, entry.bytes);
        sizes.pop();
        let before_large = |at: usize| sizes.get(at + 1).is_none_or(|next| *next > 200 << 10);
        assert!(sizes.iter().enumerate().all(|(at, size)| *size >= 16 << 10 || before_large(at)), "{sizes:?}");
        if length == 60 {
            assert!((48..80).contains(&((entry.bytes / entry.leaves) >> 10)), "{} leaves", entry.leaves);
        }
    }
}

#[test]
fn an_edit_an_insert_or_a_removal_makes_few_new_leaves() {
    let rows = some_rows(20_000, 200, 4);
    let (before, _) = snapshot(&rows);
    let known: HashSet<_> = leaf_ids(&before).into_iter().collect();
    let mut random = Random(77);
    let mut edges: Vec<Vec<u8>> = before.leaves(&name()).unwrap().step_by(9).map(|leaf| leaf.unwrap().to).collect();
    edges.extend((0..7).map(|_| rows.keys().nth(random.below(20_000) as usize).unwrap().clone()));
    let (mut tried, mut new) = (0, 0);
    for key in edges {
        for kind in 0..4 {
            let mut edited = rows.clone();
            match kind {
                0 => drop(edited.remove(&key)),
                1 => drop(edited.insert(key.clone(), vec![1])),
                2 => drop(edited.insert(key.clone(), some_value(3000, &mut random))),
                _ => drop(edited.insert([&key[..], b"\x10\x80"].concat(), some_value(50, &mut random))),
            }
            let changed = leaf_ids(&snapshot(&edited).0).iter().filter(|id| !known.contains(*id)).count();
            assert!(changed <= 12, "{changed} new leaves");
            tried += 1;
            new += changed;
        }
    }
    assert!(new * 10 <= tried * 25, "{new} new leaves in {tried} changes: more than 2.5 each");
}

/// Keys that both have with other values, or only one has, found by walking both and passing what is equal; and how many
/// rows were looked at.
fn differences(one: &Snapshot, other: &Snapshot) -> (Vec<Vec<u8>>, u64) {
    let cursor = |snapshot: &Snapshot| snapshot.cursor(&name(), None, None).unwrap();
    let (mut left, mut right) = (cursor(one), cursor(other));
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let subtrees = right.subtrees().unwrap().to_vec();
        let equal = |(at, tree): (usize, &Subtree)| Some((at, subtrees.iter().position(|other| other.id == tree.id)?));
        let skip = left.subtrees().unwrap().iter().enumerate().rev().find_map(equal);
        if let Some((at, other_at)) = skip {
            left.skip(at).unwrap();
            right.skip(other_at).unwrap();
            continue;
        }
        let (row, other) = (left.peek().unwrap(), right.peek().unwrap());
        let order = match (row, other) {
            (None, None) => return (found, looked_at),
            (Some(row), Some(other)) => row.key.cmp(other.key),
            (row, other) => other.is_some().cmp(&row.is_some()),
        };
        if row != other {
            found.push(if order.is_gt() { other } else { row }.unwrap().key.to_vec());
        }
        looked_at += 1;
        if order.is_le() {
            left.advance().unwrap();
        }
        if order.is_ge() {
            right.advance().unwrap();
        }
    }
}

#[test]
fn differences_are_found_without_looking_at_the_rest() {
    let long = |(mut key, value): (Vec<u8>, Vec<u8>)| {
        push_text(&mut key, &[b'x'; 1500]);
        (key, value)
    };
    let rows: Rows = some_rows(12_000, 500, 5).into_iter().map(long).collect();
    let (before, _) = snapshot(&rows);
    assert_eq!(differences(&before, &before.clone()), (vec![], 0));
    let mut random = Random(6);
    let mut after = rows.clone();
    let mut expected = std::collections::BTreeSet::new();
    for round in 0..12 {
        let at = if round == 0 { 11_999 } else { random.below(12_000) };
        let key = rows.keys().nth(at as usize).unwrap().clone();
        if round % 3 == 0 {
            after.remove(&key);
        } else {
            after.insert(key.clone(), some_value(round, &mut random));
        }
        expected.insert(key);
    }
    let (after, _) = snapshot(&after);
    let (found, looked_at) = differences(&before, &after);
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    assert!(looked_at < 12 * 300, "{looked_at} of 12000 rows");
}

#[test]
fn a_sample_keeps_the_same_rows_in_every_snapshot_and_says_so() {
    let rows = some_rows(10_000, 20, 6);
    let sampled = |rows: &Rows, share: f64| {
        let (bytes, entry) = write(&keyed("t"), rows, None, Some(share));
        let snapshot = open(&bytes).unwrap();
        assert_eq!(snapshot.prove(&mut |_| Ok(())).unwrap(), entry.rows);
        (rest(&mut snapshot.cursor(&name(), None, None).unwrap()), entry)
    };
    let (kept, entry) = sampled(&rows, 0.1);
    assert_eq!((entry.seen, entry.rows, entry.sample), (10_000, kept.len() as u64, Some(0.1)));
    assert!((850..1150).contains(&kept.len()), "{}", kept.len());
    let half: Rows = rows.iter().step_by(2).map(|(key, value)| (key.clone(), value.clone())).collect();
    let (kept_of_half, _) = sampled(&half, 0.1);
    assert!(kept_of_half.iter().eq(kept.iter().filter(|(key, _)| half.contains_key(*key))));
    let more = sampled(&rows, 0.3).0;
    assert!(kept.keys().all(|key| more.contains_key(key)), "a larger share keeps more of the same");
    assert_eq!(sampled(&rows, 1.0).0.len(), 10_000);
    assert_eq!((sampled(&rows, 0.0).0.len(), sampled(&rows, 0.0).1.rows), (0, 0));
    let mut writer = Writer::new(memory().0, None, "sqlite", "shop").unwrap();
    assert!(writer.begin(&keyed("t"), Some(1.5)).unwrap_err().to_string().contains("between 0 and 1"));
}
