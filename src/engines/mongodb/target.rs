//! A database that changes are written into. MongoDB undoes nothing that was written, so whatever can be looked at before
//! is: with `OnConflict::Stop` the changes of every collection that was there before are compared as they come and kept in
//! a file, and written at the commit, once all of them were found to fit.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, doc};
use tokio::sync::mpsc;

use super::{
    catalogue,
    connect::Target,
    definition::{self, Shape},
    describe,
    metadata::Metadata,
    replace::PREFIX,
    session::Session,
    waiting::Waiting,
    write::Writing,
};
use crate::{
    domain::{restore::OnConflict, run::Run},
    engines::{
        SCRATCH,
        rows::{Applied, ApplyOptions, RowTarget},
    },
    error::{Error, Kind, Result},
    snapshot::{ObjectKind, RowChange, Schema, Table, TableName},
};

/// What changes are written into.
pub struct MongoTarget {
    session: Arc<Session>,
    target: Target,
    schema: Schema,
    /// Collections that this made: nobody else's documents are in them.
    made: HashSet<TableName>,
    /// Commands that undo what was created, by database, for a dry run.
    undoing: Vec<(String, Document)>,
    dry_run: bool,
    /// Changes that were found to fit, for the commit.
    waiting: Vec<(Table, Waiting)>,
    /// Changes written so far.
    written: u64,
    /// Why nothing more may be written.
    spoiled: bool,
}

impl MongoTarget {
    pub async fn open(target: Target, run: &Run) -> Result<Self> {
        target.database.as_deref().map_or(Ok(()), catalogue::check_own)?;
        let session = Arc::new(Session::open(&target, None, run).await?);
        let schema = read(&session, &target).await?;
        Ok(Self {
            session,
            target,
            schema,
            made: HashSet::new(),
            undoing: Vec::new(),
            dry_run: false,
            waiting: Vec::new(),
            written: 0,
            spoiled: false,
        })
    }

    /// Database and collection of a table. Errors when the table is of another database than the target.
    fn place(&self, name: &TableName) -> Result<(String, String)> {
        let db = match (&self.target.database, &name.schema) {
            (Some(own), Some(other)) if own != other => {
                return Err(Error::validation(format!("{name} is of another database than {}", self.target)));
            }
            (Some(db), _) | (None, Some(db)) => db.clone(),
            (None, None) => {
                return Err(Error::validation(format!("the collection {name} is of no database, and {} is of all", self.target)));
            }
        };
        catalogue::check_own(&db)?;
        Ok((db, name.name.clone()))
    }

    /// The name that the target's own schema has for a table.
    fn own_name(&self, name: &TableName) -> TableName {
        match &self.target.database {
            Some(_) => TableName::new(None, &name.name),
            None => name.clone(),
        }
    }

    fn has_table(&self, name: &TableName) -> bool {
        let own = self.own_name(name);
        self.schema.tables.iter().any(|table| table.name == own)
    }

    async fn create_collections(&mut self, wanted: &Schema, session: &Session, notes: &mut Vec<String>) -> Result<()> {
        for table in &wanted.tables {
            let own = self.own_name(&table.name);
            if let Some(there) = self.schema.tables.iter().find(|other| other.name == own) {
                if there.options != table.options {
                    notes.push(format!("the collection {} is there already, made otherwise, and stays as it is", table.name));
                }
                continue;
            }
            let (db, name) = self.place(&table.name)?;
            let command = definition::create(&name, &table.name.to_string(), &describe::metadata_of(table)?, notes);
            session.write(&db, || format!("creating the collection {}", table.name), command).await?;
            self.undoing.push((db, doc! { "drop": name }));
            self.made.insert(own);
        }
        Ok(())
    }

    async fn create_rest(&mut self, wanted: &Schema, session: &Session, notes: &mut Vec<String>) -> Result<()> {
        for object in &wanted.objects {
            let table = object.table.as_ref().map(|table| self.own_name(table));
            let name = self.own_name(&object.name);
            let there = self.schema.objects.iter().find(|other| (other.kind, &other.table, &other.name) == (object.kind, &table, &name));
            if let Some(there) = there {
                if there.definition != object.definition {
                    notes.push(format!("the {} {} is there already, made otherwise, and stays as it is", object.kind.label(), object.name));
                }
                continue;
            }
            let (db, name) = self.place(object.table.as_ref().unwrap_or(&object.name))?;
            let definition = describe::definition_of(object)?;
            let label = object.table.as_ref().unwrap_or(&object.name).to_string();
            if object.kind == ObjectKind::View {
                let metadata = Metadata { options: definition, ..Metadata::default() };
                let command = definition::create(&name, &label, &metadata, notes);
                session.write(&db, || format!("creating the view {label}"), command).await?;
                self.undoing.push((db, doc! { "drop": name }));
                continue;
            }
            let metadata = Metadata { indexes: vec![definition], ..Metadata::default() };
            let indexes: Vec<Bson> = definition::indexes(&label, &metadata, notes).into_iter().map(Bson::Document).collect();
            if !indexes.is_empty() {
                let command = doc! { "createIndexes": name.as_str(), "indexes": indexes };
                session.write(&db, || format!("creating the index '{}' of {label}", object.name.name), command).await?;
                self.undoing.push((db, doc! { "dropIndexes": name, "index": object.name.name.as_str() }));
            }
        }
        Ok(())
    }

