//! Rows as pairs of bytes: a key that orders them, and a value that holds the other columns.

use bytes::Bytes;

use super::{
    key::{self, encode_part},
    schema::{Class, Key, Table},
    varint,
};
use crate::error::{Error, Result};

/// One value; `None` is NULL. The bytes are written as the column's [`Class`] says.
pub type Cell = Option<Bytes>;

/// A row as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// A row read back: the cells of the stored columns, in the table's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub cells: Vec<Cell>,
    /// How often the row is there: more than 1 only in tables without a key.
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

/// One change of a row: what was there and what is there now. In a table without a key, `count` of each says how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    pub kind: ChangeKind,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// How the rows of a table are written: which columns make the key, and which stand in the value.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Of each stored column.
    classes: Vec<Class>,
    /// Stored columns that make the key; empty when the whole row does.
    key: Vec<usize>,
    /// Stored columns in the value: all whose text the key does not give back.
    in_value: Vec<usize>,
    keyless: bool,
}

/// Bytes of a keyless row's key: the beginning of the BLAKE3 of its value.
const HASH: usize = 16;

impl Layout {
    /// Errors when the key names a column that is not stored.
    pub fn of(table: &Table) -> Result<Self> {
        let stored: Vec<_> = table.stored().collect();
        let classes: Vec<_> = stored.iter().map(|column| column.class).collect();
        let key = match &table.key {
            Key::Row => Vec::new(),
            Key::Columns { columns } => {
                let place = |name: &String| {
                    stored.iter().position(|column| column.name == *name).ok_or_else(|| {
                        Error::validation(format!("the key of {} names the column '{name}', which is not stored", table.name))
                    })
                };
                columns.iter().map(place).collect::<Result<Vec<_>>>()?
            }
        };
        let keyless = key.is_empty();
        let in_value = (0..stored.len()).filter(|at| !key.contains(at) || !gives_back(classes[*at])).collect();
        Ok(Self { classes, key, in_value, keyless })
    }

    pub fn keyless(&self) -> bool {
        self.keyless
    }

    /// Stored columns that make the key, by their place among the stored columns.
    pub fn key_columns(&self) -> &[usize] {
        &self.key
    }

    /// Stored columns that stand in the value, by their place among the stored columns; a value's bitmap is in this order.
    pub fn value_columns(&self) -> &[usize] {
        &self.in_value
    }

    /// Appends the row's key and value. `cells` are those of the stored columns. Errors when a key column is null.
    pub fn encode(&self, cells: &[Option<&[u8]>], key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<()> {
        if cells.len() != self.classes.len() {
            return Err(Error::internal(format!("a row with {} values for {} columns", cells.len(), self.classes.len())));
        }
        for at in &self.key {
            let cell = cells[*at].ok_or_else(|| Error::internal("a row whose key is null"))?;
            encode_part(key, self.classes[*at], cell);
        }
        let start = value.len();
        if self.keyless {
            varint::put(value, 1);
        }
        self.encode_value(cells, value);
        if self.keyless {
            key.extend_from_slice(&blake3::hash(&value[start + 1..]).as_bytes()[..HASH]);
        }
        Ok(())
    }

    fn encode_value(&self, cells: &[Option<&[u8]>], value: &mut Vec<u8>) {
        let bitmap = value.len();
        value.resize(bitmap + self.in_value.len().div_ceil(8), 0);
        for (at, column) in self.in_value.iter().enumerate() {
            match cells[*column] {
                None => value[bitmap + at / 8] |= 1 << (at % 8),
                Some(cell) => {
                    varint::put(value, cell.len() as u64);
                    value.extend_from_slice(cell);
                }
            }
        }
    }

    /// The row's cells. Errors when the bytes are not of this layout.
    pub fn decode(&self, row: RowRef<'_>) -> Result<Row> {
        let (count, value) = self.count(row.value)?;
        let mut cells = vec![None; self.classes.len()];
        let parts = if self.keyless { Vec::new() } else { key::parts(row.key)? };
        if parts.len() != self.key.len() {
            return Err(damaged());
        }
        for (part, column) in parts.iter().zip(&self.key) {
            let mut text = Vec::new();
            part.write(&mut text);
            cells[*column] = Some(Bytes::from(text));
        }
        let mut values = Values::new(value, self.in_value.len())?;
        for column in &self.in_value {
            cells[*column] = values.next()?.map(Bytes::copy_from_slice);
        }
        values.end()?;
        Ok(Row { cells, count })
    }

    /// Proves that the row has the columns of this layout, without taking its values. Returns how often it is there.
    pub(super) fn prove(&self, row: RowRef<'_>) -> Result<u64> {
        let (count, rest) = self.count(row.value)?;
        let mut values = self.values(rest)?;
        for _ in &self.in_value {
            values.next()?;
        }
        values.end()?;
        let key =
            if self.keyless { blake3::hash(rest).as_bytes()[..HASH] == *row.key } else { key::parts(row.key)?.len() == self.key.len() };
        if key && count > 0 { Ok(count) } else { Err(damaged()) }
    }

    /// How often the row is there, and the rest of its value: the bitmap and the cells.
    pub fn count<'a>(&self, value: &'a [u8]) -> Result<(u64, &'a [u8])> {
        if self.keyless { varint::take(value) } else { Ok((1, value)) }
    }

