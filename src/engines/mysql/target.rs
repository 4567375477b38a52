//! A database that changes are written into: one transaction from the opening to the commit, where the tables have them.
//!
//! Foreign keys are not enforced meanwhile and looked at before the commit, so that rows may come in any order. Triggers
//! fire: no session can switch them off. Definitions are no part of a server's transactions: tables that were made go
//! again when nothing was committed, and what comes after the rows is made after their commit.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use mysql_async::{Conn, prelude::Queryable as _};
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    apply::Applying,
    catalogue::{self, Scope},
    connect::{Target, failed, ident, literal},
    describe::{Described, Pointing, describe},
    making::{self, Making},
    patterns::Choice,
    record::{record, records},
    server::Server,
    source::Scene,
};
use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run},
    engines::{
        SCRATCH,
        rows::{Applied, ApplyOptions, RowTarget},
    },
    error::{Error, Kind, Result},
    snapshot::{ObjectKind, RowChange, Schema, Table, TableName},
};

/// Broken references that are told at most.
const SHOWN: u64 = 10;

/// How rows are written: nothing is taken for another value than it is, and every value that a table may hold is taken.
/// Not strict: the server's warnings are looked at instead, because a table can hold what strictness refuses.
const MODES: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', foreign_key_checks = 0, time_zone = '+00:00',
    lock_wait_timeout = 60, innodb_lock_wait_timeout = 60";

/// A foreign key that may break, and how many rows broke it before.
struct Watched {
    table: TableName,
    other: TableName,
    pointing: Pointing,
    broken: u64,
}

/// One transaction on a database.
pub struct MysqlTarget {
    /// There until the end.
    connection: Option<Conn>,
    scene: Scene,
    described: Described,
    /// Why nothing may be committed.
    spoiled: bool,
    dry_run: bool,
    watched: BTreeMap<(TableName, String), Watched>,
    /// Statements that remove what was made, the last first.
    undo: Vec<String>,
    made_database: bool,
    made_tables: BTreeSet<TableName>,
    /// What is to be made after the rows.
    later: Option<Schema>,
}

impl MysqlTarget {
    /// Opens the database, which is made where there is none.
    pub async fn open(settings: &Settings, run: &Run) -> Result<Self> {
        let target = Target::open(settings, run).await?;
        let name = target.database()?.to_owned();
        let mut connection = target.connect_to_server(run).await?;
        let mut undo = Vec::new();
        let opening = async {
            let server = Server::read(&mut connection, &target).await?;
            let there = format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = {}", literal(&name));
            let there = record(&mut connection, &there).await.map_err(|failure| catalogue::asking(&target, failure))?;
            if !there.flag(0) {
                undo.push(format!("DROP DATABASE {}", ident(&name)));
                making::execute(
                    &mut connection,
                    &target,
                    &format!("making the database {name}"),
                    &format!("CREATE DATABASE {}", ident(&name)),
                )
                .await?;
            }
            making::execute(&mut connection, &target, "opening the database", &format!("USE {}", ident(&name))).await?;
            let scope = Scope::One(name.clone());
            let scene = Scene { target: target.clone(), server, scope, choice: Choice::default(), options: Settings::default() };
            begin(&mut connection, &target).await?;
            let described = describe(&mut connection, &scene, run).await?;
            making::execute(&mut connection, &target, "setting the modes", MODES).await?;
            Ok((scene, described))
        };
        let (scene, described) = match run.until_cancelled(opening).await {
            Ok(opened) => opened,
            Err(error) => {
                clear(connection, undo).await;
                return Err(error);
            }
        };
        for warning in &described.warnings {
            run.warn(warning);
        }
        Ok(Self {
            connection: Some(connection),
            scene,
            described,
            spoiled: false,
            dry_run: false,
            watched: BTreeMap::new(),
            made_database: !undo.is_empty(),
            undo,
            made_tables: BTreeSet::new(),
            later: None,
        })
    }

    fn check_usable(&self) -> Result<()> {
        if self.spoiled {
            return Err(Error::new(
                Kind::Restore,
                format!("an earlier step on {} has failed: nothing is changed", self.scene.target.address),
            ));
        }
        Ok(())
    }

