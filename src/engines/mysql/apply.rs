//! Changes of one table, written row by row: each is looked at before it is written, and left alone where it is not as
//! the change expects it. What is found is compared here, byte by byte: no collation can hide a difference.

use mysql_async::{Conn, Error as DriverError, Params, Value, prelude::Queryable as _};

use super::{
    cells::{Cells, check_received, parameter},
    columns::{equal, exactly, mark},
    connect::{failed, ident},
};
use crate::{
    engines::rows::{Applied, OnConflict},
    error::{Error, Kind, Result},
    snapshot::{Cell, Column, Key, Row, RowChange, Table},
};

/// Conflicts that are told at most.
const SHOWN: usize = 20;
/// Bytes of changes that may wait for others, because a unique value is still taken.
const WAITING: usize = 64 << 20;
/// Parameters of a statement that inserts many rows, and the bytes it may have.
const PARAMETERS: usize = 2000;
const ROWS: usize = 200;
const BYTES: usize = 1 << 20;

/// A value is taken that only one row may have.
const TAKEN: u16 = 1062;

/// Writes changes into one table.
pub struct Applying<'a> {
    connection: &'a mut Conn,
    table: &'a Table,
    columns: Vec<&'a Column>,
    statements: Statements,
    on_conflict: OnConflict,
    /// There were no rows: none has to be looked for.
    empty: bool,
    /// The target has columns of its own, which a row that is written anew would lose.
    more_columns: bool,
    pub applied: Applied,
    conflicts: u64,
    /// Rows of an empty table, to be inserted together.
    together: Vec<RowChange>,
    together_bytes: usize,
    waiting: Vec<RowChange>,
    waiting_bytes: usize,
}

/// The statements of a table. Parameters are the stored columns first, then the key's.
struct Statements {
    find: String,
    count: String,
    insert: String,
    insert_many: String,
    many: usize,
    update: String,
    delete: String,
    delete_some: String,
    /// Places of the key's columns among the stored ones; empty without a key.
    key: Vec<usize>,
}