    /// The values in a row's value, in the order of [`Layout::value_columns`]; `rest` is what [`Layout::count`] leaves.
    pub fn values<'a>(&self, rest: &'a [u8]) -> Result<Values<'a>> {
        Values::new(rest, self.in_value.len())
    }
}

/// True when a key part holds the value exactly: then the value is not written twice.
fn gives_back(class: Class) -> bool {
    !matches!(class, Class::Any | Class::Bson)
}

/// Reads the cells of a value one after the other.
pub struct Values<'a> {
    bitmap: &'a [u8],
    rest: &'a [u8],
    at: usize,
    columns: usize,
}

impl<'a> Values<'a> {
    fn new(value: &'a [u8], columns: usize) -> Result<Self> {
        let (bitmap, rest) = value.split_at_checked(columns.div_ceil(8)).ok_or_else(damaged)?;
        Ok(Self { bitmap, rest, at: 0, columns })
    }

    /// The next cell. Errors after the last one, and when the bytes are cut.
    #[allow(clippy::should_implement_trait)]
    #[inline]
    pub fn next(&mut self) -> Result<Option<&'a [u8]>> {
        if self.at == self.columns {
            return Err(damaged());
        }
        let null = self.bitmap[self.at / 8] & 1 << (self.at % 8) != 0;
        self.at += 1;
        if null {
            return Ok(None);
        }
        let (cell, rest) = varint::take_slice(self.rest)?;
        self.rest = rest;
        Ok(Some(cell))
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() && self.at == self.columns { Ok(()) } else { Err(damaged()) }
    }
}

/// Rows one after the other, each as: length and bytes of the key, length and bytes of the value. A leaf's plain bytes are
/// written the same way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowBatch {
    bytes: Vec<u8>,
    rows: u64,
}

impl RowBatch {
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        put_row(&mut self.bytes, key, value);
        self.rows += 1;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows = 0;
    }

    /// Rows in their order.
    pub fn iter(&self) -> impl Iterator<Item = Result<RowRef<'_>>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let taken = take_row(rest);
            rest = taken.as_ref().map_or(&[], |(_, after)| after);
            Some(taken.map(|(row, _)| row))
        })
    }
}

