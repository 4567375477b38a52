//! Rows whose keys do not pair as they are: mapped to keys that do, to be sorted again.

use std::borrow::Cow;

use super::{
    number::{boolean_as_number, number},
    pair::{Paired, Which, keys_alike},
    times,
    values::storage,
};
use crate::{
    error::{Error, Result},
    snapshot::{Class, Column, Key, Layout, RowRef, Table, push_text, varint},
};

/// Bytes of the key of a row that is named by all its values.
const HASH: usize = 16;

/// How the rows of both sides are mapped.
pub(super) struct Rekey {
    before: Mapping,
    after: Mapping,
    multiset: bool,
}

struct Mapping {
    /// How the rows come.
    layout: Layout,
    /// What they are read back as.
    table: Table,
    /// How they go: all cells of `table` in the value, after a count.
    out: Layout,
    /// Stored columns that are kept, by their place among those that come.
    kept: Vec<usize>,
    /// The columns that name a row: place among those that come, the column, and the one on the other side.
    naming: Vec<(usize, Column, Column)>,
    /// Rows of a table that has no column in common with the other side pair with none of them.
    apart: Option<u8>,
}

impl Rekey {
    /// `None` where the rows pair as they are.
    pub fn decide(before: &Table, after: &Table, columns: &[Paired], notes: &mut Vec<String>) -> Result<Option<Self>> {
        let common: Vec<_> = columns.iter().filter(|column| column.before.is_some() && column.after.is_some()).collect();
        let (naming, multiset): (Vec<&str>, bool) = match (&before.key, &after.key) {
            (Key::Columns { .. }, Key::Columns { .. }) if keys_alike(before, after) => return Ok(None),
            (Key::Columns { columns: one }, Key::Columns { columns: other }) if same_set(one, other) => {
                notes.push("the key's columns changed their type or order: rows are paired by what their keys say".to_owned());
                (one.iter().map(String::as_str).collect(), false)
            }
            (Key::Row, Key::Row) => {
                let whole = common.len() == columns.len() && same_columns(before, after);
                let hides = common.iter().any(|column| column.ignored);
                if whole && !hides {
                    return Ok(None);
                }
                if hides {
                    notes.push(
                        "rows have no key: ignored columns are left out of the comparison, and their changes are not counted".to_owned(),
                    );
                }
                (common.iter().filter(|column| !column.ignored).map(|column| column.name.as_str()).collect(), true)
            }
            _ => {
                notes.push("the key is another one: rows are compared as a whole, by the columns of both sides".to_owned());
                (common.iter().map(|column| column.name.as_str()).collect(), true)
            }
        };
        if multiset && naming.is_empty() {
            notes.push("no column is on both sides: every row counts as removed or added".to_owned());
        }
        Ok(Some(Self {
            before: Mapping::of(before, after, &naming, multiset, 0)?,
            after: Mapping::of(after, before, &naming, multiset, 1)?,
            multiset,
        }))
    }

    pub fn multiset(&self) -> bool {
        self.multiset
    }

    pub fn table(&self, which: Which) -> &Table {
        &self.side(which).table
    }

    pub fn map(&self, which: Which, row: RowRef<'_>, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<()> {
        self.side(which).map(row, self.multiset, key, value)
    }

    fn side(&self, which: Which) -> &Mapping {
        if which == Which::Before { &self.before } else { &self.after }
    }
}

impl Mapping {
    fn of(own: &Table, other: &Table, naming: &[&str], multiset: bool, side: u8) -> Result<Self> {
        let stored: Vec<_> = own.stored().collect();
        let find = |name: &str| other.stored().find(|column| column.name == name);
        let missing = || Error::internal(format!("the key of {} names a column that is not stored", own.name));
        let naming: Vec<_> = naming
            .iter()
            .map(|name| {
                let at = stored.iter().position(|column| column.name == *name)?;
                Some((at, stored[at].clone(), find(name)?.clone()))
            })
            .collect::<Option<_>>()
            .ok_or_else(missing)?;
        let all = !multiset || naming.is_empty();
        let kept: Vec<_> = (0..stored.len()).filter(|at| all || naming.iter().any(|(named, ..)| named == at)).collect();
        let table = Table {
            columns: kept.iter().map(|at| stored[*at].clone()).collect(),
            key: if multiset { Key::Row } else { own.key.clone() },
            ..own.clone()
        };
        let out = Layout::of(&Table { key: Key::Row, ..table.clone() })?;
        let apart = (multiset && naming.is_empty()).then_some(side);
        Ok(Self { layout: Layout::of(own)?, table, out, kept, naming, apart })
    }

