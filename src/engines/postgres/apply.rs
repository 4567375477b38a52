//! Changes of one table, written by guarded statements, many at a time; rows into an empty table by COPY.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{CopyInSink, SimpleQueryMessage, error::SqlState};

use super::{
    catalog::quoted,
    change::Statements,
    connect::{failed, ident},
    copy::write_cell,
    session::Session,
};
use crate::{
    engines::{Applied, OnConflict},
    error::{Error, Kind, Result},
    snapshot::{Row, RowChange, Table},
};

/// Conflicts that are told at most.
const SHOWN: usize = 20;
/// Changes, and bytes of their statements, that are sent at once.
const TOGETHER: usize = 200;
const BYTES: usize = 1 << 20;
/// Bytes of statements that may wait for others, because a unique value is still taken.
const WAITING: usize = 64 << 20;
/// Bytes of COPY's text that are sent at once.
const PIECE: usize = 256 * 1024;

/// Writes changes into one table.
pub struct Applying<'a> {
    session: &'a Session,
    table: &'a Table,
    statements: Statements<'a>,
    on_conflict: OnConflict,
    /// The target has columns of its own, which a row that is written anew would lose.
    more_columns: bool,
    /// Rows go by COPY while the table was empty and nothing but rows came.
    copying: Option<Copying>,
    empty: bool,
    batch: Vec<(RowChange, String)>,
    bytes: usize,
    waiting: Vec<(RowChange, String)>,
    waiting_bytes: usize,
    conflicts: u64,
    applied: Applied,
}

struct Copying {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    text: Vec<u8>,
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
    pub async fn new(session: &'a Session, table: &'a Table, present: &Table, on_conflict: OnConflict) -> Result<Self> {
        let has = |name: &str| present.stored().any(|column| column.name == name);
        let missing: Vec<&str> = table.stored().map(|column| column.name.as_str()).filter(|name| !has(name)).collect();
        if !missing.is_empty() {
            return Err(Error::new(
                Kind::Restore,
                format!("the table {} of the target has no column {} that could be written", table.name, missing.join(", ")),
            )
            .hint("bring the target's table to the schema of the rows first"));
        }
        let mut applying = Self {
            session,
            table,
            statements: Statements::of(table),
            on_conflict,
            more_columns: present.stored().count() > table.stored().count(),
            copying: None,
            empty: false,
            batch: Vec::new(),
            bytes: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            conflicts: 0,
            applied: Applied::default(),
        };
        let counted = format!("SELECT count(*)::text FROM (SELECT FROM {} LIMIT 1) one", quoted(&table.name));
        applying.empty = applying.ask(&counted).await? == 0;
        Ok(applying)
    }