    fn writing<'a>(&self, session: &'a Session, table: &'a Table, on_conflict: OnConflict) -> Result<Writing<'a>> {
        let (db, name) = self.place(&table.name)?;
        let metadata = describe::metadata_of(table)?;
        let series = definition::shape(&metadata, &metadata.kind) == Shape::TimeSeries;
        let fresh = self.made.contains(&self.own_name(&table.name));
        Ok(Writing::new(session, table, (db, name), series, fresh, metadata.options.contains_key("validator"), on_conflict))
    }

    fn check_usable(&self) -> Result<()> {
        if self.spoiled {
            return Err(Error::new(Kind::Restore, format!("an earlier step on {} has failed: nothing more is changed", self.target)));
        }
        Ok(())
    }

    async fn apply_all(
        &mut self,
        table: &Table,
        mut changes: mpsc::Receiver<Vec<RowChange>>,
        options: ApplyOptions,
        run: &Run,
    ) -> Result<Applied> {
        let session = self.session.with_run(run.clone());
        let fresh = self.made.contains(&self.own_name(&table.name));
        if !fresh && !self.has_table(&table.name) {
            return Err(Error::new(
                Kind::Restore,
                format!("{} has no collection {} that documents could be written into", self.target, table.name),
            )
            .hint("make the collection first: restore the schema too"));
        }
        self.dry_run |= options.dry_run;
        let mut writing = self.writing(&session, table, options.on_conflict)?;
        let later = options.on_conflict == OnConflict::Stop && !fresh && !options.dry_run;
        let mut waiting = if later { Some(Waiting::new(run)?) } else { None };
        let only_look = later || options.dry_run;
        let taking = async {
            while let Some(batch) = run.until_cancelled(async { Ok(changes.recv().await) }).await? {
                for chunk in Writing::chunks(&batch) {
                    writing.take(chunk, only_look).await?;
                    if let Some(waiting) = &mut waiting {
                        waiting.put(chunk)?;
                    }
                }
            }
            run.check()
        };
        let taken = taking.await;
        self.written += writing.written();
        taken?;
        let applied = writing.finish()?;
        if let Some(waiting) = waiting {
            self.waiting.push((table.clone(), waiting));
        }
        Ok(applied)
    }

    async fn write_waiting(&mut self, run: &Run) -> Result<()> {
        let session = self.session.with_run(run.clone());
        for (table, waiting) in std::mem::take(&mut self.waiting) {
            let mut writing = self.writing(&session, &table, OnConflict::Stop)?;
            let mut changes = waiting.read()?;
            let writing_all = async {
                while let Some(batch) = changes.next_batch()? {
                    run.check()?;
                    for chunk in Writing::chunks(&batch) {
                        writing.take(chunk, false).await?;
                    }
                }
                Ok(())
            };
            let taken: Result<()> = writing_all.await;
            self.written += writing.written();
            taken?;
            writing.finish()?;
        }
        Ok(())
    }
}

#[async_trait]
impl RowTarget for MongoTarget {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn create(&mut self, wanted: &Schema, rows_loaded: bool, run: &Run) -> Result<Vec<String>> {
        self.check_usable()?;
        let session = self.session.with_run(run.clone());
        let mut notes = Vec::new();
        let made = match rows_loaded {
            false => self.create_collections(wanted, &session, &mut notes).await,
            true => self.create_rest(wanted, &session, &mut notes).await,
        };
        self.spoiled |= made.is_err();
        made?;
        self.schema = read(&session, &self.target).await?;
        Ok(notes)
    }

    async fn apply(&mut self, table: &Table, changes: mpsc::Receiver<Vec<RowChange>>, options: ApplyOptions, run: &Run) -> Result<Applied> {
        self.check_usable()?;
        let applied = self.apply_all(table, changes, options, run).await;
        self.spoiled |= applied.is_err();
        applied.map_err(|error| stays(error, self.written))
    }

    async fn commit(mut self: Box<Self>, run: &Run) -> Result<()> {
        self.check_usable()?;
        if self.dry_run {
            let session = self.session.with_run(run.clone());
            for (db, command) in self.undoing.iter().rev() {
                session.write(db, || format!("undoing the trial on {}", self.target), command.clone()).await?;
            }
            return Ok(());
        }
        let written = self.write_waiting(run).await;
        written.map_err(|error| stays(error, self.written))
    }
}

/// What was written before an error is not undone.
fn stays(mut error: Error, written: u64) -> Error {
    if written > 0 && !error.is_cancelled() {
        error.context = format!("{}; {written} documents were written before and stay: MongoDB undoes nothing", error.context);
    }
    error
}

/// The schema of the target as it is; empty where there is no such database yet.
async fn read(session: &Session, target: &Target) -> Result<Schema> {
    let (_, server) = session.server().await;
    let databases = match &target.database {
        Some(database) => vec![database.clone()],
        None => catalogue::databases(&server, &session.run).await?,
    };
    let mut schema = Schema::default();
    for database in &databases {
        for collection in catalogue::collections(&server, database, &session.run).await? {
            if collection.name.starts_with(PREFIX) {
                continue;
            }
            if let Some(indexes) = catalogue::indexes(&server, &collection, &session.run).await? {
                describe::add(&mut schema, &collection, &indexes, target.database.is_none());
            }
        }
    }
    describe::sort(&mut schema);
    Ok(schema)
}

/// Drops a database whose name says that a verification made it.
pub async fn drop_scratch(target: &Target, run: &Run) -> Result<()> {
    let name = target
        .database
        .as_deref()
        .filter(|name| name.starts_with(SCRATCH))
        .ok_or_else(|| Error::validation(format!("{target} is no database of a verification: it is not dropped")))?;
    let session = Session::open(target, None, run).await?;
    session.write(name, || format!("dropping the database {name}"), doc! { "dropDatabase": 1 }).await.map(drop)
}
