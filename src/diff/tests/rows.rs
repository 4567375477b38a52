//! Random tables of every class and key shape, edited at random, against the naive comparison.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    naive::{Naive, NaiveChange, by_count, by_key, kind_number},
    sample::{CLASSES, Cells, Dice, Stored, column, compare, key_names, store, table, value},
};
use crate::{
    diff::{merge::Tally, report::Report},
    domain::diff::{ChangeFilter, DiffOptions},
    snapshot::{Class, Row, Table},
};

/// A table with up to five columns and a key of none, one or two of them.
fn random_table(dice: &mut Dice) -> Table {
    let columns: Vec<_> = (0..1 + dice.roll(5)).map(|at| column(&format!("c{at}"), dice.pick(&CLASSES))).collect();
    let key: Vec<_> = (0..dice.roll(3).min(columns.len() as u64)).map(|at| format!("c{at}")).collect();
    table(columns, &key.iter().map(String::as_str).collect::<Vec<_>>())
}

fn random_row(table: &Table, dice: &mut Dice) -> Cells {
    let key = key_names(table);
    let mut cell = |name: &String, class| (key.contains(name) || dice.roll(5) > 0).then(|| value(class, dice));
    table.stored().map(|column| cell(&column.name, column.class)).collect()
}

/// Rows whose keys are all different; any rows where there is no key.
pub fn random_rows(table: &Table, count: u64, dice: &mut Dice) -> Vec<Cells> {
    let mut rows: Vec<Cells> = Vec::new();
    for _ in 0..count {
        let row = random_row(table, dice);
        push_new(table, &mut rows, row);
    }
    rows
}

fn key_of(table: &Table, row: &Cells) -> Cells {
    key_names(table).iter().map(|name| row[table.stored().position(|column| column.name == *name).unwrap()].clone()).collect()
}

fn push_new(table: &Table, rows: &mut Vec<Cells>, row: Cells) {
    let key = key_of(table, &row);
    if key.is_empty() || rows.iter().all(|other| key_of(table, other) != key) {
        rows.push(row);
    }
}

/// Rows removed, changed and added, few or many.
fn edited(table: &Table, rows: &[Cells], dice: &mut Dice) -> Vec<Cells> {
    let often = 2 + dice.roll(30);
    let mut after: Vec<Cells> = Vec::new();
    for row in rows {
        match dice.roll(often) {
            0 => {}
            1 => {
                let mut other = row.clone();
                let at = dice.roll(row.len() as u64) as usize;
                other[at] = random_row(table, dice).swap_remove(at);
                push_new(table, &mut after, other);
            }
            _ => push_new(table, &mut after, row.clone()),
        }
    }
    for _ in 0..dice.roll(6) {
        let row = random_row(table, dice);
        push_new(table, &mut after, row);
    }
    after
}

/// What the report says, as the naive comparison would say it.
pub fn told(tally: &Tally, report: &Report) -> Naive {
    let columns = report.page(&ChangeFilter::default(), 1, 1, None).unwrap().columns;
    let row = |row: Option<Row>| row.map(|row| (row.cells.into_iter().map(|cell| cell.map(|cell| cell.to_vec())).collect(), row.count));
    let mut changes = BTreeSet::new();
    for change in report.changes("t", &ChangeFilter::default()).unwrap() {
        let (at, change) = change.unwrap();
        let view = report.view("t", at).unwrap();
        let named = columns.iter().zip(&view.cells).filter(|(_, cell)| cell.changed).map(|(column, _)| column.name.clone());
        let told =
            NaiveChange { kind: kind_number(change.kind), before: row(change.before), after: row(change.after), columns: named.collect() };
        assert!(changes.insert(told), "a change is told once");
    }
    Naive { added: tally.added, removed: tally.removed, changed: tally.changed, unchanged: tally.unchanged, changes }
}

fn check_histogram(tally: &Tally, naive: &Naive, report: &Report) {
    for column in report.page(&ChangeFilter::default(), 1, 1, None).unwrap().columns {
        let expect = naive.changes.iter().filter(|change| change.columns.contains(&column.name)).count() as u64;
        assert_eq!(column.changed, expect, "{}", column.name);
    }
    assert_eq!(tally.hidden, 0);
}

