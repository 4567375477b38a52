//! A database that changes are written into: one transaction from the opening to the commit. Triggers do not fire, and
//! foreign keys are looked at before the commit, so that rows may come in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    apply::Applying,
    connect::{self, beside, patiently},
    describe::describe,
    faults::fault,
    make, on_thread, quote,
    schema::same,
};
use crate::{
    domain::run::Run,
    engines::{
        SCRATCH,
        rows::{Applied, ApplyOptions, RowTarget},
    },
    error::{Error, Kind, Result},
    snapshot::{ObjectKind, RowChange, Schema, Table},
};

/// How long to wait for the lock of another connection.
const PATIENCE: Duration = Duration::from_secs(60);
/// Broken references that are told at most, and those that are remembered of before.
const SHOWN: usize = 10;
const REMEMBERED: usize = 100_000;

/// A row that refers to one that is not there: its rowid, where it has one, and the table it refers to.
type Broken = (Option<i64>, String);

/// One transaction on a database.
pub(super) struct SqliteTarget {
    work: Arc<Mutex<Work>>,
    schema: Schema,
}

struct Work {
    connection: Connection,
    path: PathBuf,
    /// Why nothing may be committed.
    spoiled: bool,
    dry_run: bool,
    /// Of tables whose references may break: what was broken before.
    broken: BTreeMap<String, BTreeSet<Broken>>,
    /// After the connection: the file goes when nothing has it open.
    made: Option<Made>,
}

/// A new file, removed when this is dropped, unless it is kept.
struct Made {
    path: PathBuf,
    kept: bool,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // What is not there needs no removing.
            let _ = std::fs::remove_file(beside(&self.path, suffix));
        }
    }
}

impl SqliteTarget {
    /// Begins a transaction on the database at `path`, which is made where there is none.
    pub(super) fn open(path: &Path, run: &Run) -> Result<Self> {
        let missing = path.symlink_metadata().is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound);
        let (connection, made) = if missing {
            let connection = connect::create(path, run)?;
            (connection, Some(Made { path: path.to_owned(), kept: false }))
        } else {
            (connect::target(path, run)?, None)
        };
        let failed = |cause| fault(Kind::Restore, "opening", path, cause);
        begin(&connection, run)?.map_err(failed)?;
        let schema = describe(&connection).map_err(failed)?;
        let work = Work { connection, path: path.to_owned(), spoiled: false, dry_run: false, broken: BTreeMap::new(), made };
        Ok(Self { work: Arc::new(Mutex::new(work)), schema })
    }

    async fn on_work<T: Send + 'static>(&self, run: &Run, work: impl FnOnce(&mut Work, &Run) -> Result<T> + Send + 'static) -> Result<T> {
        let held = Arc::clone(&self.work);
        on_thread(run, move |run| {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            // The connection listened to another operation until now.
            connect::obey(&held.connection, run).map_err(|cause| held.failed("writing into", cause))?;
            let done = work(&mut held, run);
            held.spoiled |= done.is_err();
            done
        })
        .await
    }
}

pub(super) fn begin(connection: &Connection, run: &Run) -> Result<rusqlite::Result<()>> {
    patiently(run, PATIENCE, || connection.execute_batch("BEGIN IMMEDIATE"))
}

impl Work {
    fn failed(&self, doing: &str, cause: rusqlite::Error) -> Error {
        fault(Kind::Restore, doing, &self.path, cause)
    }

    fn apply(
        &mut self,
        schema: &Schema,
        table: &Table,
        mut changes: mpsc::Receiver<Vec<RowChange>>,
        options: ApplyOptions,
        run: &Run,
        runtime: &Handle,
    ) -> Result<Applied> {
        self.check_usable()?;
        self.dry_run |= options.dry_run;
        let present = schema.tables.iter().find(|other| same(&other.name.name, &table.name.name)).ok_or_else(|| {
            Error::new(Kind::Restore, format!("{} has no table {} that rows could be written into", self.path.display(), table.name))
                .hint("make the table first: restore the schema too")
        })?;
        self.remember(schema, &present.name.name)?;
        let triggers = schema.objects.iter().filter(|object| {
            object.kind == ObjectKind::Trigger && object.table.as_ref().is_some_and(|name| same(&name.name, &table.name.name))
        });
        let triggers: Vec<&str> = triggers.map(|object| object.name.name.as_str()).collect();
        if !triggers.is_empty() {
            run.info(format!("the triggers of {} do not fire for these changes: {}", table.name, triggers.join(", ")));
        }
        let mut applying = Applying::new(&self.connection, table, present, options.on_conflict)?;
        while let Some(batch) = runtime.block_on(run.until_cancelled(async { Ok(changes.recv().await) }))? {
            for change in batch {
                applying.change(change)?;
            }
        }
        run.check()?;
        applying.finish()
    }

