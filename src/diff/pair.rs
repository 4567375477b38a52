//! Which columns of two tables are compared with each other, and how their rows are paired.

use super::{
    pattern::ignores_column,
    rekey::{Rekey, written_alike},
    values::{Comparison, Rules},
};
use crate::{
    domain::diff::DiffOptions,
    error::Result,
    snapshot::{Class, Column, Key, Layout, RowRef, Table},
};

/// A side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Before,
    After,
}

/// How the rows of one table are compared: made once from the table as it is on each side.
pub struct RowSpec {
    /// Stored columns of both sides, those before first.
    pub columns: Vec<Paired>,
    /// What a person should know, such as that rows could not be paired by their key.
    pub notes: Vec<String>,
    pub(super) before: Option<Side>,
    pub(super) after: Option<Side>,
    pub(super) rules: Rules,
    /// Rows have nothing that names them: only how often each is there counts.
    pub(super) multiset: bool,
    /// The one column holds a document, whose fields are told as columns.
    pub(super) documents: bool,
    /// Both sides' values are written alike: equal bytes are equal rows.
    pub(super) same_values: bool,
    /// Of each column that both values hold: its place in the value before, in the value after, and among the columns.
    pub(super) compared: Vec<(usize, usize, usize)>,
    pub(super) ignored: Vec<String>,
    rekey: Option<Rekey>,
}

/// One column of a comparison.
pub struct Paired {
    pub name: String,
    /// The column as each side has it.
    pub before: Option<Column>,
    pub after: Option<Column>,
    /// Its place among the cells of each side's rows.
    pub place: (Option<usize>, Option<usize>),
    pub key: bool,
    /// The options hide its changes.
    pub ignored: bool,
    pub(super) comparison: Option<Comparison>,
}

/// One side's rows: the table whose stored columns their cells are, and how they are written.
pub(super) struct Side {
    pub table: Table,
    pub layout: Layout,
}

impl RowSpec {
    /// `None` is a side that has no such table: its cursor is [`super::NoRows`].
    /// Errors when a key names a column that is not stored.
    pub fn of(before: Option<&Table>, after: Option<&Table>, options: &DiffOptions) -> Result<Self> {
        let mut notes = Vec::new();
        let mut columns = pair_columns(before, after, options);
        let rekey = match (before, after) {
            (Some(before), Some(after)) => Rekey::decide(before, after, &columns, &mut notes)?,
            _ => None,
        };
        let side = |table: Option<&Table>, which| -> Result<Option<Side>> {
            let Some(table) = table else { return Ok(None) };
            let table = rekey.as_ref().map_or_else(|| table.clone(), |rekey| rekey.table(which).clone());
            let layout = match &rekey {
                Some(_) => Layout::of(&Table { key: Key::Row, ..table.clone() })?,
                None => Layout::of(&table)?,
            };
            Ok(Some(Side { table, layout }))
        };
        let (before_side, after_side) = (side(before, Which::Before)?, side(after, Which::After)?);
        let multiset = match &rekey {
            Some(rekey) => rekey.multiset(),
            None => before_side.as_ref().or(after_side.as_ref()).is_some_and(|side| side.layout.keyless()),
        };
        place_columns(&mut columns, before_side.as_ref(), after_side.as_ref());
        let mut spec = Self {
            columns,
            notes,
            before: before_side,
            after: after_side,
            rules: Rules::of(options),
            multiset,
            documents: false,
            same_values: false,
            compared: Vec::new(),
            ignored: options.ignore_columns.clone(),
            rekey,
        };
        spec.documents = !spec.columns.is_empty() && spec.columns.iter().all(|column| column.class() == Some(Class::Bson));
        spec.compare_values();
        spec.note_zones();
        Ok(spec)
    }

    /// Both sides must first be mapped by [`RowSpec::rekey`] and sorted again; a sorter then adds the counts of equal keys.
    pub fn needs_rekey(&self) -> bool {
        self.rekey.is_some()
    }

    /// Appends the key and value that a row of one side is compared under. Errors when the row is not of its table.
    pub fn rekey(&self, which: Which, row: RowRef<'_>, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<()> {
        match &self.rekey {
            Some(rekey) => rekey.map(which, row, key, value),
            None => {
                key.extend_from_slice(row.key);
                value.extend_from_slice(row.value);
                Ok(())
            }
        }
    }

