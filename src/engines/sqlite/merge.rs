//! Bringing tables of a backup into a database that keeps the rest of what it has: one transaction on the target, with
//! the backup attached read-only. Rows are checked and counted before the commit; any error rolls everything back.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode};

use super::{
    ask_count, check,
    connect::patiently,
    faults::fault,
    quote,
    restore::stage,
    schema::{self, Object, Table, same},
};
use crate::{
    domain::{
        artifact::TableCount,
        events::Progress,
        restore::{RestoreContent, RestoreMode},
        run::Run,
    },
    engines::RestoreOutcome,
    error::{Error, Kind, Result},
};

/// What is brought in, and what happens to what is there.
pub(super) struct Merge {
    /// `Append` adds; every other mode replaces the tables that are brought in.
    pub mode: RestoreMode,
    pub content: RestoreContent,
    /// Chosen tables; empty means everything.
    pub tables: Vec<String>,
    pub ignore_foreign_keys: bool,
}

/// The name of the attached backup.
const BACKUP: &str = "dbsnap_backup";

/// Merges the backup in the file `spool` into `target`.
pub(super) fn merge(
    target: &Connection,
    path: &Path,
    spool: &Path,
    merge: &Merge,
    patience: Duration,
    run: &Run,
) -> Result<RestoreOutcome> {
    let failed = |cause| fault(Kind::Restore, "restoring into", path, cause);
    target.execute(&format!("ATTACH ?1 AS {BACKUP}"), [spool.to_string_lossy()]).map_err(|cause| match cause.to_string() {
        text if text.contains("same text encoding") => {
            Error::new(Kind::Restore, format!("{} and the backup do not have the same text encoding", path.display()))
                .hint("restore with mode 'new' or 'drop', which keep the encoding of the backup")
        }
        _ => failed(cause),
    })?;
    let before = foreign_key_violations(target, "main").map_err(failed)?;
    let backed_up = foreign_key_violations(target, BACKUP).map_err(failed)?;
    let allowed = before.zip(backed_up).map(|(before, backed_up)| before.max(backed_up));
    patiently(run, patience, || target.execute_batch("BEGIN IMMEDIATE"))?.map_err(failed)?;
    let mut work = Work { target, path, merge, run, warnings: Vec::new(), expected: Vec::new() };
    let done = work.all().and_then(|()| work.verify(allowed)).and_then(|tables| {
        run.check()?;
        patiently(run, patience, || target.execute_batch("COMMIT"))?.map_err(failed)?;
        Ok(tables)
    });
    match done {
        Ok(tables) => {
            let warnings = work.warnings;
            target.execute_batch(&format!("DETACH {BACKUP}")).map_err(failed)?;
            Ok(RestoreOutcome { tables, warnings })
        }
        Err(error) => {
            if !target.is_autocommit() {
                target.execute_batch("ROLLBACK").map_err(failed)?;
            }
            Err(error)
        }
    }
}

