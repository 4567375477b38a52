//! Changes of everything that is no table and no column.

use std::collections::BTreeMap;

use super::{Names, SEQUENCE_VALUE, changed, shortened, table::differing, what};
use crate::{
    domain::diff::{Change, SchemaChange},
    snapshot::{Object, ObjectKind, Schema, TableName},
};

type Place = (ObjectKind, Option<TableName>, TableName);

/// Objects that came, went or changed; those of tables that came or went as a whole are told with them.
pub fn compare(before: &Schema, after: &Schema, names: &Names) -> Vec<SchemaChange> {
    let has = |schema: &Schema, table: &Option<TableName>, map: bool| {
        let name = |name: &TableName| if map { names.after(name) } else { name.clone() };
        table.as_ref().is_none_or(|table| schema.tables.iter().any(|other| name(&other.name) == *table))
    };
    let place = |object: &Object| (object.kind, object.table.as_ref().map(|table| names.after(table)), object.name.clone());
    let mut ours: BTreeMap<Place, &Object> = before.objects.iter().map(|object| (place(object), object)).collect();
    ours.retain(|(_, table, _), _| has(after, table, false));
    let mut changes = Vec::new();
    let mut new = Vec::new();
    for object in after.objects.iter().filter(|object| has(before, &object.table, true)) {
        match ours.remove(&(object.kind, object.table.clone(), object.name.clone())) {
            Some(old) => aspects(old, object, &mut changes),
            None => new.push(object),
        }
    }
    for object in new {
        let twin = ours
            .iter()
            .find(|((kind, table, _), old)| *kind == object.kind && *table == object.table && alike(old, object))
            .map(|(place, _)| place.clone());
        match twin.and_then(|place| ours.remove(&place)) {
            Some(old) => changes.push(renamed(old, object)),
            None => changes.push(one_sided(object, object.table.as_ref(), Change::Added)),
        }
    }
    for ((_, table, _), object) in ours {
        changes.push(one_sided(object, table.as_ref(), Change::Removed));
    }
    changes
}

/// The definitions of a table's objects, in a line each.
pub fn of_table(schema: &Schema, table: &TableName) -> Vec<String> {
    let own = schema.objects.iter().filter(|object| object.table.as_ref() == Some(table));
    own.map(|object| format!("{} {}: {}", object.kind.label(), object.name.name, object.definition)).collect()
}

fn name_of(object: &Object) -> String {
    if object.table.is_some() { object.name.name.clone() } else { object.name.to_string() }
}

fn aspects(before: &Object, after: &Object, changes: &mut Vec<SchemaChange>) {
    let (label, name) = (after.kind.label(), name_of(after));
    if before.definition != after.definition {
        changes.push(changed(after.table.as_ref(), label, &name, "", Some(&before.definition), Some(&after.definition)));
    }
    for (option, one, other) in differing(&before.options, &after.options) {
        if after.kind == ObjectKind::Sequence && option == "value" {
            let mut change = changed(after.table.as_ref(), SEQUENCE_VALUE, &name, "", one, other);
            change.text = format!("sequence value of {name}: {} → {}", shortened(one), shortened(other));
            changes.push(change);
        } else {
            changes.push(changed(after.table.as_ref(), label, &name, option, one, other));
        }
    }
    if before.definition == after.definition && before.references != after.references {
        let text = |object: &Object| object.references.as_ref().map(ToString::to_string);
        changes.push(changed(after.table.as_ref(), label, &name, "references", text(before).as_deref(), text(after).as_deref()));
    }
}

/// The same but for the name.
fn alike(before: &Object, after: &Object) -> bool {
    let nameless = |object: &Object| object.definition.replace(&object.name.name, "\u{0}");
    nameless(before) == nameless(after) && before.options == after.options && before.references == after.references
}

fn renamed(before: &Object, after: &Object) -> SchemaChange {
    let (one, other) = (name_of(before), name_of(after));
    let mut change = changed(after.table.as_ref(), after.kind.label(), &other, "", Some(&one), Some(&other));
    change.text = format!("{}: renamed to {other}", what(after.table.as_ref(), after.kind.label(), &one));
    change
}

fn one_sided(object: &Object, table: Option<&TableName>, change: Change) -> SchemaChange {
    let name = name_of(object);
    let text = Some(object.definition.clone());
    let (before, after) = if change == Change::Added { (None, text) } else { (text, None) };
    SchemaChange {
        table: table.map(ToString::to_string),
        object: object.kind.label().to_owned(),
        text: format!("{}: {change}, {}", what(table, object.kind.label(), &name), shortened(Some(&object.definition))),
        name,
        change,
        before,
        after,
    }
}