    /// Rows have nothing that names them: they are compared by how often each is there.
    pub fn keyless(&self) -> bool {
        self.multiset
    }

    /// The table as one side's rows are read back from the report: its stored columns are those of their cells.
    pub fn table(&self, which: Which) -> Option<&Table> {
        let side = if which == Which::Before { &self.before } else { &self.after };
        side.as_ref().map(|side| &side.table)
    }

    fn compare_values(&mut self) {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return };
        let value = |side: &Side, place: Option<usize>| side.layout.value_columns().iter().position(|column| Some(*column) == place);
        self.compared = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(at, column)| Some((value(before, column.place.0)?, value(after, column.place.1)?, at)))
            .collect();
        self.compared.sort_unstable();
        let classes = |side: &Side| -> Vec<_> {
            let stored: Vec<_> = side.table.stored().collect();
            side.layout.value_columns().iter().map(|at| (stored[*at].name.clone(), stored[*at].class)).collect()
        };
        self.same_values = classes(before) == classes(after);
    }

    fn note_zones(&mut self) {
        for column in &self.columns {
            if let (Some(before), Some(after)) = (&column.before, &column.after)
                && matches!((before.class, after.class), (Class::Timestamp, Class::Instant) | (Class::Instant, Class::Timestamp))
            {
                self.notes.push(format!("column {}: only one side has a time zone; the other's times are taken as UTC", column.name));
            }
        }
    }
}

impl Paired {
    /// The class after, or before where the column is gone.
    pub fn class(&self) -> Option<Class> {
        self.after.as_ref().or(self.before.as_ref()).map(|column| column.class)
    }
}

fn pair_columns(before: Option<&Table>, after: Option<&Table>, options: &DiffOptions) -> Vec<Paired> {
    let stored = |table: Option<&Table>| -> Vec<Column> { table.map(|table| table.stored().cloned().collect()).unwrap_or_default() };
    let mut rest = stored(after);
    let mut columns = Vec::new();
    let is_key = |name: &str| {
        [after, before]
            .into_iter()
            .flatten()
            .any(|table| matches!(&table.key, Key::Columns { columns } if columns.iter().any(|key| key == name)))
    };
    let ignored =
        |name: &str| [after, before].into_iter().flatten().any(|table| ignores_column(&options.ignore_columns, &table.name, name));
    let mut push = |before: Option<Column>, after: Option<Column>, name: String| {
        let comparison = before.as_ref().zip(after.as_ref()).map(|(before, after)| Comparison::of(before, after));
        columns.push(Paired { key: is_key(&name), ignored: ignored(&name), name, before, after, place: (None, None), comparison });
    };
    for column in stored(before) {
        let other = rest.iter().position(|other| other.name == column.name).map(|at| rest.remove(at));
        let name = column.name.clone();
        push(Some(column), other, name);
    }
    for column in rest {
        let name = column.name.clone();
        push(None, Some(column), name);
    }
    columns
}

fn place_columns(columns: &mut [Paired], before: Option<&Side>, after: Option<&Side>) {
    let place = |side: Option<&Side>, name: &str| side.and_then(|side| side.table.stored().position(|column| column.name == name));
    for column in columns {
        column.place = (place(before, &column.name), place(after, &column.name));
    }
}

/// Both tables' rows pair by their keys' bytes as they are.
pub(super) fn keys_alike(before: &Table, after: &Table) -> bool {
    let (Key::Columns { columns: one }, Key::Columns { columns: other }) = (&before.key, &after.key) else { return false };
    let find = |table: &Table, name: &String| table.stored().find(|column| column.name == *name).cloned();
    one == other && one.iter().all(|name| find(before, name).zip(find(after, name)).is_some_and(|(one, other)| parts_alike(&one, &other)))
}

fn parts_alike(before: &Column, after: &Column) -> bool {
    let text =
        |class| !matches!(class, Class::Integer | Class::Uuid | Class::Bson | Class::Any | Class::Decimal | Class::Float | Class::Boolean);
    let times = |class| matches!(class, Class::Date | Class::Time | Class::Timestamp | Class::Instant);
    let plain = |class| text(class) && !times(class);
    written_alike(before, after) || (plain(before.class) && plain(after.class))
}