    fn check_usable(&self) -> Result<()> {
        if self.spoiled {
            return Err(Error::new(Kind::Restore, format!("an earlier step on {} has failed: nothing is changed", self.path.display())));
        }
        Ok(())
    }

    /// Keeps what is broken already in the table and in those that refer to it.
    fn remember(&mut self, schema: &Schema, table: &str) -> Result<()> {
        let referring = schema.objects.iter().filter(|object| object.references.as_ref().is_some_and(|other| same(&other.name, table)));
        let referring = referring.filter_map(|object| object.table.as_ref()).map(|name| name.name.clone());
        for name in referring.chain([table.to_owned()]).collect::<BTreeSet<_>>() {
            if !self.broken.contains_key(&name) {
                let broken = self.references(&name).map_err(|cause| self.failed("looking at the references in", cause))?;
                self.broken.insert(name, broken);
            }
        }
        Ok(())
    }

    /// Rows of a table that refer to rows that are not there. Empty where the schema does not allow to tell.
    fn references(&self, table: &str) -> rusqlite::Result<BTreeSet<Broken>> {
        let read = || {
            let mut statement = self.connection.prepare(&format!("PRAGMA main.foreign_key_check({})", quote(table)))?;
            let mut rows = statement.query([])?;
            let mut broken = BTreeSet::new();
            while let Some(row) = rows.next()? {
                broken.insert((row.get(1)?, row.get(2)?));
                if broken.len() > REMEMBERED {
                    break;
                }
            }
            Ok(broken)
        };
        match read() {
            Err(cause) if rusqlite::Error::sqlite_error_code(&cause) == Some(ErrorCode::Unknown) => Ok(BTreeSet::new()),
            read => read,
        }
    }

    fn check_references(&self) -> Result<()> {
        let mut told = Vec::new();
        for (table, before) in &self.broken {
            let now = self.references(table).map_err(|cause| self.failed("looking at the references in", cause))?;
            told.extend(now.difference(before).take(SHOWN).map(|(rowid, other)| match rowid {
                Some(rowid) => format!("row {rowid} of {table} refers to a row of {other}"),
                None => format!("a row of {table} refers to a row of {other}"),
            }));
        }
        if told.is_empty() {
            return Ok(());
        }
        told.truncate(SHOWN);
        Err(Error::new(Kind::Restore, format!("rows would refer to rows that are not there, and nothing was changed: {}", told.join("; ")))
            .hint("restore the rows they refer to as well"))
    }

    fn commit(&mut self, run: &Run) -> Result<()> {
        self.check_usable()?;
        self.check_references()?;
        run.check()?;
        if self.dry_run {
            return self.connection.execute_batch("ROLLBACK").map_err(|cause| self.failed("rolling back the trial on", cause));
        }
        patiently(run, PATIENCE, || self.connection.execute_batch("COMMIT"))?.map_err(|cause| self.failed("committing to", cause))?;
        if let Some(made) = &mut self.made {
            made.kept = true;
        }
        Ok(())
    }
}

#[async_trait]
impl RowTarget for SqliteTarget {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn create(&mut self, wanted: &Schema, rows_loaded: bool, run: &Run) -> Result<Vec<String>> {
        let (wanted, present) = (wanted.clone(), self.schema.clone());
        let (notes, schema) = self
            .on_work(run, move |work, run| {
                work.check_usable()?;
                let notes = make::Making { connection: &work.connection, path: &work.path, wanted: &wanted, present: &present, run }
                    .all(rows_loaded)?;
                let schema = describe(&work.connection).map_err(|cause| work.failed("reading", cause))?;
                Ok((notes, schema))
            })
            .await?;
        self.schema = schema;
        Ok(notes)
    }

    async fn apply(&mut self, table: &Table, changes: mpsc::Receiver<Vec<RowChange>>, options: ApplyOptions, run: &Run) -> Result<Applied> {
        let (schema, table, runtime) = (self.schema.clone(), table.clone(), Handle::current());
        self.on_work(run, move |work, run| work.apply(&schema, &table, changes, options, run, &runtime)).await
    }

    async fn commit(self: Box<Self>, run: &Run) -> Result<()> {
        self.on_work(run, |work, run| work.commit(run)).await
    }
}

/// Removes a database file whose name says that a verification made it.
pub(super) fn drop_scratch(path: &Path) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.starts_with(SCRATCH) {
        return Err(Error::validation(format!("'{name}' is no database of a verification: it is not removed")));
    }
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let file = beside(path, suffix);
        match std::fs::remove_file(&file) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::Storage, format!("removing {}", file.display())).source(cause));
            }
            _ => {}
        }
    }
    Ok(())
}
