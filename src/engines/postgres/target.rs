//! A database that changes are written into: one transaction from the opening to the commit. Triggers do not fire where
//! the account may prevent it, and foreign keys are looked at before the commit, so that rows may come in any order.

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::{
    apply::Applying,
    connect::{Target, failed},
    create::{Making, spoiled},
    origin::Origin,
    place::Place,
    quiet::Quiet,
    session::{PIN, Session},
    source::read_schema,
};
use crate::{
    domain::{database::Settings, run::Run},
    engines::{Applied, ApplyOptions, RowTarget, SCRATCH},
    error::{Error, Kind, Result},
    snapshot::{RowChange, Schema, Table},
};

/// How long a lock is waited for, milliseconds.
const LOCKS: u32 = 60_000;

/// One transaction on a database.
pub struct PgTarget {
    /// Always there until it is dropped.
    session: Option<Session>,
    target: Target,
    schema: Schema,
    /// As it was at the opening.
    first: Schema,
    quiet: Quiet,
    spoiled: bool,
    dry_run: bool,
    /// The database was made for this, and goes unless it is committed.
    made: Option<Place>,
}

impl PgTarget {
    /// Begins a transaction on the database, which is made where there is none.
    pub async fn open(settings: &Settings, run: &Run) -> Result<Self> {
        let target = Target::open(settings, run).await?;
        Self::open_on(target.clone(), run).await.map_err(|error| target.explain(error))
    }

    async fn open_on(target: Target, run: &Run) -> Result<Self> {
        let (session, made) = match Session::open(&target, run).await {
            Ok(session) => (session, None),
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => {
                let Ok(place) = Place::open(&target, &target, run).await else { return Err(error) };
                if place.exists(&target.database).await? {
                    return Err(error);
                }
                let mut warnings = Vec::new();
                place.create(&target.database, &Origin::default(), &mut warnings).await?;
                warnings.iter().for_each(|warning| run.warn(warning));
                (Session::open(&target, run).await?, Some(place))
            }
        };
        let quiet = Quiet::default();
        let mut opened = Self {
            session: Some(session),
            target,
            schema: Schema::default(),
            first: Schema::default(),
            quiet,
            spoiled: false,
            dry_run: false,
            made,
        };
        opened.begin(run).await?;
        Ok(opened)
    }

    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::internal("the connection to the target is closed"))
    }

    async fn begin(&mut self, run: &Run) -> Result<()> {
        let session = self.session()?;
        let beginning = async {
            let sql = format!("{PIN}; SET lock_timeout = {LOCKS}; SET check_function_bodies = off; BEGIN; SET CONSTRAINTS ALL DEFERRED");
            session.batch_execute(&sql).await.map_err(|cause| failed(format!("opening {} for writing", self.target), &cause))?;
            Ok((read_schema(session, &Settings::default()).await?.0, Quiet::open(session).await?))
        };
        let (schema, quiet) = session.work(run, beginning).await?;
        (self.first, self.schema, self.quiet) = (schema.clone(), schema, quiet);
        Ok(())
    }

    async fn create_all(&mut self, wanted: &Schema, rows_loaded: bool, run: &Run) -> Result<Vec<String>> {
        let session = self.session()?;
        let making = Making { session, wanted, first: &self.first, present: &self.schema, run };
        let work = async {
            if rows_loaded {
                // What is altered may have no checks waiting.
                check_now(session).await?;
                making.after_rows().await
            } else {
                making.before_rows().await
            }
        };
        let notes = session.work(run, work).await?;
        let schema = session.work(run, async { Ok(read_schema(session, &Settings::default()).await?.0) }).await?;
        self.schema = schema;
        Ok(notes)
    }

    async fn apply_all(
        &mut self,
        table: &Table,
        mut changes: mpsc::Receiver<Vec<RowChange>>,
        options: ApplyOptions,
        run: &Run,
    ) -> Result<Applied> {
        let present = self.schema.tables.iter().find(|other| other.name == table.name).ok_or_else(|| {
            Error::new(Kind::Restore, format!("{} has no table {} that rows could be written into", self.target, table.name))
                .hint("make the table first: restore the schema too")
        })?;
        let Some(session) = &self.session else { return Err(spoiled(&self.target)) };
        let quiet = &mut self.quiet;
        let work = async {
            quiet.table(session, table, run).await?;
            let mut applying = Applying::new(session, table, present, options.on_conflict).await?;
            while let Some(batch) = changes.recv().await {
                for change in batch {
                    applying.change(change).await?;
                }
            }
            applying.finish().await
        };
        session.work(run, work).await
    }

    async fn finish(&mut self, run: &Run) -> Result<()> {
        if self.spoiled {
            return Err(spoiled(&self.target));
        }
        let session = self.session()?;
        let work = async {
            check_now(session).await?;
            self.quiet.end(session).await?;
            let (end, doing) = if self.dry_run { ("ROLLBACK", "rolling back the trial on") } else { ("COMMIT", "committing to") };
            session.batch_execute(end).await.map_err(|cause| failed(format!("{doing} {}", self.target), &cause))
        };
        session.work(run, work).await?;
        if !self.dry_run {
            self.made = None;
        }
        Ok(())
    }

    /// Closes the connection, and drops the database if it was made and is not wanted.
    async fn close(&mut self) -> Result<()> {
        self.session = None;
        match self.made.take() {
            Some(place) => place.drop_database(&self.target.database).await,
            None => Ok(()),
        }
    }
}

