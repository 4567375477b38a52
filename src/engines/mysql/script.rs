//! Changes as SQL for a person to read and run with the mysql or mariadb client.

use super::{
    columns::{exactly, literal},
    connect::ident,
};
use crate::{
    engines::rows::Script,
    error::{Error, Result},
    snapshot::{Column, Key, Row, RowChange, Table},
};

/// The language of MySQL and MariaDB.
pub struct MysqlScript;

impl Script for MysqlScript {
    fn begin(&self, title: &str) -> String {
        let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!(
            "-- {title}\n-- A statement whose row is not as it was expected changes nothing. Triggers fire.\n\
             SET NAMES utf8mb4;\n\
             SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00', foreign_key_checks = 0;\n\
             START TRANSACTION;\n"
        )
    }

    fn change(&self, table: &Table, change: &RowChange) -> Result<String> {
        let name = match &table.name.schema {
            Some(database) => format!("{}.{}", ident(database), ident(&table.name.name)),
            None => ident(&table.name.name),
        };
        let writing = Writing { table, name };
        match (&table.key, &change.before, &change.after) {
            (_, None, None) => Err(Error::internal("a change of no row")),
            (Key::Row, before, after) => writing.keyless(before.as_ref(), after.as_ref()),
            (Key::Columns { columns }, None, Some(after)) => writing.insert(columns, after),
            (_, Some(before), None) => Ok(format!("DELETE FROM {} WHERE {};\n", writing.name, writing.guard(before, |_| true)?)),
            (_, Some(before), Some(after)) => writing.update(before, after),
        }
    }

    fn end(&self) -> String {
        "COMMIT;\n".to_owned()
    }
}

struct Writing<'a> {
    table: &'a Table,
    name: String,
}

impl Writing<'_> {
    fn insert(&self, key: &[String], after: &Row) -> Result<String> {
        let taken = self.guard(after, |column| key.contains(&column.name))?;
        Ok(format!(
            "INSERT INTO {0} ({1}) SELECT {2} FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE {taken});\n",
            self.name,
            self.columns(),
            self.values(after)?
        ))
    }

    fn update(&self, before: &Row, after: &Row) -> Result<String> {
        if before.cells == after.cells {
            return Ok(String::new());
        }
        let mut set = Vec::new();
        for (at, column) in self.table.stored().enumerate() {
            // A column that the server would set by itself is set to what it shall be.
            let by_itself = column.options.get("extra").is_some_and(|extra| extra.contains("on update"));
            if by_itself || before.cells[at] != after.cells[at] {
                set.push(format!("{} = {}", ident(&column.name), literal(column, after.cells[at].as_deref())?));
            }
        }
        Ok(format!("UPDATE {} SET {} WHERE {};\n", self.name, set.join(", "), self.guard(before, |_| true)?))
    }

    /// The number of rows that are alike is brought from what it was to what it shall be.
    fn keyless(&self, before: Option<&Row>, after: Option<&Row>) -> Result<String> {
        let row = before.or(after).ok_or_else(|| Error::internal("a change of no row"))?;
        let (was, shall) = (before.map_or(0, |row| row.count), after.map_or(0, |row| row.count));
        let (name, guard) = (&self.name, self.guard(row, |_| true)?);
        // A statement may not read the table that it changes, but a result of it.
        let counted = format!("(SELECT n FROM (SELECT COUNT(*) AS n FROM {name} WHERE {guard}) AS found) = {was}");
        if shall == was {
            return Ok(String::new());
        }
        if shall > was {
            let times = match shall - was {
                1 => String::new(),
                rows => format!("WITH RECURSIVE times (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < {rows}) "),
            };
            let from = if times.is_empty() { "DUAL" } else { "times" };
            let (columns, values) = (self.columns(), self.values(row)?);
            return Ok(format!("INSERT INTO {name} ({columns}) {times}SELECT {values} FROM {from} WHERE {counted};\n"));
        }
        Ok(format!("DELETE FROM {name} WHERE {guard} AND {counted} LIMIT {};\n", was - shall))
    }

    fn columns(&self) -> String {
        self.table.stored().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ")
    }

    fn values(&self, row: &Row) -> Result<String> {
        let values = self.table.stored().zip(&row.cells);
        Ok(values.map(|(column, cell)| literal(column, cell.as_deref())).collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// True of the row that has exactly these values in these columns.
    fn guard(&self, row: &Row, wanted: impl Fn(&Column) -> bool) -> Result<String> {
        let columns = self.table.stored().zip(&row.cells).filter(|(column, _)| wanted(column));
        let guard = columns.map(|(column, cell)| match cell {
            None => Ok(format!("{} IS NULL", ident(&column.name))),
            Some(cell) => Ok(exactly(column, &literal(column, Some(cell))?)),
        });
        Ok(guard.collect::<Result<Vec<_>>>()?.join(" AND "))
    }
}
