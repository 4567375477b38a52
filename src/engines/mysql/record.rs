//! Rows of small answers as text. The driver's own conversions panic on a value of another type than they expect, and what
//! a server answers is its own choice.

use mysql_async::{Conn, Error as DriverError, Row, Value, prelude::Queryable as _};

use super::connect::failed;
use crate::error::{Error, Kind, Result};

/// The longest answer that is taken, bytes: some hundred thousand tables.
const LONGEST: usize = 256 * 1024 * 1024;

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(Vec<Option<String>>);

impl Record {
    fn of(row: Row) -> Self {
        Self(row.unwrap().into_iter().map(text).collect())
    }

    /// The value of a column; empty for NULL and where there is no such column.
    pub fn text(&self, at: usize) -> &str {
        self.0.get(at).and_then(Option::as_deref).unwrap_or_default()
    }

    pub fn owned(&self, at: usize) -> String {
        self.text(at).to_owned()
    }

    /// `None` for NULL.
    pub fn optional(&self, at: usize) -> Option<String> {
        self.0.get(at).cloned().flatten()
    }

    /// 0 where the value is no whole number.
    pub fn number(&self, at: usize) -> u64 {
        self.text(at).parse().unwrap_or(0)
    }

    pub fn flag(&self, at: usize) -> bool {
        self.number(at) != 0
    }

    fn len(&self) -> usize {
        self.0.iter().map(|value| 24 + value.as_ref().map_or(0, String::len)).sum()
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        other => Some(other.as_sql(true)),
    }
}

/// Every row of an answer. Errors when it is longer than anything asked for here can be.
pub async fn records(connection: &mut Conn, sql: &str) -> Result<Vec<Record>, Failure> {
    let mut result = connection.query_iter(sql).await?;
    let mut records = Vec::new();
    let mut length = 0;
    while let Some(row) = result.next().await? {
        let record = Record::of(row);
        length += record.len();
        if length > LONGEST {
            return Err(Failure::TooLong);
        }
        records.push(record);
    }
    Ok(records)
}

/// The first row of an answer; empty when there is none.
pub async fn record(connection: &mut Conn, sql: &str) -> Result<Record, Failure> {
    Ok(records(connection, sql).await?.into_iter().next().unwrap_or_default())
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    Driver(DriverError),
    TooLong,
}

impl Failure {
    /// As a person reads it.
    pub fn while_doing(self, doing: impl Into<String>) -> Error {
        match self {
            Self::Driver(cause) => failed(doing, cause),
            Self::TooLong => Error::new(Kind::Database, format!("{}: the server's answer never ends", doing.into())),
        }
    }
}

impl From<DriverError> for Failure {
    fn from(cause: DriverError) -> Self {
        Self::Driver(cause)
    }
}
