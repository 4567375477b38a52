//! Builds the variable part of a list query: conditions, paging, `IN` lists.

use deadpool_sqlite::rusqlite::{Connection, OptionalExtension, Row, params_from_iter, types::Value};

use super::fault::Outcome;
use crate::domain::page::{Page, PageRequest};

/// Conditions that all must hold, and their values.
pub(super) struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    pub(super) fn new(condition: &str, value: impl Into<Value>) -> Self {
        Self { sql: condition.to_owned(), values: vec![value.into()] }
    }

    /// The conditions as text, and their values in its order.
    pub(super) fn into_parts(self) -> (String, Vec<Value>) {
        (self.sql, self.values)
    }

    /// Adds a condition with one `?` when there is a value for it.
    pub(super) fn and<T: Into<Value>>(mut self, condition: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.values.push(value.into());
        }
        self
    }

    /// One page of `SELECT {columns} FROM {from} WHERE ... ORDER BY {order}`, and how many rows there are in all. The first
    /// of the columns is the key.
    pub(super) fn page<T>(
        self,
        db: &Connection,
        columns: &str,
        from: &str,
        order: &str,
        request: PageRequest,
        map: impl Fn(&Row<'_>) -> Outcome<T>,
    ) -> Outcome<Page<T>> {
        let Self { sql, mut values } = self;
        let count = format!("SELECT COUNT(*) FROM {from} WHERE {sql}");
        told(&count);
        let total: i64 = db.prepare_cached(&count)?.query_row(params_from_iter(&values), |row| row.get(0))?;
        let total = u64::try_from(total).unwrap_or(0);
        if total <= request.offset() {
            return Ok(Page::new(Vec::new(), request, total));
        }
        values.push(i64::from(request.limit()).into());
        values.push(i64::try_from(request.offset()).unwrap_or(i64::MAX).into());
        let found = if request.offset() < FAR {
            format!("FROM {from} WHERE {sql} ORDER BY {order} LIMIT ? OFFSET ?")
        } else {
            // What is skipped is skipped in an index, not read.
            let key = columns.split(',').next().unwrap_or("id");
            format!("FROM {from} WHERE {key} IN (SELECT {key} FROM {from} WHERE {sql} ORDER BY {order} LIMIT ? OFFSET ?) ORDER BY {order}")
        };
        let items = all(db, &format!("SELECT {columns} {found}"), &values, map)?;
        Ok(Page::new(items, request, total))
    }
}

/// Rows behind which a page is worth a query of its own for its keys.
const FAR: u64 = 1_000;

/// Every row of a query.
pub(super) fn all<T>(db: &Connection, sql: &str, values: &[Value], map: impl Fn(&Row<'_>) -> Outcome<T>) -> Outcome<Vec<T>> {
    let mut items = Vec::new();
    each(db, sql, values, |row| {
        items.push(map(row)?);
        Ok(())
    })?;
    Ok(items)
}

/// Hands over every row of a query, one after the other.
pub(super) fn each(db: &Connection, sql: &str, values: &[Value], mut take: impl FnMut(&Row<'_>) -> Outcome<()>) -> Outcome<()> {
    told(sql);
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// The first row of a query, if it has one.
pub(super) fn first<T>(db: &Connection, sql: &str, values: &[Value], map: impl Fn(&Row<'_>) -> Outcome<T>) -> Outcome<Option<T>> {
    told(sql);
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_row(params_from_iter(values), |row| Ok(map(row))).optional()?;
    found.transpose()
}

/// Each query is told to the log (LOG_LEVEL `dbsnap::sql=trace`), without its values.
fn told(sql: &str) {
    tracing::trace!(target: "dbsnap::sql", sql);
}

/// Text as a value of a condition.
pub(super) fn text(value: impl ToString) -> Value {
    Value::Text(value.to_string())
}

/// A `LIKE` pattern (with `ESCAPE '\'`) for texts that hold `part`, in lower case.
pub(super) fn holding(part: &str) -> Value {
    let mut pattern = String::from("%");
    for c in part.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    Value::Text(pattern)
}