/// Rows that refer to rows that are not there; `None` where the schema itself does not allow to tell.
fn foreign_key_violations(connection: &Connection, database: &str) -> rusqlite::Result<Option<u64>> {
    let count = || {
        let mut statement = connection.prepare(&format!("PRAGMA {database}.foreign_key_check"))?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while rows.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    match count() {
        Ok(count) => Ok(Some(count)),
        Err(cause) if rusqlite::Error::sqlite_error_code(&cause) == Some(ErrorCode::Unknown) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// What happens to one table.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// Made new, in place of one that was there.
    Replace,
    /// Its rows are replaced.
    Refill,
    /// Rows are added to those that are there.
    Add,
    Leave,
}

struct Work<'a> {
    target: &'a Connection,
    path: &'a Path,
    merge: &'a Merge,
    run: &'a Run,
    warnings: Vec<String>,
    expected: Vec<TableCount>,
}

impl Work<'_> {
    fn failed(&self, doing: &str, cause: rusqlite::Error) -> Error {
        match cause.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => {
                Error::new(Kind::Restore, format!("{doing}: a row conflicts with what is there; nothing was changed"))
                    .hint("restore with mode 'clean' to replace the tables, or 'drop' to replace the database")
                    .source(cause)
            }
            _ => fault(Kind::Restore, &format!("{doing} in"), self.path, cause),
        }
    }

    fn all(&mut self) -> Result<()> {
        let reading = |cause| fault(Kind::Restore, "reading", self.path, cause);
        let offered = schema::tables(self.target, BACKUP).map_err(reading)?;
        let present = schema::tables(self.target, "main").map_err(reading)?;
        let objects = schema::objects(self.target, BACKUP).map_err(reading)?;
        let chosen = self.chosen(&offered)?;
        let total = chosen.len() as u64;
        let mut made: Vec<&Table> = Vec::new();
        for (done, table) in chosen.iter().enumerate() {
            self.run.check()?;
            self.run.progress(&Progress {
                stage: "restoring".into(),
                tables: Some(done as u64),
                total_tables: Some(total),
                table: Some(table.name.clone()),
                ..Progress::default()
            });
            let there = present.iter().find(|other| same(&other.name, &table.name));
            let step = self.step(table, there.is_some())?;
            if step == Step::Replace {
                if there.is_some() {
                    self.execute("replacing the table", &table.name, &format!("DROP TABLE main.{}", quote(&table.name)))?;
                }
                self.make(table, &offered, &objects)?;
                made.push(table);
            }
            self.fill(table, step)?;
        }
        self.surroundings(&made, &objects)
    }

    /// The tables to restore, without the shadow tables, which follow their virtual table.
    fn chosen<'t>(&self, offered: &'t [Table]) -> Result<Vec<&'t Table>> {
        let all: Vec<_> = offered.iter().filter(|table| !table.is_shadow()).collect();
        if self.merge.tables.is_empty() {
            return Ok(all);
        }
        let find = |name: &str| all.iter().copied().find(|table| same(&table.name, name));
        let mut chosen: Vec<&Table> = Vec::new();
        let mut unknown = Vec::new();
        for name in &self.merge.tables {
            match find(name).or_else(|| find(name.strip_prefix("main.")?)) {
                Some(table) if chosen.iter().any(|other| other.name == table.name) => {}
                Some(table) => chosen.push(table),
                None => unknown.push(name.as_str()),
            }
        }
        if unknown.is_empty() {
            return Ok(chosen);
        }
        let known: Vec<_> = all.iter().take(50).map(|table| table.name.as_str()).collect();
        Err(Error::validation(format!("the backup has no table {}", unknown.join(", "))).hint(format!("it has: {}", known.join(", "))))
    }

    fn step(&mut self, table: &Table, there: bool) -> Result<Step> {
        let append = self.merge.mode == RestoreMode::Append;
        match (self.merge.content, append, there) {
            (RestoreContent::Data, _, false) => {
                Err(Error::new(Kind::Restore, format!("{} has no table {} that the data could go to", self.path.display(), table.name))
                    .hint("restore the schema too"))
            }
            (RestoreContent::Data, false, true) => Ok(Step::Refill),
            (RestoreContent::Schema, true, true) => {
                self.warnings.push(format!("table {} exists already and was left as it is", table.name));
                Ok(Step::Leave)
            }
            (_, true, true) => Ok(Step::Add),
            (_, _, _) => Ok(Step::Replace),
        }
    }

    /// Runs one statement. What follows a first statement in `sql` does not run.
    fn execute(&self, doing: &str, name: &str, sql: &str) -> Result<usize> {
        self.target.execute(sql, []).map_err(|cause| self.failed(&format!("{doing} {name}"), cause))
    }

    /// Makes an empty table as the backup has it. The content of a virtual table is that of its shadow tables, so where
    /// data is wanted they are made as plain tables, and the virtual table is entered without running its module.
    fn make(&self, table: &Table, offered: &[Table], objects: &[Object]) -> Result<()> {
        let sql =
            |name: &str| objects.iter().find(|object| object.kind == "table" && object.name == name).map(|object| object.sql.as_str());
        let missing = || Error::new(Kind::Restore, format!("the backup does not say how table {} is made", table.name));
        let own = sql(&table.name).ok_or_else(missing)?;
        if !table.is_virtual() || self.merge.content == RestoreContent::Schema {
            return self.execute("making the table", &table.name, own).map(|_| ());
        }
        let prefix = format!("{}_", table.name.to_ascii_lowercase());
        for shadow in offered.iter().filter(|other| other.is_shadow() && other.name.to_ascii_lowercase().starts_with(&prefix)) {
            self.execute("making the table", &shadow.name, sql(&shadow.name).ok_or_else(missing)?)?;
            self.copy_rows(shadow, true)?;
        }
        let enter = || {
            self.target.execute_batch("PRAGMA writable_schema = ON")?;
            self.target.execute(
                "INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', ?1, ?1, 0, ?2)",
                [&table.name, own],
            )?;
            self.target.execute_batch("PRAGMA writable_schema = RESET")
        };
        if !own.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("CREATE VIRTUAL TABLE")) {
            return Err(missing());
        }
        enter().map_err(|cause| self.failed(&format!("making the table {}", table.name), cause))
    }

    fn fill(&mut self, table: &Table, step: Step) -> Result<()> {
        let count = |database: &str| {
            let sql = format!("SELECT count(*) FROM {database}.{}", quote(&table.name));
            ask_count(self.target, &sql).map_err(|cause| self.failed(&format!("counting the rows of {}", table.name), cause))
        };
        let wanted = self.merge.content != RestoreContent::Schema;
        let rows = match step {
            Step::Leave => return Ok(()),
            Step::Replace if !wanted => 0,
            Step::Replace | Step::Refill => count(BACKUP)?,
            Step::Add => count("main")? + count(BACKUP)?,
        };
        self.expected.push(TableCount { schema: None, name: table.name.clone(), rows });
        if !wanted {
            return Ok(());
        }
        if step == Step::Refill {
            self.execute("emptying the table", &table.name, &format!("DELETE FROM main.{}", quote(&table.name)))?;
        }
        // The content of a virtual table that was made new came with its shadow tables.
        if !(table.is_virtual() && step == Step::Replace) {
            let lost = self.copy_rows(table, step != Step::Add || table.is_virtual())?;
            if !lost.is_empty() {
                self.warnings.push(format!(
                    "table {} has no column {}: what the backup has there was left out",
                    table.name,
                    lost.join(", ")
                ));
            }
        }
        self.follow_sequence(table, step).map_err(|cause| self.failed(&format!("setting the sequence of {}", table.name), cause))
    }

    /// Copies the rows of one table, on the columns that both have; `keep_rowids` also where they are no column.
    /// Returns the columns that only the backup has.
    fn copy_rows(&self, table: &Table, keep_rowids: bool) -> Result<Vec<String>> {
        let failed = |cause| self.failed(&format!("restoring the rows of {}", table.name), cause);
        let there = schema::columns(self.target, "main", &table.name).map_err(failed)?;
        let offered = schema::columns(self.target, BACKUP, &table.name).map_err(failed)?;
        let has = |columns: &[String], name: &str| columns.iter().any(|column| same(column, name));
        let (common, lost): (Vec<String>, Vec<String>) = offered.iter().cloned().partition(|column| has(&there, column));
        if common.is_empty() {
            return Err(Error::new(Kind::Restore, format!("table {} has no column that the backup has", table.name))
                .hint("restore with mode 'clean' to replace the table"));
        }
        let mut columns: Vec<String> = common.iter().map(|column| quote(column)).collect();
        let hidden_key = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !has(&there, name) && !has(&offered, name));
        if let Some(name) = hidden_key.filter(|_| keep_rowids && table.has_rowid) {
            columns.insert(0, name.to_owned());
        }
        let (columns, name) = (columns.join(", "), quote(&table.name));
        // ABORT: a table's own ON CONFLICT clause must not replace or drop rows silently.
        let sql = format!("INSERT OR ABORT INTO main.{name} ({columns}) SELECT {columns} FROM {BACKUP}.{name}");
        self.target.execute(&sql, []).map_err(failed)?;
        Ok(lost)
    }

    /// AUTOINCREMENT goes on where the backup was, never below what the target has already given.
    fn follow_sequence(&self, table: &Table, step: Step) -> rusqlite::Result<()> {
        let Some(backed_up) = schema::sequence(self.target, BACKUP, &table.name)? else { return Ok(()) };
        let now = schema::sequence(self.target, "main", &table.name)?;
        let next = if step == Step::Replace { backed_up } else { now.map_or(backed_up, |now| now.max(backed_up)) };
        if now.is_some() {
            self.target.execute("UPDATE main.sqlite_sequence SET seq = ?2 WHERE name = ?1 COLLATE NOCASE", (&table.name, next))?;
        } else if step == Step::Replace && schema::has_sequences(self.target, "main")? {
            self.target.execute("INSERT INTO main.sqlite_sequence (name, seq) VALUES (?1, ?2)", (&table.name, next))?;
        }
        Ok(())
    }

    /// Indexes and triggers of the tables that were made; views and their triggers when everything is restored.
    fn surroundings(&mut self, made: &[&Table], objects: &[Object]) -> Result<()> {
        if self.merge.content == RestoreContent::Data {
            return Ok(());
        }
        let reading = |cause| fault(Kind::Restore, "reading", self.path, cause);
        let present = schema::objects(self.target, "main").map_err(reading)?;
        let everything = self.merge.tables.is_empty();
        let belongs = |object: &Object| made.iter().any(|table| same(&table.name, &object.table));
        for object in objects.iter().filter(|object| object.kind == "index" && belongs(object)) {
            self.execute("making the index", &object.name, &object.sql)?;
        }
        let mut views = Vec::new();
        for view in objects.iter().filter(|object| object.kind == "view" && everything) {
            let there = present.iter().any(|other| other.kind == "view" && same(&other.name, &view.name));
            if there && self.merge.mode == RestoreMode::Append {
                self.warnings.push(format!("view {} exists already and was left as it is", view.name));
                continue;
            }
            if there {
                self.execute("replacing the view", &view.name, &format!("DROP VIEW main.{}", quote(&view.name)))?;
            }
            self.execute("making the view", &view.name, &view.sql)?;
            views.push(view);
        }
        let on_view = |object: &Object| views.iter().any(|view| same(&view.name, &object.table));
        for object in objects.iter().filter(|object| object.kind == "trigger" && (belongs(object) || on_view(object))) {
            self.execute("making the trigger", &object.name, &object.sql)?;
        }
        Ok(())
    }

    /// Sees, before the commit, that the target is sound and holds the rows it should. Returns those counts.
    fn verify(&mut self, allowed_violations: Option<u64>) -> Result<Vec<TableCount>> {
        stage(self.run, "verifying");
        let failed = |cause| fault(Kind::Restore, "verifying", self.path, cause);
        let findings = check::integrity(self.target).map_err(failed)?;
        if !findings.damage.is_empty() {
            return Err(Error::new(Kind::Restore, format!("{} would be damaged: {}", self.path.display(), findings.summary()))
                .hint("nothing was changed: check the database as it is with PRAGMA integrity_check"));
        }
        self.warnings.extend(findings.warnings.into_iter().take(20));
        let (counts, _) = check::counts(self.target, "main").map_err(failed)?;
        check::compare(&self.expected, &counts, Kind::Restore, &self.path.display().to_string())?;
        let violations = foreign_key_violations(self.target, "main").map_err(failed)?;
        if let (Some(rows), Some(allowed)) = (violations, allowed_violations)
            && rows > allowed
            && !self.merge.ignore_foreign_keys
        {
            return Err(Error::new(Kind::Restore, format!("{rows} rows would refer to rows that are not there; nothing was changed"))
                .hint("restore the tables they refer to as well, or set ignoreForeignKeys"));
        }
        Ok(self.expected.clone())
    }
}
