//! Changes of one table, written row by row: each is looked at before it is written, and left alone where it is not as
//! the change expects it.

use rusqlite::{CachedStatement, Connection, ErrorCode, ffi, params_from_iter};

use super::{
    cells::{self, Stored},
    quote,
    schema::same,
};
use crate::{
    engines::rows::{Applied, OnConflict},
    error::{Error, Kind, Result},
    snapshot::{Cell, Key, Row, RowChange, Table},
};

/// Conflicts that are told at most.
const SHOWN: usize = 20;
/// Bytes of changes that may wait for others, because a unique value is still taken.
const WAITING: usize = 64 << 20;

/// Writes changes into one table.
pub(super) struct Applying<'a> {
    connection: &'a Connection,
    table: &'a Table,
    statements: Statements,
    on_conflict: OnConflict,
    /// There were no rows: none has to be looked for.
    empty: bool,
    /// The target has columns of its own, which a row that is written anew would lose.
    more_columns: bool,
    pub applied: Applied,
    conflicts: u64,
    waiting: Vec<RowChange>,
    waiting_bytes: usize,
}

/// The statements of a table. Parameters are the stored columns first, then the key's.
struct Statements {
    find: String,
    count: String,
    insert: String,
    update: String,
    delete: String,
    delete_all: String,
    /// Places of the key's columns among the stored ones; empty without a key.
    key: Vec<usize>,
}

impl Statements {
    fn of(table: &Table) -> Self {
        let columns: Vec<String> = table.stored().map(|column| quote(&column.name)).collect();
        let key = match &table.key {
            Key::Columns { columns } => columns.iter().filter_map(|name| table.stored().position(|column| column.name == *name)).collect(),
            Key::Row => Vec::new(),
        };
        let name = format!("main.{}", quote(&table.name.name));
        let (list, count) = (columns.join(", "), columns.len());
        let marks = (1..=count).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
        let set = columns.iter().enumerate().map(|(at, column)| format!("{column} = ?{}", at + 1)).collect::<Vec<_>>().join(", ");
        let exactly = |column: &String, at: usize| format!("{column} COLLATE BINARY IS ?{at} AND typeof({column}) = typeof(?{at})");
        // As the index compares too, so that it is used.
        let by_key = |first: usize| {
            let parts = key.iter().enumerate().map(|(at, column): (usize, &usize)| {
                let (column, at) = (&columns[*column], first + at);
                format!("{column} = ?{at} AND {}", exactly(column, at))
            });
            parts.collect::<Vec<_>>().join(" AND ")
        };
        let whole = columns.iter().enumerate().map(|(at, column)| exactly(column, at + 1)).collect::<Vec<_>>().join(" AND ");
        Self {
            find: format!("SELECT {list} FROM {name} WHERE {} LIMIT 2", by_key(1)),
            count: format!("SELECT count(*) FROM {name} WHERE {whole}"),
            insert: format!("INSERT OR ABORT INTO {name} ({list}) VALUES ({marks})"),
            update: format!("UPDATE OR ABORT {name} SET {set} WHERE {}", by_key(count + 1)),
            delete: format!("DELETE FROM {name} WHERE {}", by_key(1)),
            delete_all: format!("DELETE FROM {name} WHERE {whole}"),
            key,
        }
    }
}

/// What became of one change.
enum Done {
    Inserted(u64),
    Updated,
    Deleted(u64),
    Unchanged,
    /// Not as expected; what was found.
    Conflict(String),
    /// A unique value is taken by another row.
    Taken,
}

