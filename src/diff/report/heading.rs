//! What a report says of one table before its changes: the tables of both sides, their columns, how rows are read back.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, damaged};
use crate::{
    diff::{
        fields::{FURTHER, ORDER},
        pair::{Paired, RowSpec, Side, Which},
    },
    domain::diff::ColumnDiff,
    error::Result,
    snapshot::{Class, Key, Layout, Row, RowChange, RowRef, Table},
};

/// A table of a report.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heading {
    pub name: String,
    pub multiset: bool,
    pub documents: bool,
    /// All cells stand in the value, after a count: the key was made for the comparison alone.
    rekeyed: bool,
    before: Option<Table>,
    after: Option<Table>,
    /// Of documents it is empty: their columns are the fields.
    columns: Vec<HeadColumn>,
}

#[derive(Clone, Serialize, Deserialize)]
struct HeadColumn {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    class: Class,
    key: bool,
    before: bool,
    after: bool,
    /// Place among the cells of each side.
    place: (Option<usize>, Option<usize>),
}

/// How one side's rows are read.
pub struct SideRows {
    pub classes: Vec<Class>,
    layout: Layout,
}

/// A heading with what reading rows needs.
pub struct Rows {
    pub heading: Heading,
    pub before: Option<SideRows>,
    pub after: Option<SideRows>,
}

impl Heading {
    pub fn of(spec: &RowSpec) -> Self {
        let table = |side: &Option<Side>| side.as_ref().map(|side| side.table.clone());
        let (before, after) = (table(&spec.before), table(&spec.after));
        let columns = if spec.documents { Vec::new() } else { head_columns(spec) };
        Self {
            name: after.as_ref().or(before.as_ref()).map(|table| table.name.to_string()).unwrap_or_default(),
            multiset: spec.multiset,
            documents: spec.documents,
            rekeyed: spec.needs_rekey(),
            columns,
            before,
            after,
        }
    }

    pub fn table(&self, which: Which) -> Option<&Table> {
        if which == Which::Before { self.before.as_ref() } else { self.after.as_ref() }
    }

    /// Place among a side's cells of a column.
    pub fn place(&self, column: usize, which: Which) -> Option<usize> {
        let place = self.columns.get(column)?.place;
        if which == Which::Before { place.0 } else { place.1 }
    }

    /// Places of the key's columns.
    pub fn key_columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(|(_, column)| column.key).map(|(at, _)| at)
    }

    /// The columns as pages show them, with how many changed rows each has.
    pub fn columns(&self, fields: &[String], changed: &[u64]) -> Vec<ColumnDiff> {
        if self.documents { columns_of_fields(fields, changed) } else { diffs(&self.columns, changed) }
    }

    /// What reads the rows. Errors when the tables are not as they were written.
    pub fn rows(&self) -> Result<Rows> {
        let side = |table: &Option<Table>| -> Result<Option<SideRows>> {
            let Some(table) = table else { return Ok(None) };
            let classes = table.stored().map(|column| column.class).collect();
            let layout = if self.rekeyed { Layout::of(&Table { key: Key::Row, ..table.clone() })? } else { Layout::of(table)? };
            Ok(Some(SideRows { classes, layout }))
        };
        Ok(Rows { before: side(&self.before)?, after: side(&self.after)?, heading: self.clone() })
    }
}

impl Rows {
    pub fn side(&self, which: Which) -> Option<&SideRows> {
        if which == Which::Before { self.before.as_ref() } else { self.after.as_ref() }
    }

    /// The row of one side; `None` where there is none.
    pub fn row(&self, entry: &Entry<'_>, which: Which) -> Result<Option<Row>> {
        let value = if which == Which::Before { entry.before } else { entry.after };
        let Some(value) = value else { return Ok(None) };
        let side = self.side(which).ok_or_else(damaged)?;
        Ok(Some(side.layout.decode(RowRef { key: entry.key, value })?))
    }

    pub fn change(&self, entry: &Entry<'_>) -> Result<RowChange> {
        Ok(RowChange { kind: entry.kind, before: self.row(entry, Which::Before)?, after: self.row(entry, Which::After)? })
    }
}

fn head_columns(spec: &RowSpec) -> Vec<HeadColumn> {
    let column = |column: &Paired| {
        let last = column.after.as_ref().or(column.before.as_ref())?;
        Some(HeadColumn {
            name: column.name.clone(),
            type_name: last.type_name.clone(),
            class: last.class,
            key: column.key,
            before: column.before.is_some(),
            after: column.after.is_some(),
            place: column.place,
        })
    };
    spec.columns.iter().filter_map(column).collect()
}

fn diffs(columns: &[HeadColumn], changed: &[u64]) -> Vec<ColumnDiff> {
    let diff = |(at, column): (usize, &HeadColumn)| ColumnDiff {
        name: column.name.clone(),
        type_name: column.type_name.clone(),
        class: class_name(column.class),
        key: column.key,
        before: column.before,
        after: column.after,
        changed: changed.get(at).copied().unwrap_or(0),
    };
    columns.iter().enumerate().map(diff).collect()
}

/// The columns of a comparison, with how many changed rows each has.
pub fn columns_of(spec: &RowSpec, changed: &[u64]) -> Vec<ColumnDiff> {
    diffs(&head_columns(spec), changed)
}

/// Fields of documents as columns.
pub fn columns_of_fields(fields: &[String], changed: &[u64]) -> Vec<ColumnDiff> {
    let diff = |(at, name): (usize, &String)| ColumnDiff {
        name: name.clone(),
        type_name: String::new(),
        class: class_name(Class::Bson),
        key: name == "_id",
        before: name != ORDER && name != FURTHER,
        after: name != ORDER && name != FURTHER,
        changed: changed.get(at).copied().unwrap_or(0),
    };
    fields.iter().enumerate().map(diff).collect()
}

/// As the class is written in JSON.
pub fn class_name(class: Class) -> String {
    match serde_json::to_value(class) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