    async fn create_tables(&mut self, wanted: &Schema, run: &Run) -> Result<Vec<String>> {
        let connection = self.connection.as_mut().ok_or_else(ended)?;
        let mut making =
            Making { connection, scene: &self.scene, present: &self.described.schema, notes: Vec::new(), undo: &mut self.undo };
        if self.made_database {
            making.settings(wanted).await?;
        }
        let made = making.tables(wanted, run).await?;
        let notes = making.notes;
        self.made_tables.extend(made);
        // Each definition has ended the transaction.
        begin(connection, &self.scene.target).await?;
        self.described = describe(connection, &self.scene, run).await?;
        making::execute(connection, &self.scene.target, "setting the modes", MODES).await?;
        Ok(notes)
    }

    async fn apply_changes(
        &mut self,
        table: &Table,
        mut changes: mpsc::Receiver<Vec<RowChange>>,
        options: ApplyOptions,
        run: &Run,
    ) -> Result<Applied> {
        self.dry_run |= options.dry_run;
        let schema = &self.described.schema;
        let present = schema.tables.iter().find(|other| other.name == table.name).cloned().ok_or_else(|| {
            Error::new(Kind::Restore, format!("{} has no table {} that rows could be written into", self.scene.target.address, table.name))
                .hint("make the table first: restore the schema too")
        })?;
        let of_table = |kind: ObjectKind| schema.objects.iter().filter(move |object| object.kind == kind);
        let triggers = of_table(ObjectKind::Trigger).filter(|object| object.table.as_ref() == Some(&table.name));
        let triggers: Vec<&str> = triggers.map(|object| object.name.name.as_str()).collect();
        if !triggers.is_empty() {
            run.warn(format!("the triggers of {} fire for each row that is written: {}", table.name, triggers.join(", ")));
        }
        self.watch(&table.name).await?;
        let name = self.scene.qualified(&table.name);
        let connection = self.connection.as_mut().ok_or_else(ended)?;
        let mut applying = Applying::new(connection, table, &present, &name, options.on_conflict).await?;
        while let Some(batch) = changes.recv().await {
            for change in batch {
                applying.change(change).await?;
            }
        }
        run.check()?;
        applying.finish().await
    }

    /// Remembers what is broken already of the table's references and of those to it.
    async fn watch(&mut self, table: &TableName) -> Result<()> {
        let keys = self.described.schema.objects.iter().filter(|object| object.kind == ObjectKind::ForeignKey);
        let keys = keys.filter_map(|object| Some((object.table.clone()?, object.name.name.clone(), object.references.clone()?)));
        let keys: Vec<_> = keys.filter(|(own, _, other)| own == table || other == table).collect();
        for (own, name, other) in keys {
            let Some(pointing) = self.described.foreign.get(&(own.clone(), name.clone())).cloned() else { continue };
            if !self.watched.contains_key(&(own.clone(), name.clone())) {
                let mut watched = Watched { table: own.clone(), other, pointing, broken: 0 };
                watched.broken = self.broken(&watched).await?;
                self.watched.insert((own, name), watched);
            }
        }
        Ok(())
    }

    fn breaking(&self, watched: &Watched) -> String {
        let set = watched.pointing.from.iter().map(|column| format!("c.{} IS NOT NULL", ident(column)));
        let same = watched.pointing.from.iter().zip(&watched.pointing.to).map(|(from, to)| format!("p.{} = c.{}", ident(to), ident(from)));
        format!(
            "FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})",
            self.scene.qualified(&watched.table),
            set.collect::<Vec<_>>().join(" AND "),
            self.scene.qualified(&watched.other),
            same.collect::<Vec<_>>().join(" AND ")
        )
    }

