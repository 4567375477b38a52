//! One change as a page shows it.

use std::collections::HashMap;

use super::{
    entry::Entry,
    heading::Rows,
    select::change,
    show::{alone, cell, exact_text, field_text, view},
};
use crate::{
    diff::{bits, bson::fields_of, document, pair::Which},
    domain::diff::{CellView, ChangeView, ColumnDiff, PathChange},
    error::Result,
    snapshot::{BsonField, ChangeKind, Class, Row, bson_kind, document_id_text},
};

/// The change in its place `at`, with a cell for each of the columns.
pub fn change_view(rows: &Rows, columns: &[ColumnDiff], at: u64, entry: &Entry<'_>) -> Result<ChangeView> {
    let sides = [rows.row(entry, Which::Before)?, rows.row(entry, Which::After)?];
    let (key, cells) =
        if rows.heading.documents { document_cells(columns, entry, &sides)? } else { row_cells(rows, columns, entry, &sides) };
    let count = |side: &Option<Row>| side.as_ref().map_or(0, |row| row.count);
    let counts = rows.heading.multiset.then(|| (count(&sides[0]), count(&sides[1])));
    Ok(ChangeView { at, kind: change(entry.kind), key, cells, counts })
}

fn row_cells(rows: &Rows, columns: &[ColumnDiff], entry: &Entry<'_>, sides: &[Option<Row>; 2]) -> (Vec<String>, Vec<CellView>) {
    let find = |column: usize, which: Which| -> Option<(Class, Option<&[u8]>)> {
        let row = sides[usize::from(which == Which::After)].as_ref()?;
        let place = rows.heading.place(column, which)?;
        Some((*rows.side(which)?.classes.get(place)?, row.cells.get(place)?.as_deref()))
    };
    let cells = (0..columns.len()).map(|column| {
        let (before, after) = (find(column, Which::Before), find(column, Which::After));
        let changed = entry.kind == ChangeKind::Changed && bits::has(entry.columns, column);
        let paths = match (before, after) {
            (Some((Class::Json, Some(before))), Some((Class::Json, Some(after)))) if changed => {
                document::json_paths(before, after).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let shown = |found: Option<(Class, Option<&[u8]>)>| found.map(|(class, value)| cell(class, value, false));
        CellView { changed, before: shown(before), after: shown(after), paths }
    });
    let named = if entry.after.is_some() { Which::After } else { Which::Before };
    let key = rows.heading.key_columns().map(|column| {
        let found = find(column, named);
        found.and_then(|(class, value)| cell(class, value, false).text).unwrap_or_default()
    });
    (key.collect(), cells.collect())
}

fn document_cells(columns: &[ColumnDiff], entry: &Entry<'_>, sides: &[Option<Row>; 2]) -> Result<(Vec<String>, Vec<CellView>)> {
    let document = |side: usize| sides[side].as_ref().and_then(|row| row.cells.first()?.as_deref());
    let fields = |side: usize| document(side).map_or_else(|| Ok(Vec::new()), fields_of);
    let (before, after) = (fields(0)?, fields(1)?);
    let (ours, theirs) = (by_name(&before), by_name(&after));
    let mut cells = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let (one, other) = (ours.get(&column.name).copied(), theirs.get(&column.name).copied());
        let changed = entry.kind == ChangeKind::Changed && bits::has(entry.columns, at);
        // A number of another type may have the same digits: then its type is shown too.
        let retyped = one.zip(other).is_some_and(|(one, other)| one.value.kind != other.value.kind);
        let text = if retyped { exact_text } else { field_text };
        let shown = |field: &BsonField<'_>| view(text(field.value), field.value.bytes.len(), false);
        let paths = match (one, other) {
            (Some(one), Some(other)) if changed => paths(one, other)?,
            _ => Vec::new(),
        };
        cells.push(CellView { changed, before: one.map(shown), after: other.map(shown), paths });
    }
    let key = document(1).or(document(0)).map(document_id_text);
    Ok((key.into_iter().collect(), cells))
}

fn by_name<'f, 'd>(fields: &'f [BsonField<'d>]) -> HashMap<String, &'f BsonField<'d>> {
    fields.iter().map(|field| (String::from_utf8_lossy(field.name).into_owned(), field)).collect()
}

/// The paths that changed within one field; none where it is a plain value.
fn paths(before: &BsonField<'_>, after: &BsonField<'_>) -> Result<Vec<PathChange>> {
    let nested = |field: &BsonField<'_>| matches!(field.value.kind, bson_kind::DOCUMENT | bson_kind::ARRAY);
    if !nested(before) || !nested(after) {
        return Ok(Vec::new());
    }
    document::bson_paths(&alone(before.name, before.value), &alone(after.name, after.value))
}
