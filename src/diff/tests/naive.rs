//! The comparison that is easy to believe: every row with every other by its cells.

use std::collections::{BTreeMap, BTreeSet};

use super::sample::{Cells, key_names};
use crate::snapshot::{ChangeKind, Table};

/// A change: its kind, the rows' cells with their counts, and the names of the columns that changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NaiveChange {
    pub kind: u8,
    pub before: Option<(Cells, u64)>,
    pub after: Option<(Cells, u64)>,
    pub columns: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Naive {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// In the order of their content.
    pub changes: BTreeSet<NaiveChange>,
}

pub fn kind_number(kind: ChangeKind) -> u8 {
    match kind {
        ChangeKind::Added => 0,
        ChangeKind::Removed => 1,
        ChangeKind::Changed => 2,
    }
}

fn place(table: &Table, name: &str) -> Option<usize> {
    table.stored().position(|column| column.name == name)
}

fn common(before: &Table, after: &Table) -> Vec<String> {
    before.stored().map(|column| column.name.clone()).filter(|name| place(after, name).is_some()).collect()
}

/// Rows by the columns of their key, compared on the columns that both tables have.
pub fn by_key(before: (&Table, &[Cells]), after: (&Table, &[Cells])) -> Naive {
    let index = |(table, rows): (&Table, &[Cells])| -> BTreeMap<Cells, Cells> {
        let mut names = key_names(table);
        names.sort();
        let key = |row: &Cells| names.iter().map(|name| row[place(table, name).unwrap()].clone()).collect();
        rows.iter().map(|row| (key(row), row.clone())).collect()
    };
    let (ours, theirs) = (index(before), index(after));
    let names = common(before.0, after.0);
    let mut found = Naive::default();
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        let (one, other) = (ours.get(key), theirs.get(key));
        let mut columns = Vec::new();
        let kind = match (one, other) {
            (Some(one), Some(other)) => {
                let differs = |name: &&String| one[place(before.0, name).unwrap()] != other[place(after.0, name).unwrap()];
                columns.extend(names.iter().filter(differs).cloned());
                if columns.is_empty() {
                    found.unchanged += 1;
                    continue;
                }
                found.changed += 1;
                ChangeKind::Changed
            }
            (Some(_), None) => {
                found.removed += 1;
                ChangeKind::Removed
            }
            _ => {
                found.added += 1;
                ChangeKind::Added
            }
        };
        let counted = |row: Option<&Cells>| row.map(|row| (row.clone(), 1));
        found.changes.insert(NaiveChange { kind: kind_number(kind), before: counted(one), after: counted(other), columns });
    }
    found
}

/// How often each row is there, by the columns that both tables have, in the order before.
pub fn by_count(before: (&Table, &[Cells]), after: (&Table, &[Cells]), kept: impl Fn(&str) -> bool) -> Naive {
    let names: Vec<_> = common(before.0, after.0).into_iter().filter(|name| kept(name)).collect();
    let count = |(table, rows): (&Table, &[Cells])| {
        let mut counts = BTreeMap::<Cells, u64>::new();
        for row in rows {
            *counts.entry(names.iter().map(|name| row[place(table, name).unwrap()].clone()).collect()).or_default() += 1;
        }
        counts
    };
    let (ours, theirs) = (count(before), count(after));
    // A side's rows are read back in the order of its own columns.
    let own = |table: &Table, row: &Cells| -> Cells {
        table.stored().filter_map(|column| Some(row[names.iter().position(|name| *name == column.name)?].clone())).collect()
    };
    let mut found = Naive::default();
    let rows: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for row in rows {
        let (one, other) = (ours.get(row).copied().unwrap_or(0), theirs.get(row).copied().unwrap_or(0));
        found.unchanged += one.min(other);
        found.added += other.saturating_sub(one);
        found.removed += one.saturating_sub(other);
        if one != other {
            let kind = if other > one { ChangeKind::Added } else { ChangeKind::Removed };
            let side = |count: u64, table| (count > 0).then(|| (own(table, row), count));
            let (before, after) = (side(one, before.0), side(other, after.0));
            found.changes.insert(NaiveChange { kind: kind_number(kind), before, after, columns: Vec::new() });
        }
    }
    found
}