/// Checks what was put off until the commit.
async fn check_now(client: &Client) -> Result<()> {
    let checked = client.batch_execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED").await;
    checked.map_err(|cause| {
        let error = failed("checking the constraints; nothing was changed", &cause);
        error.hint("restore the rows they refer to as well")
    })
}

#[async_trait]
impl RowTarget for PgTarget {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn create(&mut self, wanted: &Schema, rows_loaded: bool, run: &Run) -> Result<Vec<String>> {
        if self.spoiled {
            return Err(spoiled(&self.target));
        }
        let done = self.create_all(wanted, rows_loaded, run).await;
        self.spoiled |= done.is_err();
        done.map_err(|error| self.target.explain(error))
    }

    async fn apply(&mut self, table: &Table, changes: mpsc::Receiver<Vec<RowChange>>, options: ApplyOptions, run: &Run) -> Result<Applied> {
        if self.spoiled {
            return Err(spoiled(&self.target));
        }
        self.dry_run |= options.dry_run;
        let done = self.apply_all(table, changes, options, run).await;
        self.spoiled |= done.is_err();
        done.map_err(|error| self.target.explain(error))
    }

    async fn commit(mut self: Box<Self>, run: &Run) -> Result<()> {
        let done = self.finish(run).await.map_err(|error| self.target.explain(error));
        let closed = self.close().await;
        done.and(closed)
    }
}

impl Drop for PgTarget {
    fn drop(&mut self) {
        let (session, made, name) = (self.session.take(), self.made.take(), self.target.database.clone());
        drop(session);
        if let (Some(place), Ok(runtime)) = (made, tokio::runtime::Handle::try_current()) {
            // Best effort, as nothing can be told from here: the empty database is no one's.
            runtime.spawn(async move { place.drop_database(&name).await });
        }
    }
}

/// Removes a database whose name says that a verification made it.
pub async fn drop_scratch(settings: &Settings, run: &Run) -> Result<()> {
    let target = Target::open(settings, run).await?;
    if !target.database.starts_with(SCRATCH) {
        return Err(Error::validation(format!("'{}' is no database of a verification: it is not removed", target.database)));
    }
    let dropping = async {
        let place = Place::open(&target, &target, run).await?;
        place.drop_database(&target.database).await
    };
    run.until_cancelled(dropping).await.map_err(|error| target.explain(error))
}
