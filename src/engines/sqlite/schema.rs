//! What a database holds: its tables by kind, their columns, and the statements that made its objects.

use rusqlite::{Connection, OptionalExtension};

use super::quote;

/// An ordinary, virtual or shadow table. SQLite's own (`sqlite_...`) are left out.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: String,
    kind: String,
    pub has_rowid: bool,
    pub is_strict: bool,
}

impl Table {
    pub(super) fn is_virtual(&self) -> bool {
        self.kind == "virtual"
    }

    /// Part of a virtual table, such as the index of a full-text table.
    pub(super) fn is_shadow(&self) -> bool {
        self.kind == "shadow"
    }
}

/// Every table of `main` or of an attached database.
pub(super) fn tables(connection: &Connection, database: &str) -> rusqlite::Result<Vec<Table>> {
    let sql = "SELECT name, type, wr, strict FROM pragma_table_list
               WHERE schema = ?1 AND type IN ('table', 'virtual', 'shadow') AND substr(lower(name), 1, 7) <> 'sqlite_'
               ORDER BY name";
    connection
        .prepare(sql)?
        .query_map([database], |row| {
            Ok(Table { name: row.get(0)?, kind: row.get(1)?, has_rowid: !row.get::<_, bool>(2)?, is_strict: row.get(3)? })
        })?
        .collect()
}

/// An object of the schema that a statement makes.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// `table`, `index`, `view` or `trigger`.
    pub kind: String,
    pub name: String,
    /// The table or view it belongs to.
    pub table: String,
    pub sql: String,
}

/// Every object in the order it was made. Indexes that SQLite makes by itself have no statement and are left out.
pub(super) fn objects(connection: &Connection, database: &str) -> rusqlite::Result<Vec<Object>> {
    let sql = format!(
        "SELECT type, name, tbl_name, sql FROM {}.sqlite_schema
         WHERE sql IS NOT NULL AND substr(lower(name), 1, 7) <> 'sqlite_' ORDER BY rowid",
        quote(database)
    );
    connection
        .prepare(&sql)?
        .query_map([], |row| Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? }))?
        .collect()
}

/// Columns that can be written: neither generated nor hidden in a virtual table.
pub(super) fn columns(connection: &Connection, database: &str, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM pragma_table_xinfo(?1, ?2) WHERE hidden = 0 ORDER BY cid")?
        .query_map([table, database], |row| row.get(0))?
        .collect()
}

/// The last number that AUTOINCREMENT gave in a table.
pub(super) fn sequence(connection: &Connection, database: &str, table: &str) -> rusqlite::Result<Option<i64>> {
    if !has_sequences(connection, database)? {
        return Ok(None);
    }
    connection
        .query_row(&format!("SELECT seq FROM {}.sqlite_sequence WHERE name = ?1 COLLATE NOCASE", quote(database)), [table], |row| {
            row.get(0)
        })
        .optional()
        .map(Option::flatten)
}

pub(super) fn has_sequences(connection: &Connection, database: &str) -> rusqlite::Result<bool> {
    let sql = format!("SELECT count(*) FROM {}.sqlite_schema WHERE name = 'sqlite_sequence'", quote(database));
    connection.query_row(&sql, [], |row| row.get(0))
}

/// Names are equal to SQLite whatever the case of their ASCII letters.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
