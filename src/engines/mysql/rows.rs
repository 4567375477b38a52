//! The rows of one table as INSERT statements, written as mysqldump writes them, FLOAT values exactly.
//!
//! A server prints a FLOAT with 6 digits, which loses bits. Multiplied by one it is a DOUBLE, which is printed with all the
//! digits it takes, and rounds back to the same FLOAT.

use bytes::BytesMut;
use mysql_async::{Column, Conn, Value, consts::ColumnType, prelude::Queryable as _};

use super::{
    catalogue::FloatTable,
    connect::{Target, failed, ident},
};
use crate::{
    domain::stream::{ByteSender, PIECE},
    error::{Error, Kind, Result},
};

/// A statement that has grown to this is ended, bytes: what the programs call net_buffer_length.
const STATEMENT: usize = 1024 * 1024;
/// The number of the character set of bytes.
const BINARY: u16 = 63;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The query that reads a table. Its beginning is how the programs' own queries begin.
fn query(table: &FloatTable) -> String {
    let columns = table.columns.iter().map(|column| {
        let name = ident(&column.name);
        if column.data_type.eq_ignore_ascii_case("float") { format!("{name} * 1e0") } else { name }
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!("SELECT /*!40001 SQL_NO_CACHE */ {columns} FROM {}.{}", ident(&table.database), ident(&table.name))
}

/// Writes every row of a table; returns the bytes sent. Memory is bounded by the longest row.
pub async fn write(reader: &mut Conn, table: &FloatTable, target: &Target, out: &ByteSender) -> Result<u64> {
    let reading = |cause| target.explain(failed(format!("reading the rows of {}", table.name), cause));
    let head = {
        let columns = table.columns.iter().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} ({columns}) VALUES ", ident(&table.name))
    };
    let mut sent = 0;
    let mut result = reader.query_iter(query(table)).await.map_err(reading)?;
    let kinds: Vec<Writing> = result.columns_ref().iter().map(Writing::of).collect();
    if kinds.len() != table.columns.len() {
        return Err(Error::new(Kind::Database, format!("the server answers with other columns than {} has", table.name)));
    }
    let mut buffer = BytesMut::with_capacity(PIECE + 4096);
    // Bytes of the statement in work; 0 between statements.
    let mut statement = 0;
    while let Some(row) = result.next().await.map_err(reading)? {
        let before = buffer.len();
        if statement == 0 {
            buffer.extend_from_slice(head.as_bytes());
        } else {
            buffer.extend_from_slice(b",");
        }
        for (at, (kind, value)) in kinds.iter().zip(row.unwrap()).enumerate() {
            buffer.extend_from_slice(if at == 0 { b"(" } else { b"," });
            kind.write(value, &mut buffer)?;
        }
        buffer.extend_from_slice(b")");
        statement += buffer.len() - before;
        if statement >= STATEMENT {
            buffer.extend_from_slice(b";\n");
            statement = 0;
        }
        if buffer.len() >= PIECE {
            sent += buffer.len() as u64;
            send(&mut buffer, out).await?;
        }
    }
    if statement > 0 {
        buffer.extend_from_slice(b";\n");
    }
    sent += buffer.len() as u64;
    send(&mut buffer, out).await?;
    Ok(sent)
}

async fn send(buffer: &mut BytesMut, out: &ByteSender) -> Result<()> {
    if buffer.is_empty() {
        return Ok(());
    }
    let piece = buffer.split().freeze();
    buffer.reserve(PIECE + 4096);
    out.send(piece).await.map_err(|_| Error::new(Kind::Backup, "the rows are no longer wanted"))
}

/// How values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Number,
    Hex,
    Text,
}