    /// Takes one change; it may be written later.
    pub async fn change(&mut self, change: RowChange) -> Result<()> {
        if self.empty
            && let (None, Some(row)) = (&change.before, &change.after)
        {
            return self.copy(row).await;
        }
        self.end_copy().await?;
        let Some(sql) = self.statements.change(&change)? else {
            self.applied.unchanged += 1;
            return Ok(());
        };
        if sql.contains(";\n") && self.table.stored().next().is_none() {
            self.flush().await?;
            return self.one(change, sql).await;
        }
        self.bytes += sql.len();
        self.batch.push((change, sql));
        if self.batch.len() >= TOGETHER || self.bytes >= BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes what had to wait. With [`OnConflict::Stop`] errors when there was any conflict.
    pub async fn finish(mut self) -> Result<Applied> {
        self.end_copy().await?;
        self.flush().await?;
        loop {
            let waiting = std::mem::take(&mut self.waiting);
            self.waiting_bytes = 0;
            let before = waiting.len();
            for (change, sql) in waiting {
                self.one(change, sql).await?;
            }
            if self.waiting.is_empty() {
                break;
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

    async fn copy(&mut self, row: &Row) -> Result<()> {
        let wrong = |cause| failed(format!("writing the rows of {}", self.table.name), &cause);
        if self.copying.is_none() {
            let columns: Vec<String> = self.table.stored().map(|column| ident(&column.name)).collect();
            // A list of no columns is no list.
            let list = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
            let sink = self.session.copy_in(&format!("COPY {}{list} FROM STDIN", quoted(&self.table.name))).await.map_err(wrong)?;
            self.copying = Some(Copying { sink: Box::pin(sink), text: Vec::with_capacity(PIECE) });
        }
        let Some(copying) = &mut self.copying else { return Ok(()) };
        for _ in 0..row.count {
            for (at, (column, cell)) in self.table.stored().zip(&row.cells).enumerate() {
                if at > 0 {
                    copying.text.push(b'\t');
                }
                write_cell(&mut copying.text, column.class, cell.as_deref());
            }
            copying.text.push(b'\n');
            if copying.text.len() >= PIECE {
                let text = std::mem::replace(&mut copying.text, Vec::with_capacity(PIECE));
                copying.sink.feed(Bytes::from(text)).await.map_err(wrong)?;
            }
        }
        Ok(())
    }

    async fn end_copy(&mut self) -> Result<()> {
        self.empty = false;
        let Some(mut copying) = self.copying.take() else { return Ok(()) };
        let wrong = |cause| failed(format!("writing the rows of {}", self.table.name), &cause);
        copying.sink.feed(Bytes::from(copying.text)).await.map_err(wrong)?;
        self.applied.inserted += copying.sink.as_mut().finish().await.map_err(wrong)?;
        Ok(())
    }

    /// Sends the batch. Where one statement of it fails, all of it is undone and sent one by one.
    async fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let statements: Vec<&str> = batch.iter().map(|(_, sql)| sql.as_str()).collect();
        let Some(affected) = self.attempt(&statements.join(";\n")).await? else {
            for (change, sql) in batch {
                self.one(change, sql).await?;
            }
            return Ok(());
        };
        for ((change, _), affected) in batch.iter().zip(affected) {
            let done = self.judge(change, affected).await?;
            self.count(change, done)?;
        }
        Ok(())
    }

    async fn one(&mut self, change: RowChange, sql: String) -> Result<()> {
        let done = match self.attempt(&sql).await? {
            Some(affected) => self.judge(&change, affected.iter().sum()).await?,
            None => Done::Taken,
        };
        if let Done::Taken = done {
            self.waiting_bytes += sql.len();
            if self.waiting_bytes > WAITING {
                return Err(Error::new(Kind::Restore, format!("too many rows of {} exchange their unique values", self.table.name))
                    .hint("restore the whole table instead of its changes"));
            }
            self.waiting.push((change, sql));
            return Ok(());
        }
        self.count(&change, done)
    }

    /// The rows that each statement wrote; `None`, and nothing done, where a unique value is taken.
    async fn attempt(&self, sql: &str) -> Result<Option<Vec<u64>>> {
        let wrong = |cause| failed(format!("writing changes into {}", self.table.name), &cause);
        match self.session.simple_query(&format!("SAVEPOINT changes;\n{sql};\nRELEASE SAVEPOINT changes")).await {
            Ok(messages) => {
                let counts: Vec<u64> = messages
                    .iter()
                    .filter_map(|message| match message {
                        SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
                        _ => None,
                    })
                    .collect();
                Ok(Some(counts.get(1..counts.len().saturating_sub(1)).unwrap_or_default().to_vec()))
            }
            Err(cause) if [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION].iter().any(|code| cause.code() == Some(code)) => {
                let back = "ROLLBACK TO SAVEPOINT changes; RELEASE SAVEPOINT changes";
                self.session.batch_execute(back).await.map_err(wrong)?;
                Ok(None)
            }
            Err(cause) => Err(wrong(cause)),
        }
    }

    /// What a statement did, or why it did nothing.
    async fn judge(&self, change: &RowChange, affected: u64) -> Result<Done> {
        if affected > 0 {
            return Ok(match (&change.before, &change.after) {
                (Some(_), Some(_)) if !self.statements.keyless() => Done::Updated,
                (before, after) if count(before) < count(after) => Done::Inserted(affected),
                _ => Done::Deleted(affected),
            });
        }
        if self.statements.keyless() { self.judge_keyless(change).await } else { self.judge_keyed(change).await }
    }

    async fn judge_keyed(&self, change: &RowChange) -> Result<Done> {
        let overwrite = self.on_conflict == OnConflict::Overwrite;
        let Some(named) = change.before.as_ref().or(change.after.as_ref()) else { return Ok(Done::Unchanged) };
        let there = self.ask(&self.statements.count_key(named)?).await? > 0;
        match (there, &change.before, &change.after) {
            (false, Some(_), None) => Ok(Done::Unchanged),
            (true, Some(_), None) if overwrite => self.run(&self.statements.remove(named)?, Done::Deleted(1)).await,
            (_, _, Some(after)) if there && self.ask(&self.statements.count(after)?).await? > 0 => Ok(Done::Unchanged),
            (true, _, Some(after)) if overwrite => self.run(&self.statements.overwrite(after)?, Done::Updated).await,
            (false, _, Some(after)) if overwrite => self.run(&self.statements.insert(after)?, Done::Inserted(1)).await,
            (true, None, _) => Ok(Done::Conflict("another row with this key is there".to_owned())),
            (true, Some(_), _) => Ok(Done::Conflict("the row has other values".to_owned())),
            (false, ..) => Ok(Done::Conflict("the row is not there".to_owned())),
        }
    }

    /// Rows that are alike are told apart by nothing: their number is what a change is of.
    async fn judge_keyless(&self, change: &RowChange) -> Result<Done> {
        let Some(row) = change.before.as_ref().or(change.after.as_ref()) else { return Ok(Done::Unchanged) };
        let (expected, wanted) = (count(&change.before), count(&change.after));
        let found = self.ask(&self.statements.count(row)?).await?;
        if found == wanted {
            return Ok(Done::Unchanged);
        }
        if self.on_conflict != OnConflict::Overwrite {
            return Ok(Done::Conflict(format!("the row is there {found} times instead of {expected}")));
        }
        match self.statements.recount_from(row, found, wanted)? {
            None => Ok(Done::Unchanged),
            Some(sql) if found < wanted => self.run(&sql, Done::Inserted(wanted - found)).await,
            Some(sql) => self.run(&sql, Done::Deleted(found - wanted)).await,
        }
    }

    async fn run(&self, sql: &str, done: Done) -> Result<Done> {
        Ok(match self.attempt(sql).await? {
            Some(affected) if affected.iter().sum::<u64>() > 0 => done,
            Some(_) => Done::Conflict("the row could not be written".to_owned()),
            None => Done::Taken,
        })
    }

    /// Rows that hold each other's unique values: all of them go, then they come as they are wanted.
    async fn untangle(&mut self, circle: Vec<(RowChange, String)>) -> Result<()> {
        let taken = |change: &RowChange| (self.statements.keyless() || self.more_columns) || change.after.is_none();
        let (stuck, circle): (Vec<_>, Vec<_>) = circle.into_iter().partition(|(change, _)| taken(change));
        let why = "another row has the same unique values";
        for (change, _) in stuck {
            self.count(&change, Done::Conflict(why.to_owned()))?;
        }
        for (change, _) in circle.iter().filter(|(change, _)| change.before.is_some()) {
            if let Some(before) = &change.before {
                self.attempt(&self.statements.remove(before)?).await?;
            }
        }
        for (change, _) in circle {
            let Some(after) = &change.after else { continue };
            let written = self.attempt(&self.statements.insert(after)?).await?.is_some_and(|affected| affected.iter().sum::<u64>() > 0);
            match (written, &change.before) {
                (true, None) => self.count(&change, Done::Inserted(1))?,
                (true, Some(_)) => self.count(&change, Done::Updated)?,
                (false, None) => self.count(&change, Done::Conflict(why.to_owned()))?,
                // A row that was taken out and cannot come back must not be lost.
                (false, Some(_)) => {
                    return Err(Error::new(Kind::Restore, format!("{}: {why}; nothing was changed", self.name(&change)))
                        .hint("restore the row that has these values too"));
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, change: &RowChange, done: Done) -> Result<()> {
        match done {
            Done::Inserted(rows) => self.applied.inserted += rows,
            Done::Updated => self.applied.updated += 1,
            Done::Deleted(rows) => self.applied.deleted += rows,
            Done::Unchanged => self.applied.unchanged += 1,
            Done::Conflict(found) => self.conflict(change, &found)?,
            Done::Taken => self.conflict(change, "another row has the same unique values")?,
        }
        Ok(())
    }

    fn conflict(&mut self, change: &RowChange, found: &str) -> Result<()> {
        self.conflicts += 1;
        self.applied.skipped += 1;
        if self.applied.conflicts.len() < SHOWN {
            self.applied.conflicts.push(format!("{}: {found}", self.name(change)));
        } else {
            self.stop_on_conflicts()?;
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

    /// The row for people: table, and key or the beginning of its values.
    fn name(&self, change: &RowChange) -> String {
        let Some(row) = change.before.as_ref().or(change.after.as_ref()) else { return self.table.name.to_string() };
        let cell = |at: usize| {
            let text = row.cells.get(at).and_then(Option::as_deref).map_or("NULL".into(), String::from_utf8_lossy);
            text.chars().take(40).collect::<String>()
        };
        let parts: Vec<String> = match self.statements.key() {
            [] => (0..row.cells.len().min(4)).map(cell).collect(),
            key => key.iter().map(|at| cell(*at)).collect(),
        };
        format!("{} ({})", self.table.name, parts.join(", "))
    }

    /// The number that a query gives.
    async fn ask(&self, sql: &str) -> Result<u64> {
        let wrong = |cause| failed(format!("looking at the rows of {}", self.table.name), &cause);
        let messages = self.session.simple_query(sql).await.map_err(wrong)?;
        let number = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse().ok()),
            _ => None,
        });
        number.ok_or_else(|| Error::internal("a count that is no number"))
    }
}

fn count(row: &Option<Row>) -> u64 {
    row.as_ref().map_or(0, |row| row.count)
}
