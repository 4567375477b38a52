//! Values of SQLite as cells: one byte for the storage class, then the value. Only the rowid under a column's name, which
//! is a whole number in every row, goes without that byte.

use std::io::Write as _;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::{
    engines::numbers::push_double,
    error::{Error, Kind, Result},
    snapshot::{Class, Column},
};

/// Appends the cell of a value; false for NULL, which has none.
pub(super) fn push(out: &mut Vec<u8>, class: Class, value: ValueRef<'_>) -> bool {
    if class == Class::Any {
        out.push(match value {
            ValueRef::Null => return false,
            ValueRef::Integer(_) => b'i',
            ValueRef::Real(_) => b'r',
            ValueRef::Text(_) => b't',
            ValueRef::Blob(_) => b'b',
        });
    }
    match value {
        ValueRef::Null => return false,
        ValueRef::Integer(number) => write!(out, "{number}").expect("memory takes what is written"),
        ValueRef::Real(number) => push_double(out, number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => out.extend_from_slice(bytes),
    }
    true
}

/// A cell as a value again. Text keeps its bytes, UTF-8 or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl<'a> Stored<'a> {
    /// Errors when the bytes are no cell of this column, such as one of another engine.
    pub(super) fn of(column: &Column, cell: Option<&'a [u8]>) -> Result<Self> {
        let Some(cell) = cell else { return Ok(Self::Null) };
        let wrong = || {
            Error::new(Kind::Restore, format!("the value of column '{}' is not written as SQLite's values are", column.name))
                .hint("write into a SQLite database only what came from one")
        };
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| wrong());
        let integer = |bytes| text(bytes)?.parse().map(Self::Integer).map_err(|_| wrong());
        match (column.class, cell) {
            (Class::Any, [b'i', digits @ ..]) => integer(digits),
            (Class::Any, [b'r', digits @ ..]) => {
                let number: f64 = text(digits)?.parse().map_err(|_| wrong())?;
                if number.is_nan() { Err(wrong()) } else { Ok(Self::Real(number)) }
            }
            (Class::Any, [b't', bytes @ ..]) => Ok(Self::Text(bytes)),
            (Class::Any, [b'b', bytes @ ..]) => Ok(Self::Blob(bytes)),
            (Class::Integer, digits) => integer(digits),
            _ => Err(wrong()),
        }
    }

    /// What `typeof` answers.
    pub(super) fn type_of(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "integer",
            Self::Real(_) => "real",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }
}

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Real(number) => ValueRef::Real(number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
