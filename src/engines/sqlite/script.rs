//! Changes as SQL for a person to read and run with the sqlite3 command.

use std::fmt::Write as _;

use super::{cells::Stored, quote};
use crate::{
    engines::rows::Script,
    error::{Error, Result},
    snapshot::{Key, Row, RowChange, Table},
};

/// The language of SQLite.
pub(super) struct SqliteScript;

impl Script for SqliteScript {
    fn begin(&self, title: &str) -> String {
        let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!(
            "-- {title}\n-- A statement whose row is not as it was expected changes nothing. Triggers fire; \
             .dbconfig enable_trigger off\n-- in the sqlite3 command prevents that.\n\
             PRAGMA foreign_keys = OFF;\nBEGIN IMMEDIATE;\n"
        )
    }

    fn change(&self, table: &Table, change: &RowChange) -> Result<String> {
        let writing = Writing { table, name: quote(&table.name.name) };
        match (&table.key, &change.before, &change.after) {
            (_, None, None) => Err(Error::internal("a change of no row")),
            (Key::Row, before, after) => writing.keyless(before.as_ref(), after.as_ref()),
            (Key::Columns { columns }, None, Some(after)) => writing.insert(columns, after),
            (_, Some(before), None) => Ok(format!("DELETE FROM {} WHERE {};\n", writing.name, writing.guard(before)?)),
            (_, Some(before), Some(after)) => writing.update(before, after),
        }
    }

    fn end(&self) -> String {
        "-- Rows that would refer to rows that are not there:\nPRAGMA foreign_key_check;\nCOMMIT;\n".to_owned()
    }
}

struct Writing<'a> {
    table: &'a Table,
    name: String,
}

impl Writing<'_> {
    fn insert(&self, key: &[String], after: &Row) -> Result<String> {
        let taken = self.guard_of(after, |name| key.contains(name))?;
        Ok(format!(
            "INSERT INTO {0} ({1}) SELECT {2} WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE {taken});\n",
            self.name,
            self.columns(),
            self.values(after)?
        ))
    }

    fn update(&self, before: &Row, after: &Row) -> Result<String> {
        let mut set = Vec::new();
        for (at, column) in self.table.stored().enumerate() {
            if before.cells[at] != after.cells[at] {
                set.push(format!("{} = {}", quote(&column.name), literal(Stored::of(column, after.cells[at].as_deref())?)));
            }
        }
        if set.is_empty() {
            return Ok(String::new());
        }
        Ok(format!("UPDATE {} SET {} WHERE {};\n", self.name, set.join(", "), self.guard(before)?))
    }

    /// The number of rows that are alike is brought from what it was to what it shall be.
    fn keyless(&self, before: Option<&Row>, after: Option<&Row>) -> Result<String> {
        let row = before.or(after).ok_or_else(|| Error::internal("a change of no row"))?;
        let (was, shall) = (before.map_or(0, |row| row.count), after.map_or(0, |row| row.count));
        let (name, guard) = (&self.name, self.guard(row)?);
        let counted = format!("(SELECT count(*) FROM {name} WHERE {guard}) = {was}");
        if shall == was {
            return Ok(String::new());
        }
        if shall > was {
            let rows = shall - was;
            return Ok(format!(
                "WITH RECURSIVE times (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < {rows}) \
                 INSERT INTO {name} ({}) SELECT {} FROM times WHERE {counted};\n",
                self.columns(),
                self.values(row)?
            ));
        }
        if shall == 0 {
            return Ok(format!("DELETE FROM {name} WHERE {guard} AND {counted};\n"));
        }
        let taken = |name: &&str| !self.table.columns.iter().any(|column| super::schema::same(&column.name, name));
        let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(taken).ok_or_else(|| {
            Error::validation(format!("one of several equal rows of {} cannot be named: its columns hide the rowid", self.table.name))
        })?;
        Ok(format!("DELETE FROM {name} WHERE {rowid} IN (SELECT {rowid} FROM {name} WHERE {guard} LIMIT {}) AND {counted};\n", was - shall))
    }

    fn columns(&self) -> String {
        self.table.stored().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
    }

    fn values(&self, row: &Row) -> Result<String> {
        let values = self.table.stored().zip(&row.cells);
        let values = values.map(|(column, cell)| Ok(literal(Stored::of(column, cell.as_deref())?))).collect::<Result<Vec<_>>>()?;
        Ok(values.join(", "))
    }

    /// True of the row that has exactly these values, storage classes included.
    fn guard(&self, row: &Row) -> Result<String> {
        self.guard_of(row, |_| true)
    }

    fn guard_of(&self, row: &Row, wanted: impl Fn(&String) -> bool) -> Result<String> {
        let mut guard = Vec::new();
        for (column, cell) in self.table.stored().zip(&row.cells).filter(|(column, _)| wanted(&column.name)) {
            let (name, value) = (quote(&column.name), Stored::of(column, cell.as_deref())?);
            guard.push(match value {
                Stored::Null => format!("{name} IS NULL"),
                Stored::Text(_) => format!("{name} COLLATE BINARY = {} AND typeof({name}) = 'text'", literal(value)),
                _ => format!("{name} = {} AND typeof({name}) = '{}'", literal(value), value.type_of()),
            });
        }
        Ok(guard.join(" AND "))
    }
}

