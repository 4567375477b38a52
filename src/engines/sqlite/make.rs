//! Making what a schema has and a database has not.

use std::path::Path;

use rusqlite::Connection;

use super::{
    ask,
    describe::DATABASE,
    faults::fault,
    quote,
    schema::{self, same},
    target,
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
    snapshot::{Object, ObjectKind, Schema},
};

/// One step: before the rows or after them, within the target's transaction.
pub(super) struct Making<'a> {
    pub connection: &'a Connection,
    pub path: &'a Path,
    pub wanted: &'a Schema,
    pub present: &'a Schema,
    pub run: &'a Run,
}

impl Making<'_> {
    /// What a person should know is returned.
    pub(super) fn all(&self, rows_loaded: bool) -> Result<Vec<String>> {
        if rows_loaded { self.after_rows() } else { self.before_rows() }
    }

    fn failed(&self, doing: &str, cause: rusqlite::Error) -> Error {
        fault(Kind::Restore, &format!("{doing} in"), self.path, cause)
    }

    fn before_rows(&self) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        self.settings(&mut notes)?;
        for table in &self.wanted.tables {
            match self.present.tables.iter().find(|other| same(&other.name.name, &table.name.name)) {
                Some(other) if other.definition == table.definition => {}
                Some(_) => notes.push(format!("table {} exists already, made otherwise, and was left as it is", table.name)),
                None => self.execute("CREATE TABLE", "the table", &table.name.name, &table.definition)?,
            }
        }
        Ok(notes)
    }

    /// Settings of the file that the target has not set; the encoding can be chosen while there is nothing in it.
    fn settings(&self, notes: &mut Vec<String>) -> Result<()> {
        let database = |schema: &Schema| {
            schema.objects.iter().find(|object| object.kind == ObjectKind::Namespace && object.name.name == DATABASE).cloned()
        };
        let (Some(wanted), Some(present)) = (database(self.wanted), database(self.present)) else { return Ok(()) };
        let setting = |object: &Object, name: &str| object.options.get(name).cloned().unwrap_or_default();
        let encoding = setting(&wanted, "encoding");
        if encoding != setting(&present, "encoding") && matches!(encoding.as_str(), "UTF-8" | "UTF-16le" | "UTF-16be") {
            let empty: bool =
                ask(self.connection, "SELECT count(*) = 0 FROM main.sqlite_schema").map_err(|cause| self.failed("reading", cause))?;
            if empty {
                let choose = format!("ROLLBACK; PRAGMA main.encoding = '{encoding}'");
                self.connection.execute_batch(&choose).map_err(|cause| self.failed("choosing the encoding", cause))?;
                target::begin(self.connection, self.run)?.map_err(|cause| self.failed("writing", cause))?;
            } else {
                notes.push(format!("text is kept as {} and not as {encoding}: it reads the same", setting(&present, "encoding")));
            }
        }
        for name in ["application_id", "user_version"] {
            let (Ok(wanted), Ok(0)) = (setting(&wanted, name).parse::<i32>(), setting(&present, name).parse::<i32>()) else { continue };
            let set = format!("PRAGMA main.{name} = {wanted}");
            self.connection.execute_batch(&set).map_err(|cause| self.failed(&format!("setting {name}"), cause))?;
        }
        Ok(())
    }

    fn after_rows(&self) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let mut objects: Vec<&Object> = self.wanted.objects.iter().collect();
        objects.sort_by_key(|object| object.kind);
        for object in objects {
            let other = |other: &&Object| other.kind == object.kind && same(&other.name.name, &object.name.name);
            let there = self.present.objects.iter().find(other);
            let (start, what) = match object.kind {
                ObjectKind::Sequence => {
                    self.sequence(object)?;
                    continue;
                }
                ObjectKind::Index if starts(&object.definition, "CREATE UNIQUE INDEX") => ("CREATE UNIQUE INDEX", "the index"),
                ObjectKind::Index => ("CREATE INDEX", "the index"),
                ObjectKind::View if starts(&object.definition, "CREATE VIRTUAL TABLE") => ("CREATE VIRTUAL TABLE", "the virtual table"),
                ObjectKind::View => ("CREATE VIEW", "the view"),
                ObjectKind::Trigger => ("CREATE TRIGGER", "the trigger"),
                // Parts of a table's own definition, and the database itself.
                _ => continue,
            };
            match there {
                Some(there) if there.definition == object.definition => {}
                Some(_) => notes.push(format!("{what} {} exists already, made otherwise, and was left as it is", object.name)),
                None if start == "CREATE VIRTUAL TABLE" => self.virtual_table(object)?,
                None => self.execute(start, what, &object.name.name, &object.definition)?,
            }
        }
        Ok(notes)
    }

    /// Runs one statement, which must be of the kind that it says. What follows it does not run.
    fn execute(&self, start: &str, what: &str, name: &str, sql: &str) -> Result<()> {
        self.run.check()?;
        if !starts(sql, start) {
            return Err(Error::new(Kind::Restore, format!("{what} {name} is not made by a statement that starts with {start}")));
        }
        self.connection.execute(sql, []).map(|_| ()).map_err(|cause| self.failed(&format!("making {what} {name}"), cause))
    }

    /// Its content came with its shadow tables: it is entered without running its module, which would make them anew.
    fn virtual_table(&self, object: &Object) -> Result<()> {
        let enter = || {
            self.connection.execute_batch("PRAGMA writable_schema = ON")?;
            self.connection.execute(
                "INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES ('table', ?1, ?1, 0, ?2)",
                [&object.name.name, &object.definition],
            )?;
            self.connection.execute_batch("PRAGMA writable_schema = RESET")
        };
        enter().map_err(|cause| self.failed(&format!("making the virtual table {}", object.name), cause))
    }

    /// AUTOINCREMENT goes on where it was, never below what the target has already given.
    fn sequence(&self, object: &Object) -> Result<()> {
        let (Some(table), Some(Ok(wanted))) = (&object.table, object.options.get("value").map(|value| value.parse::<i64>())) else {
            return Ok(());
        };
        let set = || {
            if !schema::has_sequences(self.connection, "main")? {
                return Ok(());
            }
            match schema::sequence(self.connection, "main", &table.name)? {
                Some(now) if now >= wanted => Ok(()),
                Some(_) => self
                    .connection
                    .execute("UPDATE main.sqlite_sequence SET seq = ?2 WHERE name = ?1 COLLATE NOCASE", (&table.name, wanted))
                    .map(|_| ()),
                None => self
                    .connection
                    .execute("INSERT INTO main.sqlite_sequence (name, seq) VALUES (?1, ?2)", (&table.name, wanted))
                    .map(|_| ()),
            }
        };
        set().map_err(|cause| self.failed(&format!("setting the sequence of {}", quote(&table.name)), cause))
    }
}

fn starts(sql: &str, words: &str) -> bool {
    sql.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words))
}
