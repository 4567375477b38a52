//! Rows that an engine gives, gathered in memory; a plain comparison of two of them; and changes sent to a target.

use std::collections::BTreeMap;

use dbsnap::{
    domain::run::Run,
    engines::{Applied, ApplyOptions, KeyRange, OnConflict, Order, RowSource, RowTarget, insert_order},
    error::Result,
    snapshot::{ChangeKind, Layout, Row, RowChange, RowRef, Schema, Table, rows},
};
use tokio::sync::mpsc;

pub const STOP: ApplyOptions = ApplyOptions { on_conflict: OnConflict::Stop, dry_run: false };
pub const SKIP: ApplyOptions = ApplyOptions { on_conflict: OnConflict::Skip, dry_run: false };
pub const OVERWRITE: ApplyOptions = ApplyOptions { on_conflict: OnConflict::Overwrite, dry_run: false };

/// A table with its rows in the order of their keys; equal rows of a table without a key are one with their number.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub table: Table,
    pub rows: Vec<(Vec<u8>, Row)>,
}

impl Content {
    pub fn name(&self) -> String {
        self.table.name.to_string()
    }
}

pub type Everything = Vec<Content>;

/// Names the first rows that differ, without all that do not.
pub fn assert_eq_content(found: &Everything, expected: &Everything) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.table, expected.table);
        let short = |row: &Row| format!("{row:.0?}").chars().take(500).collect::<String>();
        if let Some(change) = changes(&expected.rows, &found.rows).first() {
            panic!("{}: expected {:?}, found {:?}", found.name(), change.before.as_ref().map(short), change.after.as_ref().map(short));
        }
    }
    assert_eq!(found.len(), expected.len());
}

/// The rows of a table in the order they come, with their keys.
pub async fn gather(source: &mut dyn RowSource, table: &Table, range: &KeyRange, run: &Run) -> Result<Vec<(Vec<u8>, Row)>> {
    let layout = Layout::of(table)?;
    let (sender, mut receiver) = rows(table)?;
    let gathering = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(batch) = receiver.recv().await {
            for row in batch.iter() {
                let RowRef { key, value } = row.unwrap();
                all.push((key.to_vec(), layout.decode(RowRef { key, value }).unwrap()));
            }
        }
        all
    });
    source.rows(table, range, sender, run).await?;
    Ok(gathering.await.unwrap())
}

/// Everything that a source gives. The order that it promises is looked at.
pub async fn everything(source: &mut dyn RowSource, run: &Run) -> Everything {
    let mut all = Vec::new();
    for table in source.schema().tables.clone() {
        let found = gather(source, &table, &KeyRange::all(), run).await.unwrap_or_else(|error| panic!("{}: {error}", table.name));
        if source.order(&table) == Order::Key {
            assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{}", table.name);
        }
        let keyless = Layout::of(&table).unwrap().keyless();
        let mut rows: BTreeMap<Vec<u8>, Row> = BTreeMap::new();
        for (key, row) in found {
            match rows.get_mut(&key) {
                None => drop(rows.insert(key, row)),
                Some(twin) => {
                    assert!(keyless && twin.cells == row.cells, "two rows of {} have one key", table.name);
                    twin.count += row.count;
                }
            }
        }
        all.push(Content { table, rows: rows.into_iter().collect() });
    }
    all
}

pub fn table(source: &dyn RowSource, name: &str) -> Table {
    find(source.schema(), name)
}

pub fn find(schema: &Schema, name: &str) -> Table {
    schema.tables.iter().find(|table| table.name.name == name).unwrap_or_else(|| panic!("table {name}")).clone()
}

/// What makes `before` equal `after`, in the order of the keys.
pub fn changes(before: &[(Vec<u8>, Row)], after: &[(Vec<u8>, Row)]) -> Vec<RowChange> {
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) = (before.iter().cloned().collect(), after.iter().cloned().collect());
    let mut keys: Vec<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let change = |key: &Vec<u8>| {
        let (before, after) = (before.get(key).cloned(), after.get(key).cloned());
        let kind = match (&before, &after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (before, after) if before == after => return None,
            _ => ChangeKind::Changed,
        };
        Some(RowChange { kind, before, after })
    };
    keys.into_iter().filter_map(change).collect()
}

/// The other way round.
pub fn reverse(changes: Vec<RowChange>) -> Vec<RowChange> {
    let turned = changes.into_iter().map(|change| RowChange {
        kind: match change.kind {
            ChangeKind::Added => ChangeKind::Removed,
            ChangeKind::Removed => ChangeKind::Added,
            ChangeKind::Changed => ChangeKind::Changed,
        },
        before: change.after,
        after: change.before,
    });
    turned.collect()
}

/// Sends changes in batches, as a comparison does.
pub async fn apply(
    target: &mut dyn RowTarget,
    table: &Table,
    changes: Vec<RowChange>,
    options: ApplyOptions,
    run: &Run,
) -> Result<Applied> {
    let (sender, receiver) = mpsc::channel(1);
    let mut changes = changes;
    let sending = tokio::spawn(async move {
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(100));
            if sender.send(std::mem::replace(&mut changes, rest)).await.is_err() {
                break;
            }
        }
    });
    let applied = target.apply(table, receiver, options, run).await;
    sending.await.unwrap();
    applied
}

/// Makes everything anew in an empty target and commits it; returns what it has to say.
pub async fn load(mut target: Box<dyn RowTarget>, schema: &Schema, content: &Everything, run: &Run) -> Result<Vec<String>> {
    let mut notes = target.create(schema, false, run).await?;
    for name in insert_order(schema) {
        let content = content.iter().find(|content| content.table.name == name).unwrap();
        let added = changes(&[], &content.rows);
        let rows: u64 = content.rows.iter().map(|(_, row)| row.count).sum();
        let applied = apply(target.as_mut(), &content.table, added, STOP, run).await?;
        assert_eq!(applied, Applied { inserted: rows, ..Applied::default() }, "{name}");
    }
    notes.extend(target.create(schema, true, run).await?);
    target.commit(run).await?;
    Ok(notes)
}
