//! Collections made and filled: created, loaded, counted, indexed.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::{
    definition::{self, Shape},
    input::{Input, Item},
    load::{Manner, Place, load},
    server::whole,
    session::Session,
    tally::Tally,
};
use crate::{
    domain::{
        events::Progress,
        fields::SettingsExt,
        restore::{RestoreContent, RestorePlan},
    },
    engines::RestoreOutcome,
    error::{Error, Kind, Result},
};

/// The server's name for an index option that it does not know.
const UNKNOWN_INDEX_OPTION: &str = "InvalidIndexSpecificationOption";

/// What may be checked against a collection's validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validation {
    /// Only what goes into collections that were there before.
    Auto,
    All,
    Nothing,
}

/// How a restore fills collections.
pub struct Filling<'a> {
    pub input: &'a Input,
    pub session: &'a Arc<Session>,
    content: RestoreContent,
    manner: Manner,
    validation: Validation,
}

/// A collection to make, or to add to.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    pub item: &'a Item,
    /// What it is called meanwhile.
    pub name: String,
    pub exists: bool,
}

impl<'a> Filling<'a> {
    pub fn new(input: &'a Input, session: &'a Arc<Session>, plan: &RestorePlan) -> Self {
        let number =
            |name: &str, default: usize| plan.engine.integer(name).and_then(|number| usize::try_from(number).ok()).unwrap_or(default);
        Self {
            input,
            session,
            content: plan.content,
            manner: Manner {
                jobs: number("jobs", 4).max(1),
                batch: number("batchSize", 1000).max(1),
                stop: plan.engine.get("exitOnError").and_then(Value::as_bool) != Some(false),
            },
            validation: match plan.engine.text("validation") {
                Some("check") => Validation::All,
                Some("bypass") => Validation::Nothing,
                _ => Validation::Auto,
            },
        }
    }