impl Writing {
    fn of(column: &Column) -> Self {
        use ColumnType as T;
        match column.column_type() {
            T::MYSQL_TYPE_TINY
            | T::MYSQL_TYPE_SHORT
            | T::MYSQL_TYPE_INT24
            | T::MYSQL_TYPE_LONG
            | T::MYSQL_TYPE_LONGLONG
            | T::MYSQL_TYPE_FLOAT
            | T::MYSQL_TYPE_DOUBLE
            | T::MYSQL_TYPE_NEWDECIMAL
            | T::MYSQL_TYPE_YEAR => Self::Number,
            T::MYSQL_TYPE_BIT | T::MYSQL_TYPE_GEOMETRY | T::MYSQL_TYPE_VECTOR => Self::Hex,
            T::MYSQL_TYPE_STRING
            | T::MYSQL_TYPE_VAR_STRING
            | T::MYSQL_TYPE_VARCHAR
            | T::MYSQL_TYPE_BLOB
            | T::MYSQL_TYPE_TINY_BLOB
            | T::MYSQL_TYPE_MEDIUM_BLOB
            | T::MYSQL_TYPE_LONG_BLOB
                if column.character_set() == BINARY =>
            {
                Self::Hex
            }
            _ => Self::Text,
        }
    }

    fn write(self, value: Value, out: &mut BytesMut) -> Result<()> {
        let bytes = match value {
            Value::NULL => {
                out.extend_from_slice(b"NULL");
                return Ok(());
            }
            Value::Bytes(bytes) => bytes,
            _ => return Err(Error::new(Kind::Database, "the server answers with other values than text")),
        };
        match self {
            Self::Number => number(&bytes, out)?,
            Self::Hex if bytes.is_empty() => out.extend_from_slice(b"''"),
            Self::Hex => {
                out.reserve(2 + 2 * bytes.len());
                out.extend_from_slice(b"0x");
                for byte in bytes {
                    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
            }
            Self::Text => text(&bytes, out),
        }
        Ok(())
    }
}

/// What a server sends as a number goes into a script as it is, so it must be one.
fn number(bytes: &[u8], out: &mut BytesMut) -> Result<()> {
    if bytes.is_empty() || !bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err(Error::new(Kind::Database, "the server sends a number that is none"));
    }
    // The literal -0 is the whole number 0, which has no sign.
    out.extend_from_slice(if bytes == b"-0" { b"-0e0" } else { bytes });
    Ok(())
}

/// Quoted and escaped as mysql_real_escape_string does.
fn text(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(bytes.len() + 2);
    out.extend_from_slice(b"'");
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped = match byte {
            0 => b'0',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1a => b'Z',
            b'\\' | b'\'' | b'"' => *byte,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        out.extend_from_slice(&[b'\\', escaped]);
        plain = at + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
    out.extend_from_slice(b"'");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Writing, value: &[u8], expect: &str) {
        let mut out = BytesMut::new();
        kind.write(Value::Bytes(value.to_vec()), &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn values_are_written_as_mysqldump_writes_them() {
        check(Writing::Text, b"it's \"a\" \\ b\n\r\0\x1a", r#"'it\'s \"a\" \\ b\n\r\0\Z'"#);
        check(Writing::Text, b"", "''");
        check(Writing::Hex, b"\x00\xff'", "0x00FF27");
        check(Writing::Hex, b"", "''");
        check(Writing::Number, b"-1.5e-45", "-1.5e-45");
        check(Writing::Number, b"-0", "-0e0");
        let mut out = BytesMut::new();
        assert!(Writing::Number.write(Value::Bytes(b"1);DROP TABLE x".to_vec()), &mut out).is_err(), "a rogue server");
        Writing::Text.write(Value::NULL, &mut out).unwrap();
        assert_eq!(&out[..], b"NULL");
    }

    #[test]
    fn floats_are_read_as_doubles() {
        let column = |name: &str, data_type: &str| super::super::catalogue::Column { name: name.into(), data_type: data_type.into() };
        let table = FloatTable {
            database: "d".into(),
            name: "t`".into(),
            columns: vec![column("id", "int"), column("f", "float")],
            needs_sequence: false,
        };
        assert_eq!(query(&table), "SELECT /*!40001 SQL_NO_CACHE */ `id`, `f` * 1e0 FROM `d`.`t```");
    }
}
