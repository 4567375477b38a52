//! A database that takes another's place. MongoDB renames collections, not databases: each is made and counted under a
//! name beside the old one, then put in its place at once. Time-series collections and views have no such rename: they
//! are dropped and made again after everything else.

use std::sync::Arc;

use mongodb::bson::doc;
use tokio_util::sync::CancellationToken;

use super::{
    catalogue::CollectionKind,
    definition::Shape,
    fill::{Filling, Work},
    input::{Item, Selection},
    restore::{still_there, told},
    session::Session,
};
use crate::{
    engines::RestoreOutcome,
    error::{Context, Error, Kind, Result},
};

/// How the names of half-built collections begin.
pub const PREFIX: &str = "dbsnap_restore_";

/// Names of one restore's half-built collections.
pub struct Stamp(String);

impl Stamp {
    pub fn new() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self(format!("{PREFIX}{}_{}", chrono::Utc::now().format("%Y%m%dT%H%M%SZ"), &random[..8]))
    }

    pub fn name(&self, number: usize) -> String {
        format!("{}_{number}", self.0)
    }
}

/// A warning where a restore that was killed left collections half-built.
pub async fn leftovers(session: &Session, db: &str) -> Result<Option<String>> {
    let there = session.names(db).await?;
    let left: Vec<_> = there.iter().filter(|found| found.name.starts_with(PREFIX)).map(ToString::to_string).collect();
    Ok((!left.is_empty()).then(|| {
        format!(
            "half-built collections are there: {}; unless another restore is running now, a restore was killed there: drop them, such as by db.getCollection(\"...\").drop()",
            left.join(", ")
        )
    }))
}

pub struct Replacement<'a> {
    filling: &'a Filling<'a>,
    selection: &'a Selection,
    stamp: Stamp,
}

/// A collection that is ready, and the name that it is to have.
#[derive(Debug, Clone)]
struct Ready {
    db: String,
    built: String,
    name: String,
}

impl<'a> Replacement<'a> {
    pub fn new(filling: &'a Filling<'a>, selection: &'a Selection) -> Self {
        Self { filling, selection, stamp: Stamp::new() }
    }