    /// Makes, loads, counts and indexes. `made` has what was created, as it is created.
    pub async fn build(&self, work: &[Work<'_>], made: &mut Vec<(String, String)>, outcome: &mut RestoreOutcome) -> Result<()> {
        if self.content != RestoreContent::Data {
            for one in work.iter().filter(|one| !one.exists) {
                self.create(one, made, outcome).await?;
            }
        }
        if self.content != RestoreContent::Schema {
            let filled: Vec<_> = work.iter().filter(|one| one.item.holds_documents()).collect();
            let places: Vec<_> = filled.iter().map(|one| (one.item.at, self.place(one))).collect();
            let tallies = load(self.input, &places, self.manner, self.session).await?;
            outcome.warnings.extend(tallies.iter().filter_map(Tally::refusals));
            self.count(&filled, &places, &tallies, outcome).await?;
        }
        if self.content != RestoreContent::Data {
            for (done, one) in work.iter().enumerate() {
                self.index(one, outcome).await?;
                self.session.run.progress(&Progress {
                    stage: "indexing".into(),
                    tables: Some(done as u64 + 1),
                    total_tables: Some(work.len() as u64),
                    table: Some(one.item.label()),
                    ..Progress::default()
                });
            }
        }
        Ok(())
    }

    /// Loads what goes to places of its own, such as users.
    pub async fn load(&self, places: &[(usize, Place)]) -> Result<Vec<Tally>> {
        load(self.input, places, self.manner, self.session).await
    }

    fn place(&self, work: &Work<'_>) -> Place {
        let validated = work.item.metadata.options.contains_key("validator") || work.exists;
        let bypass = match self.validation {
            Validation::Auto => !work.exists,
            Validation::All => false,
            Validation::Nothing => true,
        };
        // Passing by a validator is a right of its own: it is not asked for where there is none.
        Place::of(work.item, &work.name, !work.exists, bypass && validated, self.session)
    }

    async fn create(&self, work: &Work<'_>, made: &mut Vec<(String, String)>, outcome: &mut RestoreOutcome) -> Result<()> {
        let (item, db) = (work.item, &work.item.db);
        let command = definition::create(&work.name, &item.label(), &item.metadata, &mut outcome.warnings);
        let kind = if item.shape == Shape::View { "view" } else { "collection" };
        self.session.run.debug(format!("creating the {kind} {db}.{}", work.name));
        // Before it is known to be done: a cancel may come between.
        made.push((db.clone(), work.name.clone()));
        let created = self.session.write(db, || format!("creating the {kind} {}", item.label()), command).await;
        if let Err(error) = created {
            if error.context.contains("(NamespaceExists)") {
                // Somebody else's.
                made.pop();
                return Err(error.hint("make sure that nothing else writes to the target, then restore again"));
            }
            return Err(error);
        }
        Ok(())
    }

    /// Counts every collection that was filled. One that was made must hold what was sent.
    async fn count(&self, filled: &[&Work<'_>], places: &[(usize, Place)], tallies: &[Tally], outcome: &mut RestoreOutcome) -> Result<()> {
        let mut waiting = Vec::new();
        for (_, place) in places {
            waiting.push(self.count_one(place));
        }
        let mut counting = stream::iter(waiting).buffered(self.manner.jobs);
        let (mut differences, mut at) = (Vec::new(), 0);
        while let Some(rows) = counting.try_next().await? {
            let (work, tally) = (filled[at], &tallies[at]);
            let expected = work.item.documents - tally.refused().min(work.item.documents);
            at += 1;
            outcome.tables.push(work.item.count(rows));
            self.session.run.progress(&Progress {
                stage: "counting".into(),
                tables: Some(at as u64),
                total_tables: Some(places.len() as u64),
                ..Progress::default()
            });
            if work.exists || rows == expected {
                continue;
            }
            let difference = format!("{} has {rows} documents instead of {expected}", work.item.label());
            match () {
                () if rows < expected && work.item.shape == Shape::Capped => {
                    outcome.warnings.push(format!("{difference}: it is capped, and the oldest made room"));
                }
                () if rows < expected && definition::expires(&work.item.metadata) => {
                    outcome.warnings.push(format!("{difference}: it deletes by age (expireAfterSeconds), and some were too old"));
                }
                () => differences.push(difference),
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Restore, format!("the restored database differs from the backup: {}", differences.join(", ")))
            .hint("make sure nothing writes to the target during the restore, then restore again"))
    }

    async fn count_one(&self, place: &Place) -> Result<u64> {
        let mut command = doc! { "aggregate": &place.name, "pipeline": [{ "$group": { "_id": 1, "n": { "$sum": 1 } } }], "cursor": {} };
        if place.raw_data {
            command.insert("rawData", true);
        }
        let (_, server) = self.session.server().await;
        let counting = async {
            let found = server.list(&place.db, command).await;
            found.map_err(|cause| server.failed(format!("counting the documents of {}", place.label), &cause))
        };
        let found = self.session.run.until_cancelled(counting).await?;
        Ok(found.first().and_then(|found| whole(found, "n")).unwrap_or(0))
    }

    async fn index(&self, work: &Work<'_>, outcome: &mut RestoreOutcome) -> Result<()> {
        let label = work.item.label();
        let indexes = definition::indexes(&label, &work.item.metadata, &mut outcome.warnings);
        if indexes.is_empty() || work.item.shape == Shape::View {
            return Ok(());
        }
        self.session.run.debug(format!("creating {} indexes of {label}", indexes.len()));
        let Err(error) = self.create_indexes(work, &indexes, &mut outcome.warnings).await else { return Ok(()) };
        if self.manner.stop || error.is_cancelled() || error.retryable {
            return Err(error);
        }
        // One by one, so that the others are there.
        for index in indexes {
            if let Err(error) = self.create_indexes(work, &[index], &mut outcome.warnings).await {
                if error.is_cancelled() || error.retryable {
                    return Err(error);
                }
                outcome.warnings.push(error.to_string());
            }
        }
        Ok(())
    }

    async fn create_indexes(&self, work: &Work<'_>, indexes: &[Document], warnings: &mut Vec<String>) -> Result<()> {
        let names: Vec<_> = indexes.iter().map(|index| index.get_str("name").unwrap_or("without a name")).collect();
        let doing = || format!("creating the indexes of {} ({})", work.item.label(), names.join(", "));
        let list: Vec<Bson> = indexes.iter().cloned().map(Bson::Document).collect();
        let mut command = doc! { "createIndexes": &work.name, "indexes": list };
        match self.session.write(&work.item.db, doing, command.clone()).await {
            Err(error) if error.context.contains(UNKNOWN_INDEX_OPTION) => {
                command.insert("ignoreUnknownIndexOptions", true);
                self.session.write(&work.item.db, doing, command).await?;
                warnings.push(format!("{error}: the server made them without what it does not know"));
                Ok(())
            }
            done => done.map(drop),
        }
    }
}