    async fn broken(&mut self, watched: &Watched) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) {}", self.breaking(watched));
        let connection = self.connection.as_mut().ok_or_else(ended)?;
        let row = record(connection, &sql).await;
        Ok(row.map_err(|failure| failure.while_doing(format!("looking at the references of {}", watched.table)))?.number(0))
    }

    async fn check_references(&mut self) -> Result<()> {
        let mut told = Vec::new();
        for (key, watched) in std::mem::take(&mut self.watched) {
            let broken = self.broken(&watched).await?;
            if broken <= watched.broken {
                continue;
            }
            let columns = watched.pointing.from.iter().map(|column| format!("c.{}", ident(column))).collect::<Vec<_>>();
            let sql = format!("SELECT {} {} LIMIT {SHOWN}", columns.join(", "), self.breaking(&watched));
            let connection = self.connection.as_mut().ok_or_else(ended)?;
            let rows = records(connection, &sql).await;
            let rows = rows.map_err(|failure| failure.while_doing(format!("looking at the references of {}", watched.table)))?;
            let values = rows.iter().map(|row| (0..columns.len()).map(|at| row.owned(at)).collect::<Vec<_>>().join(", "));
            told.push(format!(
                "{} rows of {} refer by {} to rows of {} with ({})",
                broken - watched.broken,
                watched.table,
                key.1,
                watched.other,
                values.collect::<Vec<_>>().join("), (")
            ));
        }
        if told.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Restore, format!("rows would refer to rows that are not there, and nothing was changed: {}", told.join("; ")))
            .hint("restore the rows they refer to as well"))
    }

    async fn finish(&mut self, run: &Run) -> Result<()> {
        self.check_usable()?;
        self.check_references().await?;
        run.check()?;
        let target = self.scene.target.clone();
        let connection = self.connection.as_mut().ok_or_else(ended)?;
        if self.dry_run {
            // What was made goes when this is dropped.
            return making::execute(connection, &target, "rolling back the trial", "ROLLBACK").await;
        }
        making::execute(connection, &target, "committing", "COMMIT").await?;
        self.undo.clear();
        if let Some(wanted) = self.later.take() {
            let mut none = Vec::new();
            let mut making = Making { connection, scene: &self.scene, present: &self.described.schema, notes: Vec::new(), undo: &mut none };
            let made = making.after_rows(&wanted, &self.made_tables, run).await;
            for note in making.notes {
                run.warn(note);
            }
            made.map_err(|error| error.while_doing("the rows are written, and what comes after them is not"))?;
        }
        Ok(())
    }
}

fn ended() -> Error {
    Error::internal("the target has ended")
}

async fn begin(connection: &mut Conn, target: &Target) -> Result<()> {
    for sql in ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION"] {
        making::execute(connection, target, "beginning a transaction", sql).await?;
    }
    Ok(())
}

/// Rolls back and removes what was made.
async fn clear(mut connection: Conn, undo: Vec<String>) {
    // The server rolls back by itself when the connection is gone; what is left is named in the log of whoever made it.
    let _ = connection.query_drop("ROLLBACK").await;
    for sql in undo.into_iter().rev() {
        let _ = connection.query_drop(sql).await;
    }
    let _ = connection.disconnect().await;
}

impl Drop for MysqlTarget {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(clear(connection, std::mem::take(&mut self.undo)));
        }
    }
}

#[async_trait]
impl RowTarget for MysqlTarget {
    fn schema(&self) -> &Schema {
        &self.described.schema
    }

    async fn create(&mut self, wanted: &Schema, rows_loaded: bool, run: &Run) -> Result<Vec<String>> {
        self.check_usable()?;
        if rows_loaded {
            // Definitions would end the transaction: they come after its commit.
            self.later = Some(wanted.clone());
            return Ok(making::there_already(&self.described.schema, wanted));
        }
        let made = run.until_cancelled(self.create_tables(wanted, run)).await;
        self.spoiled |= made.is_err();
        made
    }

    async fn apply(&mut self, table: &Table, changes: mpsc::Receiver<Vec<RowChange>>, options: ApplyOptions, run: &Run) -> Result<Applied> {
        self.check_usable()?;
        let applied = run.until_cancelled(self.apply_changes(table, changes, options, run)).await;
        self.spoiled |= applied.is_err();
        applied
    }

    async fn commit(mut self: Box<Self>, run: &Run) -> Result<()> {
        let done = self.finish(run).await;
        if let Some(connection) = self.connection.take() {
            clear(connection, std::mem::take(&mut self.undo)).await;
        }
        done
    }
}

/// Removes a database whose name says that a verification made it.
pub async fn drop_scratch(settings: &Settings, run: &Run) -> Result<()> {
    let name = settings.text("database").unwrap_or_default().to_owned();
    if !name.starts_with(SCRATCH) {
        return Err(Error::validation(format!("'{name}' is no database of a verification: it is not removed")));
    }
    let target = Target::open(settings, run).await?;
    let mut connection = target.connect_to_server(run).await?;
    let done = connection.query_drop(format!("DROP DATABASE IF EXISTS {}", ident(&name))).await;
    done.map_err(|cause| target.explain(failed(format!("removing the database {name}"), cause)))?;
    // It has done what it was for.
    let _ = connection.disconnect().await;
    Ok(())
}
