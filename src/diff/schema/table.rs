//! Changes of a table itself: its columns, its key, its options.

use std::collections::BTreeMap;

use super::{SEQUENCE_VALUE, changed, definition, shortened};
use crate::{
    domain::diff::{Change, SchemaChange},
    snapshot::{Column, Key, Table},
};

/// A table that came or went, with what belongs to it.
pub fn whole(table: &Table, change: Change, objects: Vec<String>) -> SchemaChange {
    let mut lines: Vec<_> = table.columns.iter().map(|column| format!("{} {}", column.name, describe(column))).collect();
    lines.extend(objects);
    let text = Some(lines.join("\n"));
    let (before, after) = if change == Change::Added { (None, text) } else { (text, None) };
    SchemaChange {
        table: Some(table.name.to_string()),
        object: "table".to_owned(),
        name: table.name.to_string(),
        change,
        text: format!("table {}: {change}", table.name),
        before,
        after,
    }
}

/// `objects` are the changes of everything that is no column.
pub fn compare(before: &Table, after: &Table, objects: &[SchemaChange], changes: &mut Vec<SchemaChange>) {
    let start = changes.len();
    let name = after.name.to_string();
    if before.name != after.name {
        let mut change = changed(Some(&after.name), "table", &name, "", Some(&before.name.to_string()), Some(&name));
        change.text = format!("table {}: likely renamed to {name}", before.name);
        changes.push(change);
    }
    let find = |table: &'_ Table, name: &str| table.columns.iter().find(|column| column.name == name).cloned();
    for column in &before.columns {
        match find(after, &column.name) {
            Some(other) => columns(after, column, &other, changes),
            None => changes.push(one_sided(after, column, Change::Removed)),
        }
    }
    for column in after.columns.iter().filter(|column| find(before, &column.name).is_none()) {
        changes.push(one_sided(after, column, Change::Added));
    }
    order(before, after, changes);
    key(before, after, objects, changes);
    let mut table_options = false;
    for (option, one, other) in differing(&before.options, &after.options) {
        let counter = option == "auto_increment";
        let object = if counter { SEQUENCE_VALUE } else { "table" };
        table_options |= !counter;
        let mut change = changed(Some(&after.name), object, &name, option, one, other);
        if counter {
            change.text = format!("sequence value of {name}: {} → {}", shortened(one), shortened(other));
        }
        changes.push(change);
    }
    let own = objects.iter().filter(|change| change.table.as_deref() == Some(&name[..]));
    let explained: Vec<_> = changes[start..].iter().chain(own).map(|change| change.name.rsplit('.').next().unwrap_or_default()).collect();
    if definition::differs(before, after, &explained, table_options) {
        let (one, other) = (Some(&before.definition[..]), Some(&after.definition[..]));
        changes
            .push(SchemaChange { object: "definition".to_owned(), ..changed(Some(&after.name), "table", &name, "definition", one, other) });
    }
}

fn one_sided(table: &Table, column: &Column, change: Change) -> SchemaChange {
    let text = Some(describe(column));
    let (before, after) = if change == Change::Added { (None, text.clone()) } else { (text.clone(), None) };
    SchemaChange {
        table: Some(table.name.to_string()),
        object: "column".to_owned(),
        name: column.name.clone(),
        change,
        text: format!("column {}.{}: {change}, {}", table.name, column.name, shortened(text.as_deref())),
        before,
        after,
    }
}

/// `varchar(80) not null default ''`.
fn describe(column: &Column) -> String {
    let mut text = if column.type_name.is_empty() { "no type".to_owned() } else { column.type_name.clone() };
    if !column.nullable {
        text.push_str(" not null");
    }
    for (word, value) in [("default", &column.default), ("generated as", &column.generated)] {
        if let Some(value) = value {
            text.push_str(&format!(" {word} {value}"));
        }
    }
    for (option, value) in &column.options {
        text.push_str(&format!(" {option} {value}"));
    }
    text
}

fn columns(table: &Table, before: &Column, after: &Column, changes: &mut Vec<SchemaChange>) {
    let mut push = |aspect: &str, one: Option<&str>, other: Option<&str>| {
        if one != other {
            changes.push(changed(Some(&table.name), "column", &after.name, aspect, one, other));
        }
    };
    let null = |column: &Column| Some(if column.nullable { "null" } else { "not null" });
    push("type", Some(&before.type_name), Some(&after.type_name));
    push("", null(before), null(after));
    push("default", before.default.as_deref(), after.default.as_deref());
    push("generated as", before.generated.as_deref(), after.generated.as_deref());
    for (option, one, other) in differing(&before.options, &after.options) {
        push(option, one, other);
    }
}

/// The columns that both have, in another order.
fn order(before: &Table, after: &Table, changes: &mut Vec<SchemaChange>) {
    let common = |table: &Table, other: &Table| -> Vec<String> {
        let both = |column: &&Column| other.columns.iter().any(|twin| twin.name == column.name);
        table.columns.iter().filter(both).map(|column| column.name.clone()).collect()
    };
    let (one, other) = (common(before, after), common(after, before));
    if one != other {
        let name = after.name.to_string();
        changes.push(changed(Some(&after.name), "table", &name, "order of columns", Some(&one.join(", ")), Some(&other.join(", "))));
    }
}

/// What names a row. A changed primary key says it already.
fn key(before: &Table, after: &Table, objects: &[SchemaChange], changes: &mut Vec<SchemaChange>) {
    let name = after.name.to_string();
    let told = objects.iter().any(|change| change.object == "primary key" && change.table.as_deref() == Some(&name[..]));
    if before.key == after.key || told {
        return;
    }
    let text = |key: &Key| match key {
        Key::Columns { columns } => columns.join(", "),
        Key::Row => "the whole row".to_owned(),
    };
    let mut change = changed(Some(&after.name), "key", &name, "", Some(&text(&before.key)), Some(&text(&after.key)));
    change.text = format!("key of {name}: {} → {}", text(&before.key), text(&after.key));
    changes.push(change);
}

/// Options with another value, each with both.
pub fn differing<'a>(
    before: &'a BTreeMap<String, String>,
    after: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a str, Option<&'a str>, Option<&'a str>)> {
    let added = after.keys().filter(|option| !before.contains_key(*option));
    before
        .keys()
        .chain(added)
        .map(|option| (&option[..], before.get(option).map(String::as_str), after.get(option).map(String::as_str)))
        .filter(|(_, one, other)| one != other)
}
