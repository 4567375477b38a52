//! Documents and definitions at one moment, as a snapshot or comparison reads them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use mongodb::{
    bson::{Document, RawBsonRef, doc},
    raw_batch_cursor::RawBatch,
};

use super::{
    catalogue::{self, Collection, CollectionKind},
    connect::Server,
    describe,
    moment::{PointInTime, Reading},
    read::{Batches, Limits, Query, Reader},
    replace::PREFIX,
    server::whole,
};
use crate::{
    domain::run::Run,
    engines::rows::{KeyRange, Order, RowSource, SourceFacts},
    error::{Error, Kind, Result},
    snapshot::{Class, Key, Part, RowSender, Schema, Table, TableName, document_of_key, encode_part, parts},
};

/// An open moment.
pub struct Moment {
    pub server: Arc<Server>,
    pub reading: Reading,
    /// What was asked of the moment.
    pub wanted: PointInTime,
    pub limits: Limits,
    pub collections: Vec<Collection>,
    /// Of several databases: tables are named with theirs.
    pub qualified: bool,
    /// No documents.
    pub schema_only: bool,
    pub size: Option<u64>,
    pub server_version: String,
    pub warnings: Vec<String>,
}

/// Reads the collections of a moment.
pub struct MongoSource {
    moment: Moment,
    collections: HashMap<TableName, Collection>,
    estimates: HashMap<TableName, u64>,
    schema: Schema,
    facts: SourceFacts,
}

impl MongoSource {
    /// Reads the definitions.
    pub async fn open(moment: Moment, run: &Run) -> Result<Self> {
        let mut schema = Schema::default();
        let (mut collections, mut estimates) = (HashMap::new(), HashMap::new());
        // What a restore that was cut off has left is no part of the database.
        for collection in moment.collections.iter().filter(|collection| !collection.name.starts_with(PREFIX)) {
            let Some(indexes) = catalogue::indexes(&moment.server, collection, run).await? else {
                run.info(format!("{collection} is gone since the collections were listed: it is left out"));
                continue;
            };
            describe::add(&mut schema, collection, &indexes, moment.qualified);
            let name = describe::name_of(collection, moment.qualified);
            if collection.kind == CollectionKind::Collection
                && let Some(count) = estimate(&moment.server, collection, run).await?
            {
                estimates.insert(name.clone(), count);
            }
            collections.insert(name, collection.clone());
        }
        describe::sort(&mut schema);
        let facts = SourceFacts {
            moment: moment.reading.moment,
            server_version: moment.server_version.clone(),
            marks: BTreeMap::new(),
            warnings: moment.warnings.clone(),
        };
        Ok(Self { moment, collections, estimates, schema, facts })
    }

    async fn send(&self, table: &Table, collection: &Collection, sending: &mut Sending, run: &Run) -> Result<()> {
        let Some(data) = collection.data() else { return Ok(()) };
        let by_id = (self.order(table) == Order::Key).then(|| sending.from.take());
        let query = Query {
            db: collection.db.clone(),
            collection: data,
            filter: Document::new(),
            by_id,
            raw_data: collection.kind == CollectionKind::TimeSeries { buckets: false },
            at_moment: true,
        };
        let moment = &self.moment;
        let mut reader = Reader::new(&moment.server, &moment.reading, moment.limits, moment.size).await?;
        let any = reader.documents(&query, sending, run).await?;
        // A collection that was dropped meanwhile reads like an empty one.
        if !any && !catalogue::is_still_there(&moment.server, collection, run).await? {
            return Err(Error::new(Kind::Backup, format!("{collection} was dropped or replaced while it was read"))
                .hint("try again; leave out collections that come and go with excludeCollections")
                .retryable());
        }
        sending.out.flush().await
    }

    /// Goes on at a new moment after the server has forgotten the one of the rows so far.
    async fn renew(&mut self, table: &Table, run: &Run) -> Result<()> {
        let moment = &mut self.moment;
        moment.reading = Reading::open(&moment.server, PointInTime::Auto, &moment.collections, run).await?;
        let warning = format!(
            "not point in time: the server no longer keeps the moment of the backup (minSnapshotHistoryWindowInSeconds); {} and what follows it are of {}",
            table.name, moment.reading.moment,
        );
        run.warn(&warning);
        self.facts.warnings.push(warning);
        Ok(())
    }
}

