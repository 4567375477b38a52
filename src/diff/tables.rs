//! Which tables of two moments are compared with each other, likely renames among them.

use std::collections::BTreeSet;

use super::pattern::wants_table;
use crate::{
    error::Result,
    snapshot::{Class, Schema, Snapshot, Table, TableName},
};

/// Rows read of each side to tell whether two tables are one under another name.
const SAMPLE: usize = 64;
/// Share of equal rows from which on they likely are.
const LIKELY: f64 = 0.5;

/// Two tables that are compared, or one that has no other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TablePair<'a> {
    pub before: Option<&'a Table>,
    pub after: Option<&'a Table>,
    /// The names differ: likely a rename.
    pub renamed: bool,
}

impl TablePair<'_> {
    /// The name after, or before where the table is gone.
    pub fn name(&self) -> Option<&TableName> {
        self.after.or(self.before).map(|table| &table.name)
    }
}

/// The share of rows that are equal in two tables, 0 to 1.
pub type Likeness<'l> = &'l mut dyn FnMut(&Table, &Table) -> Result<f64>;

/// Pairs tables by name, those that one of the patterns means, all where there is none; sorted by name. A table that is
/// gone and one that is new with the same columns are paired as a likely rename where `likeness` says so: the share of
/// rows that are equal, 0 to 1. Without it nothing is.
pub fn pair_tables<'a>(
    before: &'a Schema,
    after: &'a Schema,
    patterns: &[String],
    mut likeness: Option<Likeness<'_>>,
) -> Result<Vec<TablePair<'a>>> {
    let wanted = |schema: &'a Schema| schema.tables.iter().filter(|table| wants_table(patterns, &table.name)).collect::<Vec<_>>();
    let (mut gone, mut new) = (wanted(before), wanted(after));
    let mut pairs = Vec::new();
    gone.retain(|table| {
        let twin = new.iter().position(|other| other.name == table.name).map(|at| new.remove(at));
        pairs.extend(twin.map(|other| TablePair { before: Some(*table), after: Some(other), renamed: false }));
        twin.is_none()
    });
    while let Some(likeness) = likeness.as_mut() {
        let mut best: Option<(f64, usize, usize)> = None;
        for (at, one) in gone.iter().enumerate() {
            for (place, other) in new.iter().enumerate().filter(|(_, other)| same_columns(one, other)) {
                let share = likeness(one, other)?;
                if share > best.map_or(LIKELY, |best| best.0) {
                    best = Some((share, at, place));
                }
            }
        }
        let Some((_, at, place)) = best else { break };
        pairs.push(TablePair { before: Some(gone.remove(at)), after: Some(new.remove(place)), renamed: true });
    }
    pairs.extend(gone.into_iter().map(|table| TablePair { before: Some(table), after: None, renamed: false }));
    pairs.extend(new.into_iter().map(|table| TablePair { before: None, after: Some(table), renamed: false }));
    pairs.sort_by(|one, other| one.name().cmp(&other.name()));
    Ok(pairs)
}

fn same_columns(before: &Table, after: &Table) -> bool {
    let columns = |table: &Table| -> BTreeSet<(String, String)> {
        table.columns.iter().map(|column| (column.name.clone(), format!("{:?} {}", column.class, column.type_name))).collect()
    };
    // Every collection has the same one column: its rows alone tell.
    let documents = |table: &Table| table.columns.iter().all(|column| column.class == Class::Bson);
    columns(before) == columns(after) && (documents(before) || before.columns.len() > 1 || before.key == after.key)
}

/// How alike two tables of two snapshots are: 1 where all their rows are equal, else the share of sampled rows that are;
/// 0 where one of them is empty.
pub fn likeness(before: &Snapshot, one: &TableName, after: &Snapshot, other: &TableName) -> Result<f64> {
    let (Some(ours), Some(theirs)) = (before.entry(one), after.entry(other)) else { return Ok(0.0) };
    if ours.rows == 0 || theirs.rows == 0 {
        return Ok(0.0);
    }
    if before.hash_key_id() == after.hash_key_id() && ours.root == theirs.root {
        return Ok(1.0);
    }
    // The share is of the larger table, so that a part of a table is not the table.
    let (small, small_name, large, large_name, size) = if ours.distinct <= theirs.distinct {
        (before, one, after, other, (ours.distinct, theirs.distinct))
    } else {
        (after, other, before, one, (theirs.distinct, ours.distinct))
    };
    let step = (size.0 / SAMPLE as u64).max(1);
    let (mut read, mut equal) = (0_u64, 0_u64);
    for place in 0..size.0.min(SAMPLE as u64) {
        // Uneven steps: what repeats every so many rows is not met each time.
        let page = small.page(small_name, place * step + place * 7919 % step, 1)?;
        for row in page.iter() {
            let row = row?;
            read += 1;
            let twin = large.get(large_name, row.key)?;
            equal += u64::from(twin.is_some_and(|(_, value)| value == row.value));
        }
    }
    Ok(if read == 0 { 0.0 } else { equal as f64 / read as f64 * size.0 as f64 / size.1 as f64 })
}
