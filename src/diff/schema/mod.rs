//! Differences between two schemas, each as one readable change.

mod definition;
mod objects;
mod table;

use std::collections::BTreeMap;

use crate::{
    domain::diff::{Change, SchemaChange},
    snapshot::{Schema, Table, TableName},
};

/// What changes of counters are called: they follow the rows and are no change of structure.
pub const SEQUENCE_VALUE: &str = "sequence value";

/// Every difference, sorted by table and kind.
pub fn compare_schema(before: &Schema, after: &Schema) -> Vec<SchemaChange> {
    compare_schema_renamed(before, after, &[])
}

/// The same, where tables likely were renamed: each pair is the name before and after.
pub fn compare_schema_renamed(before: &Schema, after: &Schema, renamed: &[(TableName, TableName)]) -> Vec<SchemaChange> {
    let names = Names { renamed: renamed.iter().cloned().collect() };
    let theirs: BTreeMap<_, _> = after.tables.iter().map(|table| (&table.name, table)).collect();
    let mut ours: BTreeMap<TableName, &Table> = before.tables.iter().map(|table| (names.after(&table.name), table)).collect();
    let objects = objects::compare(before, after, &names);
    let mut changes = Vec::new();
    for (name, table) in theirs {
        match ours.remove(name) {
            Some(old) => table::compare(old, table, &objects, &mut changes),
            None => changes.push(table::whole(table, Change::Added, objects::of_table(after, name))),
        }
    }
    for table in ours.into_values() {
        changes.push(table::whole(table, Change::Removed, objects::of_table(before, &table.name)));
    }
    changes.extend(objects);
    changes.sort_by_cached_key(|change| {
        (change.table.is_some(), change.table.clone(), rank(&change.object), change.name.clone(), change.text.clone())
    });
    changes
}

/// The value of a counter, not the structure.
pub fn is_counter(change: &SchemaChange) -> bool {
    change.object == SEQUENCE_VALUE
}

/// Names of tables that were renamed.
struct Names {
    renamed: BTreeMap<TableName, TableName>,
}

impl Names {
    /// A table's name after, given that before.
    fn after(&self, before: &TableName) -> TableName {
        self.renamed.get(before).unwrap_or(before).clone()
    }
}

fn rank(object: &str) -> u8 {
    match object {
        "table" => 0,
        "column" => 1,
        "key" => 2,
        SEQUENCE_VALUE => 9,
        _ => 5,
    }
}

/// A change of one thing from one text to another: `{what}: {aspect} {before} → {after}`.
fn changed(table: Option<&TableName>, object: &str, name: &str, aspect: &str, before: Option<&str>, after: Option<&str>) -> SchemaChange {
    let what = what(table, object, name);
    let space = if aspect.is_empty() { "" } else { " " };
    SchemaChange {
        table: table.map(ToString::to_string),
        object: object.to_owned(),
        name: name.to_owned(),
        change: Change::Changed,
        text: format!("{what}: {aspect}{space}{} → {}", shortened(before), shortened(after)),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    }
}

/// `column users.email`, `index users.users_email_idx`, `view report`, `table users`.
fn what(table: Option<&TableName>, object: &str, name: &str) -> String {
    match table {
        Some(table) if object != "table" => format!("{object} {table}.{name}"),
        _ => format!("{object} {name}"),
    }
}

/// Bytes of a definition within a line.
const IN_LINE: usize = 160;

fn shortened(text: Option<&str>) -> String {
    let Some(text) = text else { return "none".to_owned() };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.len() {
        0 => "\"\"".to_owned(),
        length if length > IN_LINE => format!("{}…", &line[..line.floor_char_boundary(IN_LINE)]),
        _ => line,
    }
}
