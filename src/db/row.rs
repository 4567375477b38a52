//! Reads columns as domain types. A value that this build cannot read is an error that names its column, never a panic.

use std::str::FromStr;

use deadpool_sqlite::rusqlite::{Row, types::FromSql};
use serde::{Serialize, de::DeserializeOwned};

use super::fault::{Fault, Outcome};
use crate::{
    domain::time::Moment,
    error::{Error, Result},
};

/// A column as it is.
pub(super) fn plain<T: FromSql>(row: &Row<'_>, column: &str) -> Outcome<T> {
    Ok(row.get(column)?)
}

/// A text column as an id or an enum.
pub(super) fn parsed<T: FromStr<Err = Error>>(row: &Row<'_>, column: &str) -> Outcome<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|cause: Error| unreadable(column, &text, &cause.context))
}

pub(super) fn parsed_if_set<T: FromStr<Err = Error>>(row: &Row<'_>, column: &str) -> Outcome<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|cause: Error| unreadable(column, &text, &cause.context))).transpose()
}

/// The text in the column at this place, as it lies there: for queries with a great many rows.
pub(super) fn text<'a>(row: &'a Row<'_>, at: usize) -> Outcome<&'a str> {
    text_if_set(row, at)?.ok_or_else(|| unreadable(&format!("at place {at}"), "NULL", "text is expected"))
}

/// [`text`] of a column that may have none.
pub(super) fn text_if_set<'a>(row: &'a Row<'_>, at: usize) -> Outcome<Option<&'a str>> {
    let value = row.get_ref(at)?;
    value.as_str_or_null().map_err(|cause| unreadable(&format!("at place {at}"), "", &cause.to_string()))
}

pub(super) fn moment(row: &Row<'_>, column: &str) -> Outcome<Moment> {
    Ok(Moment(row.get(column)?))
}

pub(super) fn moment_if_set(row: &Row<'_>, column: &str) -> Outcome<Option<Moment>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Moment))
}

/// A count or a size, which is never negative.
pub(super) fn count<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Outcome<T> {
    let number: i64 = row.get(column)?;
    T::try_from(number).map_err(|_| unreadable(column, &number.to_string(), "out of range"))
}

/// A text column that holds JSON.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Outcome<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|cause| unreadable(column, &text, &cause.to_string()))
}

pub(super) fn json_if_set<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Outcome<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|cause| unreadable(column, &text, &cause.to_string()))).transpose()
}

/// JSON text for a column.
pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| Error::internal("a value cannot be written as JSON").source(cause))
}

/// A size for a column.
pub(super) fn to_count(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|cause| Error::internal(format!("{number} is too large for the catalogue")).source(cause))
}

fn unreadable(column: &str, text: &str, cause: &str) -> Fault {
    let shown: String = text.chars().take(60).collect();
    Fault::Ours(
        Error::internal(format!("the catalogue's column {column} holds '{shown}', which this build cannot read: {cause}"))
            .hint("start the newest version that has used this data directory"),
    )
}
