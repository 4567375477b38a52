//! Columns in statements that write and compare rows exactly, whatever their collation and type.

use super::{cells::is_single, connect::ident};
use crate::{
    error::{Error, Kind, Result},
    snapshot::{Class, Column},
};

/// Types whose values are compared by their digits, because servers compare them in ways of their own.
fn is_opaque(column: &Column) -> bool {
    let name = column.type_name.to_ascii_lowercase();
    let word = name.split(['(', ' ']).next().unwrap_or_default();
    column.class == Class::Bytes && !matches!(word, "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "bit")
}

fn is_vector(column: &Column) -> bool {
    column.type_name.to_ascii_lowercase().starts_with("vector")
}

pub fn is_bit(column: &Column) -> bool {
    column.type_name.to_ascii_lowercase().starts_with("bit")
}

/// What stands for a parameter that is written.
pub fn mark(column: &Column) -> &'static str {
    // MySQL takes nothing but bytes for a vector.
    if is_vector(column) { "CAST(? AS BINARY)" } else { "?" }
}

/// True of exactly one value: `value` is a parameter's mark or a literal.
pub fn exactly(column: &Column, value: &str) -> String {
    let name = ident(&column.name);
    match column.class {
        Class::Text | Class::Json | Class::Uuid | Class::Other => {
            format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> CAST({value} AS BINARY)")
        }
        Class::Bytes if is_opaque(column) => format!("HEX({name}) <=> HEX(CAST({value} AS BINARY))"),
        _ => format!("{name} <=> {}", typed(column, value)),
    }
}

/// True of the rows that an index finds for a value: those that are equal to it in the column's own way.
pub fn equal(column: &Column, value: &str) -> String {
    format!("{} = {}", ident(&column.name), typed(column, value))
}

/// A text with the digits of a number would be compared as a number of 8 bytes.
fn typed(column: &Column, value: &str) -> String {
    match column.class {
        Class::Decimal => {
            let size = column.type_name.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("65", |(size, _)| size);
            format!("CAST({value} AS DECIMAL({size}))")
        }
        _ => value.to_owned(),
    }
}

/// A value as a literal that every SQL mode reads in the same way. Errors when the bytes are no cell of this column.
pub fn literal(column: &Column, cell: Option<&[u8]>) -> Result<String> {
    let Some(bytes) = cell else { return Ok("NULL".to_owned()) };
    let wrong = || Error::new(Kind::Restore, format!("the value of column '{}' is not written as {} is", column.name, column.type_name));
    let text = || std::str::from_utf8(bytes).map_err(|_| wrong());
    Ok(match column.class {
        Class::Integer => text()?.parse::<i128>().map_err(|_| wrong())?.to_string(),
        Class::Decimal => {
            let digits = text()?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.')) && !digits.is_empty();
            if !plain {
                return Err(wrong());
            }
            digits.to_owned()
        }
        // With an exponent it is a number of 8 bytes and not of decimal digits.
        Class::Float if is_single(column) => format!("{:e}", f64::from(text()?.parse::<f32>().map_err(|_| wrong())?)),
        Class::Float => format!("{:e}", text()?.parse::<f64>().map_err(|_| wrong())?),
        Class::Bytes if is_bit(column) => bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte)).to_string(),
        Class::Bytes => format!("x'{}'", hex::encode(bytes)),
        Class::Instant => quoted(text()?.strip_suffix("+00").ok_or_else(wrong)?),
        Class::Bson | Class::Any | Class::Boolean => return Err(wrong()),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => quoted(text),
            Err(_) => format!("_utf8mb4 x'{}'", hex::encode(bytes)),
        },
    })
}

/// A backslash is a plain character in some modes and not in others.
fn quoted(text: &str) -> String {
    if text.chars().any(|c| c == '\\' || (c.is_control() && !matches!(c, '\n' | '\t'))) {
        return format!("_utf8mb4 x'{}'", hex::encode(text));
    }
    format!("'{}'", text.replace('\'', "''"))
}