    fn session(&self) -> &'a Arc<Session> {
        self.filling.session
    }

    pub async fn carry_out(self, outcome: &mut RestoreOutcome) -> Result<()> {
        let session = self.session();
        let databases: Vec<String> = self.selection.databases().into_iter().map(str::to_owned).collect();
        for db in &databases {
            outcome.warnings.extend(leftovers(session, db).await?);
        }
        let renamed = |item: &&Item| matches!(item.shape, Shape::Plain | Shape::Capped);
        let (beside, after): (Vec<&Item>, Vec<&Item>) = self.selection.items.iter().partition(renamed);
        if let Some(db) = databases.first()
            && let Err(error) = self.prove_rename(db).await
        {
            if error.is_cancelled() || error.retryable {
                return Err(error);
            }
            outcome.warnings.push(format!(
                "collections were dropped before their successors were complete, because the server does not rename: {error}"
            ));
            return self.in_place(&databases, outcome).await;
        }
        let work: Vec<_> = beside.iter().enumerate().map(|(at, item)| Work { item, name: self.stamp.name(at), exists: false }).collect();
        let mut made = Vec::new();
        // A cancel counts until the replacing begins.
        let built = self.filling.build(&work, &mut made, outcome).await.and_then(|()| session.run.check());
        if let Err(error) = built {
            let state = match session.clear(&made).await.as_slice() {
                [] => "the database is as it was".to_owned(),
                left => format!("the database is as it was, {}", still_there(left, &session.run)),
            };
            return Err(told(error, session.target(), &state));
        }
        let ready =
            work.iter().map(|work| Ready { db: work.item.db.clone(), built: work.name.clone(), name: work.item.name.clone() }).collect();
        let kept = self.selection.items.iter().map(|item| (item.db.clone(), item.name.clone())).collect();
        let swap = Swap { session: session.clone(), ready, databases, kept };
        session.run.info(format!("putting {} collections in their places", swap.ready.len()));
        // Once begun it goes on to its end, also when this restore is aborted.
        tokio::spawn(swap.run_to_its_end()).await.context(Kind::Internal, || "putting collections in their places".to_owned())??;
        let series: Vec<_> = after.iter().filter(|item| item.shape == Shape::TimeSeries).map(|item| item.label()).collect();
        if !series.is_empty() {
            outcome.warnings.push(format!(
                "time-series collections cannot be renamed: they were dropped before their successors were complete: {}",
                series.join(", ")
            ));
        }
        self.remake(&after, outcome).await.map_err(|error| {
            told(error, session.target(), "the collections are those of the backup, its time-series collections and views are not complete")
        })
    }

    /// Errors when the server does not put one collection in the place of another.
    async fn prove_rename(&self, db: &str) -> Result<()> {
        let session = self.session();
        let number = self.selection.items.len();
        let [one, other] = [self.stamp.name(number), self.stamp.name(number + 1)];
        let proving = async {
            for name in [&one, &other] {
                session.write(db, || format!("creating {db}.{name}"), doc! { "create": name }).await?;
            }
            rename(session, &Ready { db: db.to_owned(), built: one.clone(), name: other.clone() }).await
        };
        let proven = proving.await;
        let left = session.clear(&[(db.to_owned(), one.clone()), (db.to_owned(), other.clone())]).await;
        match (proven, left.as_slice()) {
            (Ok(()), []) => Ok(()),
            (Ok(()), left) => {
                Err(Error::new(Kind::Database, format!("a trial of renaming failed {}", still_there(left, &session.run))).retryable())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Without renaming: everything is dropped, then made.
    async fn in_place(&self, databases: &[String], outcome: &mut RestoreOutcome) -> Result<()> {
        let session = self.session();
        let changing = async {
            for db in databases {
                for found in session.names(db).await?.iter().filter(|found| !found.name.starts_with(PREFIX)) {
                    session.drop_collection(db, &found.name).await?;
                }
            }
            self.remake(&self.selection.items.iter().collect::<Vec<_>>(), outcome).await
        };
        changing.await.map_err(|error| {
            told(error, session.target(), "the old collections were dropped, and what was restored before the error is there")
        })
    }

    async fn remake(&self, items: &[&Item], outcome: &mut RestoreOutcome) -> Result<()> {
        for item in items {
            self.session().drop_collection(&item.db, &item.name).await?;
        }
        let work: Vec<_> = items.iter().map(|item| Work { item, name: item.name.clone(), exists: false }).collect();
        self.filling.build(&work, &mut Vec::new(), outcome).await
    }
}

/// Collections that are ready, about to take their places.
struct Swap {
    session: Arc<Session>,
    ready: Vec<Ready>,
    databases: Vec<String>,
    /// Names that stay in the databases: those of the backup.
    kept: Vec<(String, String)>,
}

impl Swap {
    /// On an error it tells how far it came.
    async fn run_to_its_end(self) -> Result<()> {
        let session = self.session.deaf();
        let mut placed = Vec::new();
        let Err(error) = self.exchange(&session, &mut placed).await else { return Ok(()) };
        let waiting: Vec<_> = self.ready.iter().filter(|ready| !placed.contains(&ready.name)).collect();
        let half: Vec<_> = waiting.iter().map(|ready| (ready.db.clone(), ready.built.clone())).collect();
        let left = session.clear(&half).await;
        let state = match (placed.len(), waiting.len()) {
            (0, _) => "no collection was replaced".to_owned(),
            (_, 0) => "all collections of the backup are in their places, and others that it does not hold are still there".to_owned(),
            (_, _) => format!(
                "replaced: {}; as they were: {}",
                placed.join(", "),
                waiting.iter().map(|ready| ready.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        let state = if left.is_empty() { state } else { format!("{state}; {}", still_there(&left, &session.run)) };
        Err(told(error, session.target(), &state))
    }

    async fn exchange(&self, session: &Session, placed: &mut Vec<String>) -> Result<()> {
        let mut others = Vec::new();
        for db in &self.databases {
            for found in session.names(db).await? {
                let kept = self.kept.iter().any(|(db, name)| *db == found.db && *name == found.name);
                // A view or a time-series collection of that name would be in the way of the rename.
                match (kept, found.kind) {
                    (true, CollectionKind::Collection) => {}
                    (true, _) => session.drop_collection(db, &found.name).await?,
                    (false, _) if found.name.starts_with(PREFIX) => {}
                    (false, _) => others.push(found),
                }
            }
        }
        for ready in &self.ready {
            rename(session, ready).await?;
            placed.push(ready.name.clone());
        }
        for other in others {
            session.drop_collection(&other.db, &other.name).await?;
        }
        Ok(())
    }
}

async fn rename(session: &Session, ready: &Ready) -> Result<()> {
    let Ready { db, built, name } = ready;
    let command = doc! { "renameCollection": format!("{db}.{built}"), "to": format!("{db}.{name}"), "dropTarget": true };
    session.write("admin", || format!("putting {db}.{name} in its place"), command).await.map(drop)
}

impl Session {
    /// The same session, not to be interrupted.
    fn deaf(self: &Arc<Self>) -> Self {
        let mut run = self.run.clone();
        run.cancel = CancellationToken::new();
        self.with_run(run)
    }
}
