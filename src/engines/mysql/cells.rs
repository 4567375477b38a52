//! Values of the binary protocol as cells, and cells as values again.

use std::io::Write as _;

use mysql_async::{Column as Received, Value, consts::ColumnType};

use super::columns::is_bit;
use crate::{
    engines::numbers::{push_double, push_float},
    error::{Error, Kind, Result},
    snapshot::{Class, Column},
};

/// How the values of a type are written; `data_type` as the information schema has it, such as `varchar`.
pub fn class_of(data_type: &str) -> Class {
    match data_type.to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Class::Integer,
        "decimal" => Class::Decimal,
        "float" | "double" => Class::Float,
        "date" => Class::Date,
        "time" => Class::Time,
        "datetime" => Class::Timestamp,
        "timestamp" => Class::Instant,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => Class::Text,
        "json" => Class::Json,
        "uuid" => Class::Uuid,
        "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => Class::Bytes,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
        | "geomcollection" => Class::Bytes,
        _ => Class::Other,
    }
}

/// How the values of one column are written.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    pub class: Class,
    /// Digits of a second's fraction.
    digits: usize,
}

impl Writing {
    pub fn of(column: &Column) -> Self {
        let digits = match column.class {
            Class::Time | Class::Timestamp | Class::Instant => {
                let digits = column.type_name.split_once('(').and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
                digits.unwrap_or(0).min(6)
            }
            _ => 0,
        };
        Self { class: column.class, digits }
    }

    /// Appends what a value that is not bytes is written as.
    fn push(self, out: &mut Vec<u8>, value: &Value) -> Result<()> {
        match (self.class, value) {
            (Class::Integer, Value::Int(number)) => put(out, format_args!("{number}")),
            (Class::Integer, Value::UInt(number)) => put(out, format_args!("{number}")),
            (Class::Float, Value::Float(number)) => push_float(out, *number),
            (Class::Float, Value::Double(number)) => push_double(out, *number),
            (Class::Date, Value::Date(year, month, day, ..)) => put(out, format_args!("{year:04}-{month:02}-{day:02}")),
            (Class::Timestamp | Class::Instant, Value::Date(year, month, day, hour, minute, second, micros)) => {
                put(out, format_args!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"));
                self.push_fraction(out, *micros);
                if self.class == Class::Instant {
                    out.extend_from_slice(b"+00");
                }
            }
            (Class::Time, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
                let hours = u64::from(*days) * 24 + u64::from(*hours);
                put(out, format_args!("{}{hours:02}:{minutes:02}:{seconds:02}", if *negative { "-" } else { "" }));
                self.push_fraction(out, *micros);
            }
            _ => return Err(Error::new(Kind::Database, "the server answers with values of another type than the column has")),
        }
        Ok(())
    }

    fn push_fraction(self, out: &mut Vec<u8>, micros: u32) {
        if self.digits > 0 {
            let digits = format!("{micros:06}");
            out.push(b'.');
            out.extend_from_slice(&digits.as_bytes()[..self.digits]);
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes what is written");
}

/// The cells of rows, one row after the other, without memory of its own for each.
pub struct Cells {
    columns: Vec<Writing>,
    bytes: Vec<u8>,
    places: Vec<Option<(usize, usize)>>,
}

impl Cells {
    pub fn of<'a>(columns: impl Iterator<Item = &'a Column>) -> Self {
        Self { columns: columns.map(Writing::of).collect(), bytes: Vec::new(), places: Vec::new() }
    }

    /// Hands the cells of a row to `take`. Errors when the values are not those of the columns.
    pub fn with<T>(&mut self, values: &[Value], take: impl FnOnce(&[Option<&[u8]>]) -> Result<T>) -> Result<T> {
        if values.len() != self.columns.len() {
            return Err(Error::new(Kind::Database, "the server answers with another number of columns than was asked for"));
        }
        self.bytes.clear();
        self.places.clear();
        for (column, value) in self.columns.iter().zip(values) {
            let start = self.bytes.len();
            match value {
                Value::NULL => self.places.push(None),
                // Not copied: it may be long.
                Value::Bytes(_) => self.places.push(Some((0, 0))),
                value => {
                    column.push(&mut self.bytes, value)?;
                    self.places.push(Some((start, self.bytes.len())));
                }
            }
        }
        let cells: Vec<Option<&[u8]>> = (values.iter().zip(&self.places).zip(&self.columns))
            .map(|((value, place), column)| match value {
                Value::Bytes(bytes) => Some(trim(column.class, bytes)),
                _ => place.map(|(start, end)| &self.bytes[start..end]),
            })
            .collect();
        take(&cells)
    }
}

/// A DECIMAL ZEROFILL comes with its zeros.
fn trim(class: Class, bytes: &[u8]) -> &[u8] {
    if class != Class::Decimal {
        return bytes;
    }
    let zeros = bytes.iter().zip(bytes.iter().skip(1)).take_while(|(digit, next)| **digit == b'0' && next.is_ascii_digit()).count();
    &bytes[zeros..]
}

/// Errors when the driver cannot read a column that the server answers with: it would panic.
pub fn check_received(columns: &[Received]) -> Result<()> {
    use ColumnType as T;

    let known = |column: &Received| {
        !matches!(
            column.column_type(),
            T::MYSQL_TYPE_TIMESTAMP2
                | T::MYSQL_TYPE_DATETIME2
                | T::MYSQL_TYPE_TIME2
                | T::MYSQL_TYPE_TYPED_ARRAY
                | T::MYSQL_TYPE_UNKNOWN
                | T::MYSQL_TYPE_NULL
        )
    };
    if columns.iter().all(known) {
        return Ok(());
    }
    Err(Error::new(Kind::Database, "the server answers with a type of values that no table can have"))
}

/// A cell as a parameter of a statement. Errors when the bytes are no cell of this column.
pub fn parameter(column: &Column, cell: Option<&[u8]>) -> Result<Value> {
    let Some(bytes) = cell else { return Ok(Value::NULL) };
    let wrong = || {
        Error::new(Kind::Restore, format!("the value of column '{}' is not written as {} is", column.name, column.type_name))
            .hint("write into a MySQL or MariaDB database only what came from one")
    };
    let text = || std::str::from_utf8(bytes).map_err(|_| wrong());
    Ok(match column.class {
        Class::Integer => {
            let text = text()?;
            match text.parse() {
                Ok(number) => Value::Int(number),
                Err(_) => Value::UInt(text.parse().map_err(|_| wrong())?),
            }
        }
        // A number loses the sign of zero on its way, a text does not.
        Class::Float if bytes == b"-0" => Value::Bytes(b"-0e0".to_vec()),
        Class::Float if is_single(column) => Value::Float(text()?.parse().map_err(|_| wrong())?),
        Class::Float => Value::Double(text()?.parse().map_err(|_| wrong())?),
        // The session is in this zone.
        Class::Instant => Value::Bytes(bytes.strip_suffix(b"+00").ok_or_else(wrong)?.to_vec()),
        // Bytes would be read as the digits of a number where they are compared.
        Class::Bytes if is_bit(column) => Value::UInt(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))),
        Class::Bson | Class::Any | Class::Boolean => return Err(wrong()),
        _ => Value::Bytes(bytes.to_vec()),
    })
}