impl<'a> Applying<'a> {
    /// `present` is the table as the target has it. Errors when it cannot take these rows.
    pub(super) fn new(connection: &'a Connection, table: &'a Table, present: &Table, on_conflict: OnConflict) -> Result<Self> {
        let has = |name: &str| present.stored().any(|column| same(&column.name, name));
        let missing: Vec<&str> = table.stored().map(|column| column.name.as_str()).filter(|name| !has(name)).collect();
        if !missing.is_empty() || table.stored().next().is_none() {
            return Err(Error::new(
                Kind::Restore,
                format!("the table {} of the target has no column {} that could be written", table.name, missing.join(", ")),
            )
            .hint("bring the target's table to the schema of the rows first"));
        }
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM main.{})", quote(&table.name.name));
        let empty = super::ask(connection, &sql).map_err(|cause| failed(table, cause))?;
        Ok(Self {
            connection,
            table,
            statements: Statements::of(table),
            on_conflict,
            empty,
            more_columns: present.stored().count() > table.stored().count(),
            applied: Applied::default(),
            conflicts: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
        })
    }

    /// Writes one change, now or, where a unique value is still taken, in [`Applying::finish`].
    pub(super) fn change(&mut self, change: RowChange) -> Result<()> {
        let done = self.write(&change)?;
        if let Done::Taken = done {
            self.waiting_bytes += size(&change);
            if self.waiting_bytes > WAITING {
                return Err(Error::new(Kind::Restore, format!("too many rows of {} exchange their unique values", self.table.name))
                    .hint("restore the whole table instead of its changes"));
            }
            self.waiting.push(change);
            return Ok(());
        }
        self.count(&change, done)
    }

    /// Writes what had to wait. With [`OnConflict::Stop`] errors when there was any conflict.
    pub(super) fn finish(mut self) -> Result<Applied> {
        loop {
            let waiting = std::mem::take(&mut self.waiting);
            if waiting.is_empty() {
                break;
            }
            let before = waiting.len();
            for change in waiting {
                match self.write(&change)? {
                    Done::Taken => self.waiting.push(change),
                    done => self.count(&change, done)?,
                }
            }
            if self.waiting.len() == before {
                let circle = std::mem::take(&mut self.waiting);
                self.untangle(circle)?;
                break;
            }
        }
        self.stop_on_conflicts()?;
        Ok(self.applied)
    }

    /// Rows that hold each other's unique values: all of them go, then they come as they are wanted.
    fn untangle(&mut self, circle: Vec<RowChange>) -> Result<()> {
        let mut gone = Vec::new();
        if !self.more_columns {
            for change in circle.iter().filter(|change| change.before.is_some()) {
                let row = change.before.as_ref().expect("it was looked for");
                self.run(&self.statements.delete, &self.key_of(row)?)?;
            }
        }
        for change in circle {
            let Some(after) = change.after.as_ref() else { continue };
            if self.more_columns || !self.insert(after, 1)? {
                let what = "another row has the same unique values".to_owned();
                self.count(&change, Done::Conflict(what.clone()))?;
                gone.push(what);
            } else {
                self.count(&change, if change.before.is_some() { Done::Updated } else { Done::Inserted(1) })?;
            }
        }
        // A row that was taken out and could not come back must not be lost.
        match gone.first() {
            Some(why) if !self.more_columns && self.on_conflict != OnConflict::Stop => Err(Error::new(
                Kind::Restore,
                format!("{} rows of {} cannot be written: {why}; nothing was changed", gone.len(), self.table.name),
            )
            .hint("restore the rows that have these values too")),
            _ => Ok(()),
        }
    }

    fn count(&mut self, change: &RowChange, done: Done) -> Result<()> {
        match done {
            Done::Inserted(rows) => self.applied.inserted += rows,
            Done::Updated => self.applied.updated += 1,
            Done::Deleted(rows) => self.applied.deleted += rows,
            Done::Unchanged => self.applied.unchanged += 1,
            Done::Conflict(found) => {
                self.conflicts += 1;
                self.applied.skipped += 1;
                if self.applied.conflicts.len() < SHOWN {
                    let named = self.name(change);
                    self.applied.conflicts.push(format!("{named}: {found}"));
                } else if self.on_conflict == OnConflict::Stop {
                    return self.stop_on_conflicts();
                }
            }
            Done::Taken => {}
        }
        Ok(())
    }

    fn stop_on_conflicts(&self) -> Result<()> {
        if self.conflicts == 0 || self.on_conflict != OnConflict::Stop {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "rows of {} are not as the changes expect them, and nothing was changed: {}",
            self.table.name,
            self.applied.conflicts.join("; ")
        ))
        .hint("compare again, or choose to skip or to overwrite such rows"))
    }

    fn write(&self, change: &RowChange) -> Result<Done> {
        if self.statements.key.is_empty() { self.write_keyless(change) } else { self.write_keyed(change) }
    }

    fn write_keyed(&self, change: &RowChange) -> Result<Done> {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let named = before.or(after).ok_or_else(|| Error::internal("a change of no row"))?;
        let found = if self.empty && before.is_none() { None } else { self.find(named)? };
        let overwrite = self.on_conflict == OnConflict::Overwrite;
        match (found, before, after) {
            (None, _, None) => Ok(Done::Unchanged),
            (None, None, Some(after)) => self.inserted(after),
            (None, Some(_), Some(after)) if overwrite => self.inserted(after),
            (None, Some(_), Some(_)) => Ok(Done::Conflict("the row is not there".to_owned())),
            (Some(found), _, Some(after)) if found == after.cells => Ok(Done::Unchanged),
            (Some(found), Some(before), _) if found != before.cells && !overwrite => {
                Ok(Done::Conflict(format!("the row has other values in {}", self.differing(&found, before))))
            }
            (Some(_), None, _) if !overwrite => Ok(Done::Conflict("another row with this key is there".to_owned())),
            (Some(_), _, Some(after)) => self.update(named, after),
            (Some(_), _, None) => {
                let rows = self.run(&self.statements.delete, &self.key_of(named)?)?;
                Ok(Done::Deleted(rows))
            }
        }
    }

    /// Rows that are alike are told apart by nothing: their number is what a change is of.
    fn write_keyless(&self, change: &RowChange) -> Result<Done> {
        let row = change.before.as_ref().or(change.after.as_ref()).ok_or_else(|| Error::internal("a change of no row"))?;
        let count = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.count);
        let (expected, wanted) = (count(&change.before), count(&change.after));
        let found = if self.empty { 0 } else { self.matching(row)? };
        if found == wanted {
            return Ok(Done::Unchanged);
        }
        if found != expected && self.on_conflict != OnConflict::Overwrite {
            return Ok(Done::Conflict(format!("the row is there {found} times instead of {expected}")));
        }
        let again = if found < wanted {
            wanted - found
        } else {
            self.run(&self.statements.delete_all, &self.values(row)?)?;
            wanted
        };
        if again > 0 && !self.insert(row, again)? {
            return Ok(Done::Taken);
        }
        Ok(if found < wanted { Done::Inserted(wanted - found) } else { Done::Deleted(found - wanted) })
    }

    fn inserted(&self, row: &Row) -> Result<Done> {
        Ok(if self.insert(row, 1)? { Done::Inserted(1) } else { Done::Taken })
    }

    /// False where a unique value is taken.
    fn insert(&self, row: &Row, times: u64) -> Result<bool> {
        let values = self.values(row)?;
        for _ in 0..times {
            if !self.execute(&self.statements.insert, &values)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn update(&self, named: &Row, after: &Row) -> Result<Done> {
        let mut values = self.values(after)?;
        values.extend(self.key_of(named)?);
        Ok(if self.execute(&self.statements.update, &values)? { Done::Updated } else { Done::Taken })
    }

    /// The cells of the row with the key of `row`.
    fn find(&self, row: &Row) -> Result<Option<Vec<Cell>>> {
        let key = self.key_of(row)?;
        let mut statement = self.prepare(&self.statements.find)?;
        let mut rows = statement.query(params_from_iter(key)).map_err(|cause| failed(self.table, cause))?;
        let Some(row) = rows.next().map_err(|cause| failed(self.table, cause))? else { return Ok(None) };
        let mut found = Vec::new();
        for (at, column) in self.table.stored().enumerate() {
            let mut bytes = Vec::new();
            let value = row.get_ref(at).map_err(|cause| failed(self.table, cause))?;
            found.push(cells::push(&mut bytes, column.class, value).then(|| bytes.into()));
        }
        match rows.next().map_err(|cause| failed(self.table, cause))? {
            None => Ok(Some(found)),
            Some(_) => Err(Error::new(Kind::Restore, format!("several rows of {} have the key that should name one", self.table.name))
                .hint("give the target's table the primary key that the rows have")),
        }
    }

    fn matching(&self, row: &Row) -> Result<u64> {
        let values = self.values(row)?;
        let count: i64 = self
            .prepare(&self.statements.count)?
            .query_row(params_from_iter(values), |row| row.get(0))
            .map_err(|cause| failed(self.table, cause))?;
        Ok(count.unsigned_abs())
    }

    fn values<'r>(&self, row: &'r Row) -> Result<Vec<Stored<'r>>> {
        self.table.stored().zip(&row.cells).map(|(column, cell)| Stored::of(column, cell.as_deref())).collect()
    }

    fn key_of<'r>(&self, row: &'r Row) -> Result<Vec<Stored<'r>>> {
        let stored: Vec<_> = self.table.stored().collect();
        self.statements.key.iter().map(|at| Stored::of(stored[*at], row.cells[*at].as_deref())).collect()
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql).map_err(|cause| failed(self.table, cause))
    }

    /// Rows that a statement changed.
    fn run(&self, sql: &str, values: &[Stored<'_>]) -> Result<u64> {
        let rows = self.prepare(sql)?.execute(params_from_iter(values)).map_err(|cause| failed(self.table, cause))?;
        Ok(rows as u64)
    }

    /// False where a unique value is taken.
    fn execute(&self, sql: &str, values: &[Stored<'_>]) -> Result<bool> {
        match self.prepare(sql)?.execute(params_from_iter(values)) {
            Ok(_) => Ok(true),
            Err(cause) if is_taken(&cause) => Ok(false),
            Err(cause) => Err(failed(self.table, cause)),
        }
    }

    fn differing(&self, found: &[Cell], expected: &Row) -> String {
        let columns = self.table.stored().zip(found).zip(&expected.cells);
        let names: Vec<&str> =
            columns.filter(|((_, found), expected)| found != expected).map(|((column, _), _)| column.name.as_str()).collect();
        names.join(", ")
    }

    /// A change's row, for people.
    fn name(&self, change: &RowChange) -> String {
        let row = change.before.as_ref().or(change.after.as_ref());
        let key = self.statements.key.iter().filter_map(|at| row?.cells[*at].as_deref()).map(|cell| {
            let text = String::from_utf8_lossy(cell.get(1..).filter(|_| !cell[0].is_ascii_digit() && cell[0] != b'-').unwrap_or(cell));
            text.chars().take(80).collect::<String>()
        });
        let key = key.collect::<Vec<_>>().join(", ");
        if key.is_empty() { format!("a row of {}", self.table.name) } else { format!("{} {key}", self.table.name) }
    }
}

fn size(change: &RowChange) -> usize {
    let rows = [&change.before, &change.after];
    rows.into_iter().flatten().flat_map(|row| &row.cells).map(|cell| 32 + cell.as_ref().map_or(0, |bytes| bytes.len())).sum()
}

fn is_taken(cause: &rusqlite::Error) -> bool {
    matches!(
        cause.sqlite_error(),
        Some(ffi::Error {
            extended_code: ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID,
            ..
        })
    )
}

fn failed(table: &Table, cause: rusqlite::Error) -> Error {
    let doing = format!("writing into the table {}", table.name);
    match cause.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => Error::cancelled(),
        Some(ErrorCode::ConstraintViolation) => Error::new(Kind::Restore, format!("{doing}: a row breaks a rule of the target's table"))
            .hint("bring the target's table to the schema of the rows first")
            .source(cause),
        Some(ErrorCode::DiskFull) => Error::new(Kind::Restore, doing).hint("free space on the disk that holds the database").source(cause),
        _ => Error::new(Kind::Restore, doing).source(cause),
    }
}