/// A value as SQLite reads exactly the same from.
fn literal(value: Stored<'_>) -> String {
    match value {
        Stored::Null => "NULL".to_owned(),
        // Its digits alone are out of the range of whole numbers.
        Stored::Integer(i64::MIN) => "(-9223372036854775807 - 1)".to_owned(),
        Stored::Integer(number) => number.to_string(),
        Stored::Real(number) => real(number),
        Stored::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => format!("'{}'", text.replace('\'', "''")),
            _ => format!("CAST(x'{}' AS TEXT)", hex::encode(bytes)),
        },
        Stored::Blob(bytes) => format!("x'{}'", hex::encode(bytes)),
    }
}

/// SQLite's reading of many digits is not exact in every version: such numbers are written as an exact calculation.
fn real(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "9e999".to_owned() } else { "-9e999".to_owned() };
    }
    let text = format!("{number:?}");
    let digits = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    if digits <= 15 && (number == 0.0 || (1e-5..1e16).contains(&number.abs())) {
        return text;
    }
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
    let (mut mantissa, mut power) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    let zeros = mantissa.trailing_zeros() as i32;
    (mantissa, power) = (mantissa >> zeros, power + zeros);
    let mut out = format!("({}CAST({mantissa} AS REAL)", if number < 0.0 { "-" } else { "" });
    while power != 0 {
        let step = power.abs().min(62);
        let sign = if power < 0 { '/' } else { '*' };
        write!(out, " {sign} CAST({} AS REAL)", 1_u64 << step).expect("text takes what is written");
        power -= step * power.signum();
    }
    out.push(')');
    out
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn every_literal_reads_back_as_the_same_value() {
        let connection = Connection::open_in_memory().unwrap();
        let reals = [
            0.1,
            0.1 + 0.2,
            -0.0,
            1.0,
            1e15,
            123_456_789_012_345.6,
            1e16,
            1e22,
            -1e308,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            -2.225_073_858_507_201e-308,
            std::f64::consts::PI,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for number in reals {
            let sql = format!("SELECT {}", literal(Stored::Real(number)));
            let read: f64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(read.to_bits(), number.to_bits(), "{number:?}: {sql}");
        }
        for number in [i64::MIN, i64::MAX, 0, -1] {
            let sql = format!("SELECT {}", literal(Stored::Integer(number)));
            assert_eq!(connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), number);
        }
        for bytes in [&b"it's"[..], b"", b"a\0b", b"\xff\xfe", "🦀\n;--".as_bytes()] {
            for (value, kind) in [(Stored::Text(bytes), "text"), (Stored::Blob(bytes), "blob")] {
                let sql = format!("SELECT typeof({0}), CAST({0} AS BLOB)", literal(value));
                let read: (String, Vec<u8>) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                assert_eq!(read, (kind.to_owned(), bytes.to_vec()), "{sql}");
            }
        }
    }
}
