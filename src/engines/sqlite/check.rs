//! Proving that a database is whole, and counting its rows.

use rusqlite::{Connection, ErrorCode};

use super::{ask_count, quote, schema};
use crate::{domain::artifact::TableCount, error::Error};

/// Findings that are told at most.
const SHOWN: usize = 10;

/// The result of an integrity check.
#[derive(Default)]
pub(super) struct Findings {
    /// Damage: the file cannot be trusted.
    pub damage: Vec<String>,
    /// What a person should know: rows that break their own constraints, tables that this build cannot check.
    pub warnings: Vec<String>,
}

impl Findings {
    /// The first findings in one line.
    pub(super) fn summary(&self) -> String {
        let shown = self.damage.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
        match self.damage.len().saturating_sub(SHOWN) {
            0 => shown,
            more => format!("{shown}; and {more} more"),
        }
    }
}

/// `PRAGMA integrity_check` of the main database.
pub(super) fn integrity(connection: &Connection) -> rusqlite::Result<Findings> {
    let mut findings = Findings::default();
    match examine(connection, "PRAGMA main.integrity_check(1000)", &mut findings) {
        Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::Unknown) => {}
        done => return done.map(|()| findings),
    }
    // Something that only the application knows, such as a collation, ends the whole check: check table by table.
    findings = Findings::default();
    for table in schema::tables(connection, "main")? {
        let sql = format!("PRAGMA main.integrity_check({})", quote(&table.name));
        match examine(connection, &sql, &mut findings) {
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                findings.warnings.push(format!("table {} could not be checked: {cause}", table.name));
            }
            done => done?,
        }
    }
    Ok(findings)
}

fn examine(connection: &Connection, sql: &str, findings: &mut Findings) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    loop {
        let line: String = match rows.next() {
            Ok(Some(row)) => row.get(0)?,
            Ok(None) => return Ok(()),
            // Damage that ends the check itself.
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                findings.damage.push(cause.to_string());
                return Ok(());
            }
            Err(cause) => return Err(cause),
        };
        if line == "ok" {
            continue;
        }
        let kind = if breaks_own_rule(&line) { &mut findings.warnings } else { &mut findings.damage };
        kind.push(line);
    }
}

/// Whether a finding is about a value that its column should not hold: such rows are stored soundly, and a backup keeps them.
fn breaks_own_rule(line: &str) -> bool {
    ["NULL value in ", "CHECK constraint failed in ", "NUMERIC value in ", "TEXT value in "].iter().any(|start| line.starts_with(start))
        || (line.starts_with("non-") && line.contains(" value in "))
}

/// Exact rows of every table, sorted by name, and notes about virtual tables that this build cannot read.
/// `database` is `main` or the name of an attached one.
pub(super) fn counts(connection: &Connection, database: &str) -> rusqlite::Result<(Vec<TableCount>, Vec<String>)> {
    let (mut counts, mut notes) = (Vec::new(), Vec::new());
    for table in schema::tables(connection, database)? {
        if table.is_shadow() {
            continue;
        }
        match ask_count(connection, &format!("SELECT count(*) FROM {}.{}", quote(database), quote(&table.name))) {
            Ok(rows) => counts.push(TableCount { schema: None, name: table.name, rows }),
            Err(cause) if table.is_virtual() && cause.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                notes.push(format!("the rows of the virtual table {} could not be counted: {cause}", table.name));
            }
            Err(cause) => return Err(cause),
        }
    }
    counts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((counts, notes))
}

/// Errors when `found` differs from `expected` for one of its tables.
pub(super) fn compare(expected: &[TableCount], found: &[TableCount], kind: crate::error::Kind, place: &str) -> Result<(), Error> {
    let mut differences = Vec::new();
    for table in expected {
        let rows = found.iter().find(|other| other.name == table.name).map(|other| other.rows);
        if rows != Some(table.rows) {
            let rows = rows.map_or("is missing".to_owned(), |rows| format!("has {rows} rows"));
            differences.push(format!("{} {rows} where {} were expected", table.name, table.rows));
        }
    }
    match differences.len() {
        0 => Ok(()),
        _ => Err(Error::new(kind, format!("{place} differs from what was backed up: {}", differences.join(", ")))),
    }
}