    fn map(&self, row: RowRef<'_>, multiset: bool, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<()> {
        let read = self.layout.decode(row)?;
        let cells: Vec<_> = self.kept.iter().map(|at| read.cells[*at].as_deref()).collect();
        let (mut hash, mut encoded) = (Vec::new(), Vec::new());
        self.out.encode(&cells, &mut hash, &mut encoded)?;
        varint::put(value, if multiset { read.count } else { 1 });
        value.extend_from_slice(self.out.count(&encoded)?.1);
        if let Some(side) = self.apart {
            key.push(side);
            key.extend_from_slice(&hash);
            return Ok(());
        }
        let start = key.len();
        for (at, own, other) in &self.naming {
            match read.cells[*at].as_deref() {
                None => key.push(0),
                Some(cell) => push_text(key, &alike(own, other, cell)),
            }
        }
        if multiset {
            let hash = blake3::hash(&key[start..]);
            key.truncate(start);
            key.extend_from_slice(&hash.as_bytes()[..HASH]);
        }
        Ok(())
    }
}

fn same_set(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|name| other.contains(name))
}

fn same_columns(before: &Table, after: &Table) -> bool {
    before.stored().count() == after.stored().count()
        && before.stored().zip(after.stored()).all(|(one, other)| one.name == other.name && written_alike(one, other))
}

/// Values of both columns that mean the same have the same bytes.
pub(super) fn written_alike(before: &Column, after: &Column) -> bool {
    let varies = matches!(before.class, Class::Decimal | Class::Float | Class::Time | Class::Timestamp | Class::Instant);
    before.class == after.class && (!varies || before.type_name == after.type_name)
}

/// The value as bytes that are the same on both sides where it means the same, and differ within one side where it differs.
fn alike<'a>(own: &Column, other: &Column, cell: &'a [u8]) -> Cow<'a, [u8]> {
    if written_alike(own, other) {
        return Cow::Borrowed(cell);
    }
    if own.class == Class::Any || other.class == Class::Any {
        let (class, cell) = if own.class == Class::Any { storage(cell) } else { (own.class, cell) };
        let tag = if numeric(class) { b'n' } else { b't' };
        let value = if numeric(class) { as_number(class, cell) } else { Cow::Borrowed(cell) };
        return Cow::Owned([&[tag], &value[..]].concat());
    }
    let moment = |class| matches!(class, Class::Date | Class::Timestamp | Class::Instant);
    if numeric(own.class) && numeric(other.class) {
        as_number(own.class, cell)
    } else if (moment(own.class) && moment(other.class)) || (own.class == Class::Time && other.class == Class::Time) {
        as_moment(cell)
    } else {
        Cow::Borrowed(cell)
    }
}

fn numeric(class: Class) -> bool {
    matches!(class, Class::Integer | Class::Decimal | Class::Float | Class::Boolean)
}

fn as_number(class: Class, cell: &[u8]) -> Cow<'_, [u8]> {
    let plain = if class == Class::Boolean { boolean_as_number(cell) } else { Cow::Borrowed(cell) };
    let mut text = Vec::new();
    match number(&plain) {
        Some(number) => number.write(&mut text),
        None => return plain,
    }
    Cow::Owned(text)
}

fn as_moment(cell: &[u8]) -> Cow<'_, [u8]> {
    match times::nanoseconds(cell) {
        Some(nanoseconds) => Cow::Owned(nanoseconds.to_string().into_bytes()),
        None => Cow::Borrowed(cell),
    }
}
