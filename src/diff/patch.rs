//! A comparison as one JSON document, change by change: to be applied, or turned round to be reverted.
//!
//! Changed documents and JSON values are told by the operations of RFC 6902 too.

use serde_json::Value;

use super::{
    document,
    report::{PatchRow, Report},
    values::storage,
};
use crate::{
    domain::diff::ChangeFilter,
    error::Result,
    snapshot::{ChangeKind, Class, Key, Row, Table, bson_text, json_quote},
};

/// Which way a patch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From before to after.
    Apply,
    /// From after to before.
    Revert,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Revert => "revert",
        }
    }
}

/// The patch in pieces that follow each other, of the tables of the report, or the one that the filter names. `from` and
/// `to` are the labels of the sides in that order. Errors when the report has no such table.
pub fn json_patch(
    report: &Report,
    filter: &ChangeFilter,
    direction: Direction,
    from: &str,
    to: &str,
) -> Result<impl Iterator<Item = Result<String>> + Send + use<>> {
    let names = match &filter.table {
        Some(name) => vec![name.clone()],
        None => report.table_names(),
    };
    let mut tables = Vec::new();
    for name in names {
        let sides = report.tables(&name)?;
        tables.push((name.clone(), sides, report.patch_rows(&name, filter)?));
    }
    let mut head = format!("{{\"format\":\"dbsnap-patch\",\"version\":1,\"direction\":\"{}\",\"from\":", direction.word());
    json_quote(from, &mut head);
    head.push_str(",\"to\":");
    json_quote(to, &mut head);
    head.push_str(",\"changes\":[");
    let mut first = true;
    let changes = tables.into_iter().flat_map(move |(name, (before, after), rows)| {
        rows.map(move |row| {
            let row = row?;
            let sides = match direction {
                Direction::Apply => ((row.change.before.as_ref(), before.as_ref()), (row.change.after.as_ref(), after.as_ref())),
                Direction::Revert => ((row.change.after.as_ref(), after.as_ref()), (row.change.before.as_ref(), before.as_ref())),
            };
            change(&name, direction, &row, sides.0, sides.1)
        })
    });
    let changes = changes.map(move |text: Result<String>| {
        let comma = if std::mem::take(&mut first) { "\n" } else { ",\n" };
        Ok(format!("{comma}{}", text?))
    });
    Ok(std::iter::once(Ok(head)).chain(changes).chain(std::iter::once(Ok("\n]}\n".to_owned()))))
}

type Side<'a> = (Option<&'a Row>, Option<&'a Table>);

fn change(name: &str, direction: Direction, row: &PatchRow, from: Side<'_>, to: Side<'_>) -> Result<String> {
    let operation = match (row.change.kind, direction) {
        (ChangeKind::Changed, _) => "change",
        (ChangeKind::Added, Direction::Apply) | (ChangeKind::Removed, Direction::Revert) => "add",
        _ => "remove",
    };
    let mut out = String::from("{\"table\":");
    json_quote(name, &mut out);
    out.push_str(&format!(",\"op\":\"{operation}\",\"key\":"));
    write_key(if operation == "add" { to } else { from }, &mut out);
    let changed = |column: &str| row.change.kind != ChangeKind::Changed || row.documents || row.columns.iter().any(|other| other == column);
    for (label, side) in [("before", from), ("after", to)] {
        if let (Some(cells), Some(table)) = side
            && !(row.documents && operation == "change")
        {
            out.push_str(&format!(",\"{label}\":"));
            write_cells(cells, table, &changed, &mut out);
        }
    }
    if row.multiset {
        let count = |side: Side<'_>| side.0.map_or(0, |row| row.count);
        out.push_str(&format!(",\"count\":{{\"before\":{},\"after\":{}}}", count(from), count(to)));
    }
    if operation == "change" {
        write_operations(from, to, row, &mut out)?;
    }
    out.push('}');
    Ok(out)
}

fn write_key((row, table): Side<'_>, out: &mut String) {
    let (Some(row), Some(table)) = (row, table) else { return out.push_str("null") };
    match &table.key {
        Key::Row => out.push_str("null"),
        Key::Columns { columns } => match table.stored().position(|column| column.class == Class::Bson) {
            Some(place) => {
                out.push_str("{\"_id\":");
                out.push_str(&crate::snapshot::document_id_json(row.cells.get(place).and_then(|cell| cell.as_deref()).unwrap_or_default()));
                out.push('}');
            }
            None => write_cells(row, table, &|name| columns.iter().any(|column| column == name), out),
        },
    }
}

fn write_cells(row: &Row, table: &Table, wanted: &dyn Fn(&str) -> bool, out: &mut String) {
    out.push('{');
    let mut first = true;
    for (column, cell) in table.stored().zip(&row.cells).filter(|(column, _)| wanted(&column.name)) {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        json_quote(&column.name, out);
        out.push(':');
        match cell {
            None => out.push_str("null"),
            Some(value) => write_value(column.class, value, out),
        }
    }
    out.push('}');
}

/// Numbers keep every digit; bytes are `{"$hex": "…"}`.
pub fn write_value(class: Class, value: &[u8], out: &mut String) {
    match class {
        Class::Any => {
            let (class, value) = storage(value);
            write_value(class, value, out);
        }
        Class::Bson => bson_text(value, out),
        Class::Boolean if value == b"t" => out.push_str("true"),
        Class::Boolean if value == b"f" => out.push_str("false"),
        Class::Bytes => write_hex(value, out),
        _ => match std::str::from_utf8(value) {
            Ok(text) if matches!(class, Class::Integer | Class::Float | Class::Json) && is_json(text) => out.push_str(text),
            Ok(text) => json_quote(text, out),
            Err(_) => write_hex(value, out),
        },
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn write_hex(value: &[u8], out: &mut String) {
    out.push_str(&Value::from(serde_json::Map::from_iter([("$hex".to_owned(), Value::from(hex::encode(value)))])).to_string());
}

/// The operations within each changed document and JSON value, by column.
fn write_operations(from: Side<'_>, to: Side<'_>, row: &PatchRow, out: &mut String) -> Result<()> {
    let ((Some(before), Some(old)), (Some(after), Some(new))) = (from, to) else { return Ok(()) };
    let mut told = Vec::new();
    for (column, cell) in old.stored().zip(&before.cells) {
        let twin = new.stored().zip(&after.cells).find(|(other, _)| other.name == column.name);
        let (Some(one), Some((other, Some(two)))) = (cell, twin) else { continue };
        let operations = match (column.class, other.class) {
            (Class::Bson, Class::Bson) => Some(document::bson_operations(one, two)?),
            (Class::Json, Class::Json) if row.columns.contains(&column.name) => document::json_operations(one, two),
            _ => None,
        };
        told.extend(operations.map(|operations| (&column.name, operations)));
    }
    if told.is_empty() {
        return Ok(());
    }
    out.push_str(",\"operations\":{");
    for (at, (name, operations)) in told.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        json_quote(name, out);
        out.push(':');
        out.push_str(operations);
    }
    out.push('}');
    Ok(())
}