/// Drops, adds and moves columns that are not in the key.
fn other_columns(before: &Table, dice: &mut Dice) -> Table {
    let key = key_names(before);
    let mut columns = before.columns.clone();
    columns.retain(|column| key.contains(&column.name) || dice.roll(4) > 0);
    for at in 0..dice.roll(3) {
        columns.insert(dice.roll(columns.len() as u64 + 1) as usize, column(&format!("n{at}"), dice.pick(&CLASSES)));
    }
    if columns.is_empty() {
        columns.push(before.columns[0].clone());
    }
    if dice.roll(3) == 0 {
        columns.reverse();
    }
    Table { columns, ..before.clone() }
}

/// The same rows under other columns: those that are new have random values.
fn moved(before: &Table, after: &Table, rows: &[Cells], dice: &mut Dice) -> Vec<Cells> {
    let cell = |row: &Cells, name: &str| before.stored().position(|column| column.name == name).map(|at| row[at].clone());
    rows.iter()
        .map(|row| after.stored().map(|column| cell(row, &column.name).unwrap_or_else(|| Some(value(column.class, dice)))).collect())
        .collect()
}

fn stored(table: &Table, rows: &[Cells]) -> Stored {
    store(table, rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn edits_of_random_tables_are_told_exactly(seed: u64) {
        let mut dice = Dice(seed);
        let table = random_table(&mut dice);
        let count = dice.pick(&[0, 1, 5, 60]);
        let before = random_rows(&table, count, &mut dice);
        let after = edited(&table, &before, &mut dice);
        let (ours, theirs) = (stored(&table, &before), stored(&table, &after));
        let (tally, report, _) = compare((&table, &ours), (&table, &theirs), &DiffOptions::default(), seed);
        let naive = if key_names(&table).is_empty() {
            by_count((&table, &before), (&table, &after), |_| true)
        } else {
            by_key((&table, &before), (&table, &after))
        };
        check_histogram(&tally, &naive, &report);
        prop_assert_eq!(told(&tally, &report), naive);
        prop_assert_eq!(tally.rows, (before.len() + after.len()) as u64);
    }

    #[test]
    fn tables_with_other_columns_are_compared_on_those_of_both(seed: u64) {
        let mut dice = Dice(seed);
        let before = random_table(&mut dice);
        let after = other_columns(&before, &mut dice);
        let rows = random_rows(&before, 30, &mut dice);
        let changed = edited(&before, &rows, &mut dice);
        let changed = moved(&before, &after, &changed, &mut dice);
        let (tally, report, _) = compare((&before, &stored(&before, &rows)), (&after, &stored(&after, &changed)), &DiffOptions::default(), seed);
        let none_common = before.columns.iter().all(|column| after.columns.iter().all(|other| other.name != column.name));
        let naive = if !key_names(&before).is_empty() {
            by_key((&before, &rows), (&after, &changed))
        } else if none_common {
            prop_assert_eq!((tally.removed, tally.added, tally.unchanged), (rows.len() as u64, changed.len() as u64, 0));
            return Ok(());
        } else {
            by_count((&before, &rows), (&after, &changed), |_| true)
        };
        prop_assert_eq!(told(&tally, &report), naive);
    }
}

#[test]
fn equal_tables_are_skipped_whole_and_an_edit_reads_one_leaf_of_each() {
    let table = table(vec![column("id", Class::Integer), column("name", Class::Text)], &["id"]);
    let rows: Vec<Cells> = (0..2000).map(|at| vec![Some(at.to_string().into_bytes()), Some(b"x".to_vec())]).collect();
    let before = store(&table, &rows);
    let (tally, ..) = compare((&table, &before), (&table, &before), &DiffOptions::default(), 1);
    assert_eq!((tally.unchanged, tally.rows, tally.rows_skipped), (2000, 4000, 4000));
    let mut edited = rows;
    edited[1000][1] = Some(b"y".to_vec());
    let (tally, ..) = compare((&table, &before), (&table, &store(&table, &edited)), &DiffOptions::default(), 1);
    assert_eq!((tally.changed, tally.unchanged, tally.rows), (1, 1999, 4000));
    assert!(tally.rows_skipped > 3900 && tally.leaves_skipped > 500, "{tally:?}");
}