impl Statements {
    fn of(table: &Table, columns: &[&Column], name: &str) -> Self {
        let key: Vec<usize> = match &table.key {
            Key::Columns { columns: names } => {
                names.iter().filter_map(|name| columns.iter().position(|column| column.name == *name)).collect()
            }
            Key::Row => Vec::new(),
        };
        let list = columns.iter().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ");
        let marks = format!("({})", columns.iter().map(|column| mark(column)).collect::<Vec<_>>().join(", "));
        let set = columns.iter().map(|column| format!("{} = {}", ident(&column.name), mark(column))).collect::<Vec<_>>().join(", ");
        let found = key.iter().map(|at| equal(columns[*at], "?")).collect::<Vec<_>>().join(" AND ");
        // As the index compares too, so that it is used.
        let by_key = key.iter().map(|at| format!("{} AND {}", equal(columns[*at], "?"), exactly(columns[*at], "?")));
        let by_key = by_key.collect::<Vec<_>>().join(" AND ");
        let whole = columns.iter().map(|column| exactly(column, "?")).collect::<Vec<_>>().join(" AND ");
        let many = (PARAMETERS / columns.len().max(1)).clamp(1, ROWS);
        Self {
            find: format!("SELECT {list} FROM {name} WHERE {found} FOR UPDATE"),
            count: format!("SELECT COUNT(*) FROM {name} WHERE {whole} FOR UPDATE"),
            insert: format!("INSERT INTO {name} ({list}) VALUES {marks}"),
            insert_many: format!("INSERT INTO {name} ({list}) VALUES {}", vec![marks.as_str(); many].join(", ")),
            many,
            update: format!("UPDATE {name} SET {set} WHERE {by_key}"),
            delete: format!("DELETE FROM {name} WHERE {by_key}"),
            delete_some: format!("DELETE FROM {name} WHERE {whole} LIMIT "),
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

/// What became of one statement.
#[derive(PartialEq)]
enum Written {
    Clean,
    /// The server has changed a value.
    Warned,
    Taken,
}

impl<'a> Applying<'a> {
    /// `present` is the table as the target has it, `name` its name as SQL. Errors when it cannot take these rows.
    pub async fn new(connection: &'a mut Conn, table: &'a Table, present: &Table, name: &str, on_conflict: OnConflict) -> Result<Self> {
        let has = |name: &str| present.stored().any(|column| column.name == name);
        let missing: Vec<&str> = table.stored().map(|column| column.name.as_str()).filter(|name| !has(name)).collect();
        if !missing.is_empty() || table.stored().next().is_none() {
            return Err(Error::new(
                Kind::Restore,
                format!("the table {} of the target has no column {} that could be written", table.name, missing.join(", ")),
            )
            .hint("bring the target's table to the schema of the rows first"));
        }
        let columns: Vec<&Column> = table.stored().collect();
        let any: Option<u8> = connection
            .query_first(format!("SELECT 1 FROM {name} LIMIT 1"))
            .await
            .map_err(|cause| failed(format!("looking into {}", table.name), cause))?;
        Ok(Self {
            connection,
            table,
            statements: Statements::of(table, &columns, name),
            more_columns: present.stored().count() > columns.len(),
            columns,
            on_conflict,
            empty: any.is_none(),
            applied: Applied::default(),
            conflicts: 0,
            together: Vec::new(),
            together_bytes: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
        })
    }

    /// Writes one change, now or later: together with others, or in [`Applying::finish`] where a unique value is still taken.
    pub async fn change(&mut self, change: RowChange) -> Result<()> {
        let alone = change.after.as_ref().is_none_or(|row| row.count != 1);
        if !self.empty || change.before.is_some() || alone {
            return self.one(change).await;
        }
        self.together_bytes += size(&change);
        self.together.push(change);
        if self.together.len() == self.statements.many || self.together_bytes >= BYTES {
            self.insert_together().await?;
        }
        Ok(())
    }

    async fn one(&mut self, change: RowChange) -> Result<()> {
        let done = self.write(&change).await?;
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

    /// One statement where they are as many as it takes; else, and where the server has something to say, one by one.
    async fn insert_together(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.together);
        self.together_bytes = 0;
        if rows.len() == self.statements.many && rows.len() > 1 {
            let mut values = Vec::with_capacity(rows.len() * self.columns.len());
            for change in &rows {
                let row = change.after.as_ref().ok_or_else(|| Error::internal("a change of no row"))?;
                values.extend(self.values(row)?);
            }
            let sql = self.statements.insert_many.clone();
            match self.execute(&sql, values).await? {
                Written::Clean => {
                    self.applied.inserted += rows.len() as u64;
                    return Ok(());
                }
                Written::Warned => {
                    for change in &rows {
                        self.read_back(change.after.as_ref().unwrap_or_else(|| unreachable!("it was inserted"))).await?;
                    }
                    self.applied.inserted += rows.len() as u64;
                    return Ok(());
                }
                Written::Taken => {}
            }
        }
        for change in rows {
            self.one(change).await?;
        }
        Ok(())
    }

    /// Writes what had to wait. With [`OnConflict::Stop`] errors when there was any conflict.
    pub async fn finish(mut self) -> Result<Applied> {
        self.insert_together().await?;
        loop {
            let waiting = std::mem::take(&mut self.waiting);
            if waiting.is_empty() {
                break;
            }
            let before = waiting.len();
            for change in waiting {
                match self.write(&change).await? {
                    Done::Taken => self.waiting.push(change),
                    done => self.count(&change, done)?,
                }
            }
            if self.waiting.len() == before {
                let circle = std::mem::take(&mut self.waiting);
                self.untangle(circle).await?;
                break;
            }
        }
        self.stop_on_conflicts()?;
        Ok(self.applied)
    }

    /// Rows that hold each other's unique values: all of them go, then they come as they are wanted.
    async fn untangle(&mut self, circle: Vec<RowChange>) -> Result<()> {
        const WHY: &str = "another row has the same unique values";
        let mut gone = 0;
        if !self.more_columns && !self.statements.key.is_empty() {
            for row in circle.iter().filter_map(|change| change.before.as_ref()) {
                self.delete(row).await?;
            }
        }
        for change in circle {
            let Some(after) = change.after.as_ref() else { continue };
            if self.more_columns || !self.insert(after, 1).await? {
                self.count(&change, Done::Conflict(WHY.to_owned()))?;
                gone += u64::from(change.before.is_some());
            } else {
                self.count(&change, if change.before.is_some() { Done::Updated } else { Done::Inserted(1) })?;
            }
        }
        // A row that was taken out and could not come back must not be lost.
        if gone > 0 && !self.more_columns && self.on_conflict != OnConflict::Stop {
            return Err(Error::new(
                Kind::Restore,
                format!("{gone} rows of {} cannot be written: {WHY}; nothing was changed", self.table.name),
            )
            .hint("restore the rows that have these values too"));
        }
        Ok(())
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

    async fn write(&mut self, change: &RowChange) -> Result<Done> {
        if self.statements.key.is_empty() { self.write_keyless(change).await } else { self.write_keyed(change).await }
    }

    async fn write_keyed(&mut self, change: &RowChange) -> Result<Done> {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let named = before.or(after).ok_or_else(|| Error::internal("a change of no row"))?;
        let found = if self.empty && before.is_none() { None } else { self.find(named).await? };
        let overwrite = self.on_conflict == OnConflict::Overwrite;
        match (found, before, after) {
            (None, _, None) => Ok(Done::Unchanged),
            (None, None, Some(after)) => self.inserted(after).await,
            (None, Some(_), Some(after)) if overwrite => self.inserted(after).await,
            (None, Some(_), Some(_)) => Ok(Done::Conflict("the row is not there".to_owned())),
            (Some(found), _, Some(after)) if found == after.cells => Ok(Done::Unchanged),
            (Some(found), Some(before), _) if found != before.cells && !overwrite => {
                Ok(Done::Conflict(format!("the row has other values in {}", self.differing(&found, before))))
            }
            (Some(_), None, _) if !overwrite => Ok(Done::Conflict("another row with this key is there".to_owned())),
            (Some(_), _, Some(after)) => self.update(named, after).await,
            (Some(_), _, None) => {
                self.delete(named).await?;
                Ok(Done::Deleted(1))
            }
        }
    }

    /// Rows that are alike are told apart by nothing: their number is what a change is of.
    async fn write_keyless(&mut self, change: &RowChange) -> Result<Done> {
        let row = change.before.as_ref().or(change.after.as_ref()).ok_or_else(|| Error::internal("a change of no row"))?;
        let count = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.count);
        let (expected, wanted) = (count(&change.before), count(&change.after));
        let found = if self.empty { 0 } else { self.matching(row).await? };
        if found == wanted {
            return Ok(Done::Unchanged);
        }
        if found != expected && self.on_conflict != OnConflict::Overwrite {
            return Ok(Done::Conflict(format!("the row is there {found} times instead of {expected}")));
        }
        if found < wanted {
            return Ok(if self.insert(row, wanted - found).await? { Done::Inserted(wanted - found) } else { Done::Taken });
        }
        let sql = format!("{}{}", self.statements.delete_some, found - wanted);
        let values = self.values(row)?;
        self.execute(&sql, values).await?;
        Ok(Done::Deleted(found - wanted))
    }

    async fn inserted(&mut self, row: &Row) -> Result<Done> {
        Ok(if self.insert(row, 1).await? { Done::Inserted(1) } else { Done::Taken })
    }

    /// False where a unique value is taken.
    async fn insert(&mut self, row: &Row, times: u64) -> Result<bool> {
        let sql = self.statements.insert.clone();
        for _ in 0..times {
            let values = self.values(row)?;
            match self.execute(&sql, values).await? {
                Written::Taken => return Ok(false),
                Written::Warned => self.read_back(row).await?,
                Written::Clean => {}
            }
        }
        Ok(true)
    }

    async fn update(&mut self, named: &Row, after: &Row) -> Result<Done> {
        let mut values = self.values(after)?;
        values.extend(self.key_twice(named)?);
        let sql = self.statements.update.clone();
        match self.execute(&sql, values).await? {
            Written::Taken => return Ok(Done::Taken),
            Written::Warned => self.read_back(after).await?,
            Written::Clean => {}
        }
        Ok(Done::Updated)
    }

    async fn delete(&mut self, named: &Row) -> Result<()> {
        let values = self.key_twice(named)?;
        let sql = self.statements.delete.clone();
        self.execute(&sql, values).await.map(|_| ())
    }

    /// The server said that it changed a value: whether the row is what was written all the same, such as an ENUM that
    /// was no member before either.
    async fn read_back(&mut self, row: &Row) -> Result<()> {
        let there = match self.statements.key.is_empty() {
            true => self.matching(row).await? > 0,
            false => self.find(row).await?.is_some_and(|found| found == row.cells),
        };
        if there {
            return Ok(());
        }
        Err(Error::new(Kind::Restore, format!("the table {} of the target cannot hold a row as it was", self.table.name))
            .hint("bring the columns of the target's table to the types of the rows first"))
    }

    /// The cells of the row with the key of `row`.
    async fn find(&mut self, row: &Row) -> Result<Option<Vec<Cell>>> {
        let key = self.key_of(row)?;
        let failed_at = |cause| failed(format!("looking for a row of {}", self.table.name), cause);
        let mut cells = Cells::of(self.columns.iter().copied());
        let mut result = self.connection.exec_iter(&self.statements.find, Params::Positional(key)).await.map_err(failed_at)?;
        check_received(result.columns_ref())?;
        let mut found: Option<Vec<Cell>> = None;
        let mut twice = false;
        while let Some(values) = result.next().await.map_err(failed_at)? {
            let values = values.unwrap();
            cells.with(&values, |cells| {
                // Others that the index holds for equal have another key.
                if self.statements.key.iter().all(|at| cells[*at] == row.cells[*at].as_deref()) {
                    twice |= found.is_some();
                    found = Some(cells.iter().map(|cell| cell.map(bytes::Bytes::copy_from_slice)).collect());
                }
                Ok(())
            })?;
        }
        if twice {
            return Err(Error::new(Kind::Restore, format!("several rows of {} have the key that should name one", self.table.name))
                .hint("give the target's table the primary key that the rows have"));
        }
        Ok(found)
    }

    async fn matching(&mut self, row: &Row) -> Result<u64> {
        let values = self.values(row)?;
        let count: Result<Option<u64>, DriverError> = self.connection.exec_first(&self.statements.count, Params::Positional(values)).await;
        let count = count.map_err(|cause| failed(format!("looking for rows of {}", self.table.name), cause))?;
        Ok(count.unwrap_or(0))
    }

    fn values(&self, row: &Row) -> Result<Vec<Value>> {
        self.columns.iter().zip(&row.cells).map(|(column, cell)| parameter(column, cell.as_deref())).collect()
    }

    fn key_of(&self, row: &Row) -> Result<Vec<Value>> {
        self.statements.key.iter().map(|at| parameter(self.columns[*at], row.cells[*at].as_deref())).collect()
    }

    fn key_twice(&self, row: &Row) -> Result<Vec<Value>> {
        let key = self.key_of(row)?;
        Ok(key.into_iter().flat_map(|value| [value.clone(), value]).collect())
    }

    async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<Written> {
        let done = match self.connection.exec_iter(sql, Params::Positional(values)).await {
            Ok(result) => {
                let warnings = result.warnings();
                result.drop_result().await.map(|()| warnings)
            }
            Err(cause) => Err(cause),
        };
        match done {
            Ok(0) => Ok(Written::Clean),
            Ok(_) => Ok(Written::Warned),
            Err(DriverError::Server(error)) if error.code == TAKEN => Ok(Written::Taken),
            Err(cause) => Err(self.refused(cause)),
        }
    }

    fn refused(&self, cause: DriverError) -> Error {
        let code = if let DriverError::Server(server) = &cause { Some(server.code) } else { None };
        let mut error = failed(format!("writing into the table {}", self.table.name), cause);
        error.kind = Kind::Restore;
        match code {
            Some(1205 | 1213) => error.hint("another session holds its rows locked: try again later").retryable(),
            Some(1142 | 1143 | 1044) => error.hint("grant INSERT, UPDATE and DELETE on the table to the account"),
            Some(3819 | 4025 | 1048) => error.hint("bring the target's table to the schema of the rows first"),
            Some(1153) => error.hint("raise the server's max_allowed_packet above the longest row"),
            _ => error,
        }
    }

    fn differing(&self, found: &[Cell], expected: &Row) -> String {
        let columns = self.columns.iter().zip(found).zip(&expected.cells);
        let names: Vec<&str> =
            columns.filter(|((_, found), wanted)| found != wanted).map(|((column, _), _)| column.name.as_str()).collect();
        names.join(", ")
    }

    /// A change's row, for people.
    fn name(&self, change: &RowChange) -> String {
        let row = change.before.as_ref().or(change.after.as_ref());
        let key = self.statements.key.iter().filter_map(|at| row?.cells[*at].as_deref());
        let key = key.map(|cell| String::from_utf8_lossy(cell).chars().take(80).collect::<String>()).collect::<Vec<_>>().join(", ");
        if key.is_empty() { format!("a row of {}", self.table.name) } else { format!("{} {key}", self.table.name) }
    }
}

fn size(change: &RowChange) -> usize {
    let rows = [&change.before, &change.after];
    rows.into_iter().flatten().flat_map(|row| &row.cells).map(|cell| 32 + cell.as_ref().map_or(0, |bytes| bytes.len())).sum()
}