/// Appends one row.
#[inline]
pub(super) fn put_row(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    varint::put(out, key.len() as u64);
    out.extend_from_slice(key);
    varint::put(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Reads one row at the start of `bytes`; returns it and what follows.
#[inline]
pub fn take_row(bytes: &[u8]) -> Result<(RowRef<'_>, &[u8])> {
    let (key, rest) = varint::take_slice(bytes)?;
    let (value, rest) = varint::take_slice(rest)?;
    Ok((RowRef { key, value }, rest))
}

fn damaged() -> Error {
    Error::validation("the snapshot is damaged: a row does not have the columns of its table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::schema::{Column, TableName};

    fn table(columns: &[(&str, Class)], key: Key) -> Table {
        let column = |(name, class): &(&str, Class)| Column {
            name: (*name).to_owned(),
            type_name: String::new(),
            class: *class,
            nullable: true,
            default: None,
            generated: None,
            options: Default::default(),
        };
        Table {
            name: TableName::new(None, "t"),
            columns: columns.iter().map(column).collect(),
            key,
            definition: String::new(),
            options: Default::default(),
        }
    }

    fn round_trip(table: &Table, cells: &[Option<&[u8]>]) -> (Vec<u8>, Vec<u8>) {
        let layout = Layout::of(table).unwrap();
        let (mut key, mut value) = Default::default();
        layout.encode(cells, &mut key, &mut value).unwrap();
        let row = layout.decode(RowRef { key: &key, value: &value }).unwrap();
        assert_eq!(row.cells.iter().map(Option::as_deref).collect::<Vec<_>>(), cells);
        assert_eq!(row.count, 1);
        assert!(layout.decode(RowRef { key: &key, value: &value[..value.len() - 1] }).is_err());
        (key, value)
    }

    #[test]
    fn rows_return_as_they_were_and_keys_are_not_written_twice() {
        let columns = [("name", Class::Text), ("id", Class::Integer), ("raw", Class::Bytes)];
        let keyed = table(&columns, Key::Columns { columns: vec!["id".into()] });
        let (_, value) = round_trip(&keyed, &[Some(b"NULL"), Some(b"-42"), None]);
        assert_eq!(value, b"\x02\x04NULL");
        round_trip(&keyed, &[None, Some(b"7"), Some(b"\0\xff")]);
        let any = table(&[("k", Class::Any)], Key::Columns { columns: vec!["k".into()] });
        assert_eq!(round_trip(&any, &[Some(b"i7")]).1, b"\x00\x02i7");
    }

    #[test]
    fn equal_rows_without_a_key_have_the_same_key() {
        let keyless = table(&[("a", Class::Text), ("b", Class::Text)], Key::Row);
        let (one, _) = round_trip(&keyless, &[Some(b"x"), None]);
        assert_eq!(one, round_trip(&keyless, &[Some(b"x"), None]).0);
        assert_ne!(one, round_trip(&keyless, &[None, Some(b"x")]).0);
        assert_eq!(one.len(), HASH);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let keyed = table(&[("id", Class::Integer)], Key::Columns { columns: vec!["id".into()] });
        let layout = Layout::of(&keyed).unwrap();
        assert_eq!((layout.key_columns(), layout.value_columns()), (&[0][..], &[][..]));
        assert!(layout.encode(&[None], &mut Vec::new(), &mut Vec::new()).is_err());
        assert!(layout.encode(&[], &mut Vec::new(), &mut Vec::new()).is_err());
        assert!(layout.decode(RowRef { key: b"", value: b"" }).is_err());
        assert!(layout.values(b"").unwrap().next().is_err());
        assert!(Layout::of(&table(&[], Key::Columns { columns: vec!["id".into()] })).is_err());
    }

    #[test]
    fn batches_give_their_rows_back() {
        let mut batch = RowBatch::default();
        batch.push(b"k", b"v");
        batch.push(b"l", b"");
        let rows: Vec<_> = batch.iter().map(|row| row.unwrap()).collect();
        assert_eq!(rows, [RowRef { key: b"k", value: b"v" }, RowRef { key: b"l", value: b"" }]);
        assert_eq!(batch.rows(), 2);
        batch.bytes.pop();
        assert!(batch.iter().any(|row| row.is_err()));
        batch.clear();
        assert_eq!((batch.iter().count(), batch.rows()), (0, 0));
    }
}