/// A FLOAT of 4 bytes.
pub fn is_single(column: &Column) -> bool {
    column.type_name.to_ascii_lowercase().starts_with("float")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(type_name: &str, class: Class, value: Value, expect: &str) {
        let column = Column {
            name: "c".to_owned(),
            type_name: type_name.to_owned(),
            class,
            nullable: true,
            default: None,
            generated: None,
            options: Default::default(),
        };
        let mut cells = Cells::of(std::iter::once(&column));
        let cell = cells.with(&[value], |cells| Ok(String::from_utf8(cells[0].unwrap().to_vec()).unwrap())).unwrap();
        assert_eq!(cell, expect);
        parameter(&column, Some(cell.as_bytes())).unwrap();
    }

    #[test]
    fn values_are_written_in_one_way() {
        check("bigint unsigned", Class::Integer, Value::UInt(u64::MAX), "18446744073709551615");
        check("year", Class::Integer, Value::Int(2026), "2026");
        check("float", Class::Float, Value::Float(0.1), "0.1");
        check("double", Class::Float, Value::Double(-0.0), "-0");
        check("decimal(10,2)", Class::Decimal, Value::Bytes(b"0000000.50".to_vec()), "0.50");
        check("decimal(10,0)", Class::Decimal, Value::Bytes(b"0".to_vec()), "0");
        check("date", Class::Date, Value::Date(0, 0, 0, 0, 0, 0, 0), "0000-00-00");
        check("datetime(3)", Class::Timestamp, Value::Date(2026, 2, 31, 1, 2, 3, 4000), "2026-02-31 01:02:03.004");
        check("timestamp", Class::Instant, Value::Date(2026, 1, 2, 0, 0, 0, 0), "2026-01-02 00:00:00+00");
        check("time(2)", Class::Time, Value::Time(true, 34, 22, 59, 58, 250_000), "-838:59:58.25");
    }
}