#[async_trait]
impl RowSource for MongoSource {
    fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn order(&self, table: &Table) -> Order {
        let ordered = table.key != Key::Row && self.collections.get(&table.name).is_some_and(describe::ordered_by_id);
        if ordered { Order::Key } else { Order::Any }
    }

    fn estimate(&self, table: &Table) -> Option<u64> {
        self.estimates.get(&table.name).copied()
    }

    async fn rows(&mut self, table: &Table, range: &KeyRange, out: RowSender, run: &Run) -> Result<()> {
        let Some(collection) = self.collections.get(&table.name).cloned() else {
            return Err(Error::not_found(format!("the collection {}", table.name)));
        };
        if self.moment.schema_only {
            return Ok(());
        }
        let mut sending = Sending::new(table, range, self.order(table), out);
        match self.send(table, &collection, &mut sending, run).await {
            Err(error) if sending.out.rows() == 0 && self.moment.wanted == PointInTime::Auto && is_forgotten(&error) => {
                self.renew(table, run).await?;
                let again = Sending { from: Sending::from(table, range), ..sending };
                sending = again;
                self.send(table, &collection, &mut sending, run).await
            }
            sent => sent,
        }
    }
}

/// The error of [`Reading::forgotten`] names the setting that decides it.
fn is_forgotten(error: &Error) -> bool {
    error.to_string().contains("minSnapshotHistoryWindowInSeconds")
}

/// Takes documents as they come and hands on those of a range.
struct Sending {
    out: RowSender,
    /// The document to begin at, where the range begins at one that can be named.
    from: Option<Document>,
    range: Option<KeyRange>,
    ordered: bool,
    key: Vec<u8>,
}

impl Sending {
    fn new(table: &Table, range: &KeyRange, order: Order, out: RowSender) -> Self {
        let bounded = table.key != Key::Row && *range != KeyRange::all();
        let range_kept = bounded.then(|| range.clone());
        Self { out, from: Self::from(table, range), range: range_kept, ordered: order == Order::Key, key: Vec::new() }
    }

    fn from(table: &Table, range: &KeyRange) -> Option<Document> {
        if table.key == Key::Row {
            return None;
        }
        let parts = parts(range.after.as_deref()?).ok()?;
        let [Part::Bytes(key)] = parts.as_slice() else { return None };
        Document::from_reader(document_of_key(key)?.as_slice()).ok()
    }

    /// Whether a document is in the range, and whether one after it may be.
    fn place(&mut self, document: &[u8]) -> (bool, bool) {
        let Some(range) = &self.range else { return (true, true) };
        self.key.clear();
        encode_part(&mut self.key, Class::Bson, document);
        let after = range.after.as_ref().is_none_or(|after| self.key > *after);
        let before = range.to.as_ref().is_none_or(|to| self.key <= *to);
        (after && before, before || !self.ordered)
    }
}

impl Batches for Sending {
    async fn put(&mut self, batch: RawBatch) -> Result<bool> {
        let malformed = |cause: &dyn std::fmt::Display| Error::new(Kind::Database, format!("the server sent a malformed batch: {cause}"));
        for document in batch.doc_slices().map_err(|cause| malformed(&cause))? {
            let RawBsonRef::Document(document) = document.map_err(|cause| malformed(&cause))? else {
                return Err(malformed(&"it holds what is no document"));
            };
            let (wanted, more) = self.place(document.as_bytes());
            if wanted && self.out.push(&[Some(document.as_bytes())])? {
                self.out.flush().await?;
            }
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How many documents the server believes that there are; `None` where the account may not ask.
async fn estimate(server: &Server, collection: &Collection, run: &Run) -> Result<Option<u64>> {
    let counting = server.command(&collection.db, doc! { "count": collection.name.as_str() });
    run.until_cancelled(async { Ok(counting.await.ok().and_then(|answer| whole(&answer, "n"))) }).await
}
