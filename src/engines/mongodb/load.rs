//! Documents from the spooled archive into collections: batches, several at a time, within bounded memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mongodb::{
    bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc},
    error::{ErrorKind, IndexedWriteError},
};
use tokio::{io::AsyncReadExt, task::JoinSet};

use super::{
    archive::{BUCKETS, damaged},
    definition::Shape,
    input::{Input, Item},
    reader::Reader,
    session::Session,
    tally::Tally,
};
use crate::{
    domain::{events::Progress, run::Run, stream::PIECE},
    error::{Context, Error, Kind, Result},
};

/// Most bytes of a batch, but for a single document.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes of all batches on their way, but for a single one. The driver holds each up to three times.
const ON_THE_WAY: usize = 12 * 1024 * 1024;
/// How long inserts on their way are waited for when a restore ends early.
const SETTLING: Duration = Duration::from_secs(3);
/// Buckets of a time-series collection whose measurements changed type need the collection told of it.
const MIXED_SCHEMA: i32 = 408;
const DUPLICATE_KEY: i32 = 11000;

/// Where the documents of a collection go, and how.
#[derive(Debug, Clone)]
pub struct Place {
    pub db: String,
    /// The collection that is written to.
    pub name: String,
    /// The time-series collection itself, where `name` holds its buckets.
    pub logical: Option<String>,
    pub label: String,
    /// One batch after the other.
    pub in_order: bool,
    /// Nobody else's documents are there: what is sent twice may be refused the second time.
    pub fresh: bool,
    pub bypass_validation: bool,
    /// The server is told that these are buckets.
    pub raw_data: bool,
}

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Batches on their way at once.
    pub jobs: usize,
    /// Most documents of a batch.
    pub batch: usize,
    /// The first document that is refused ends the restore.
    pub stop: bool,
}

struct Batch {
    place: usize,
    documents: Vec<RawDocumentBuf>,
    bytes: usize,
}

impl Place {
    pub fn of(item: &Item, name: &str, fresh: bool, bypass_validation: bool, session: &Session) -> Self {
        let series = item.shape == Shape::TimeSeries;
        let buckets = series && !session.raw_data;
        Self {
            db: item.db.clone(),
            name: if buckets { format!("{}{name}", BUCKETS) } else { name.to_owned() },
            logical: series.then(|| name.to_owned()),
            label: item.label(),
            in_order: item.shape == Shape::Capped,
            fresh,
            // Buckets have a validator that is the server's own.
            bypass_validation: bypass_validation && !series,
            raw_data: series && session.raw_data,
        }
    }
}

/// Sends the documents of these blocks of the archive to their places; by place, what became of them. Errors when the
/// connection fails, and at the first documents that are refused where `manner` says so.
pub async fn load(input: &Input, places: &[(usize, Place)], manner: Manner, session: &Arc<Session>) -> Result<Vec<Tally>> {
    let mut loader = Loader {
        places: places.iter().map(|(_, place)| Arc::new(place.clone())).collect(),
        tallies: places.iter().map(|(_, place)| Tally::new(&place.label)).collect(),
        on_the_way: vec![0; places.len()],
        bytes_on_the_way: 0,
        work: JoinSet::new(),
        manner,
        session,
    };
    let done = loader.run(input, places.iter().enumerate().map(|(place, (at, _))| (*at, place)).collect()).await;
    if done.is_err() {
        loader.settle().await;
    }
    done.map(|()| loader.tallies)
}

struct Loader<'a> {
    places: Vec<Arc<Place>>,
    tallies: Vec<Tally>,
    /// Batches, by place.
    on_the_way: Vec<usize>,
    bytes_on_the_way: usize,
    /// Ended when the loader is dropped.
    work: JoinSet<(usize, usize, Result<Tally>)>,
    manner: Manner,
    session: &'a Arc<Session>,
}

impl Loader<'_> {
    /// Waits for inserts on their way: one that arrives after its collection was dropped would make it again.
    async fn settle(&mut self) {
        let settling = async { while self.work.join_next().await.is_some() {} };
        if tokio::time::timeout(SETTLING, settling).await.is_err() {
            self.session.run.warn(format!("inserts on their way have not ended in {} s", SETTLING.as_secs()));
        }
    }

    async fn run(&mut self, input: &Input, wanted: HashMap<usize, usize>) -> Result<()> {
        let run = self.session.run.clone();
        let naming = || format!("reading {}", input.path.display());
        let mut file = tokio::fs::File::open(&input.path).await.context(Kind::Storage, naming)?;
        let (mut piece, mut read) = (vec![0; PIECE], 0_u64);
        let (mut reader, mut gathered) = (Reader::new(), Gathered { most: self.manner.batch, ready: Vec::new(), open: None });
        loop {
            run.check()?;
            let size = file.read(&mut piece).await.context(Kind::Storage, naming)?;
            if size == 0 {
                break;
            }
            read += size as u64;
            reader.feed(&piece[..size], &mut |at, document| {
                if let Some(place) = wanted.get(&at) {
                    gathered.add(*place, document)?;
                }
                Ok(())
            })?;
            for batch in std::mem::take(&mut gathered.ready) {
                self.send(batch).await?;
            }
            progress(&run, read, input.size, &self.tallies, reader.current().map(super::reader::Listed::label));
        }
        reader.finish()?;
        gathered.close();
        for batch in gathered.ready {
            self.send(batch).await?;
        }
        while !self.work.is_empty() {
            self.one_done().await?;
        }
        progress(&run, read, input.size, &self.tallies, None);
        Ok(())
    }

    /// Starts a batch, once there is room for it.
    async fn send(&mut self, batch: Batch) -> Result<()> {
        let place = self.places[batch.place].clone();
        let waits = |loader: &Self| {
            loader.work.len() >= loader.manner.jobs
                || loader.bytes_on_the_way + batch.bytes > ON_THE_WAY
                || (place.in_order && loader.on_the_way[batch.place] > 0)
        };
        while !self.work.is_empty() && waits(self) {
            self.one_done().await?;
        }
        self.on_the_way[batch.place] += 1;
        self.bytes_on_the_way += batch.bytes;
        let session = self.session.clone();
        self.work.spawn(async move { (batch.place, batch.bytes, insert(&session, &place, batch.documents).await) });
        Ok(())
    }

    async fn one_done(&mut self) -> Result<()> {
        let run = &self.session.run;
        let work = &mut self.work;
        let done = run.until_cancelled(async { Ok(work.join_next().await) }).await?;
        let Some(done) = done else { return Ok(()) };
        let (place, bytes, done) = done.context(Kind::Internal, || "inserting documents".to_owned())?;
        self.on_the_way[place] -= 1;
        self.bytes_on_the_way -= bytes;
        let tally = &mut self.tallies[place];
        tally.add(done?);
        if self.manner.stop && tally.refused() > 0 {
            // What is on its way is counted too.
            while let Some(done) = run.until_cancelled(async { Ok(work.join_next().await) }).await? {
                let (place, _, done) = done.context(Kind::Internal, || "inserting documents".to_owned())?;
                self.tallies[place].add(done?);
            }
            return Err(Tally::error(&self.tallies));
        }
        Ok(())
    }
}

/// Documents on their way into batches.
struct Gathered {
    most: usize,
    ready: Vec<Batch>,
    open: Option<Batch>,
}

impl Gathered {
    fn add(&mut self, place: usize, document: &[u8]) -> Result<()> {
        let fits = |open: &Batch| open.place == place && open.documents.len() < self.most && open.bytes + document.len() <= BATCH_BYTES;
        if !self.open.as_ref().is_some_and(fits) {
            self.close();
        }
        let document = RawDocumentBuf::from_bytes(document.to_vec()).map_err(damaged)?;
        let open = self.open.get_or_insert_with(|| Batch { place, documents: Vec::new(), bytes: 0 });
        open.bytes += document.as_bytes().len();
        open.documents.push(document);
        Ok(())
    }

    fn close(&mut self) {
        self.ready.extend(self.open.take());
    }
}

/// Inserts a batch. After a broken connection or a changed primary it is sent once more, where nobody else writes.
pub async fn insert(session: &Session, place: &Place, documents: Vec<RawDocumentBuf>) -> Result<Tally> {
    let mut tally = Tally::new(&place.label);
    let doing = || format!("inserting into {}", place.label);
    let (mut again, mut told_mixed) = (false, false);
    let mut rest = documents;
    loop {
        let (number, server, collection) = session.collection(&place.db, &place.name).await;
        let refused: Vec<IndexedWriteError> = if place.raw_data {
            insert_raw(session, place, &rest).await?
        } else {
            let mut inserting = collection.insert_many(&rest).ordered(false).write_concern(session.concern());
            if place.bypass_validation {
                inserting = inserting.bypass_document_validation(true);
            }
            match inserting.await {
                Ok(_) => Vec::new(),
                Err(cause) => match &*cause.kind {
                    ErrorKind::InsertMany(errors) => {
                        if let Some(concern) = &errors.write_concern_error {
                            return Err(Error::new(
                                Kind::Database,
                                format!("{}: done, but not acknowledged as asked: {}", doing(), concern.message),
                            ));
                        }
                        errors.write_errors.clone().unwrap_or_default()
                    }
                    _ => {
                        let error = server.failed(doing(), &cause);
                        if again || !place.fresh || !error.retryable {
                            return Err(error);
                        }
                        again = true;
                        session.run.warn(format!("{error}; connecting again"));
                        session.again(number).await.map_err(|gone| gone.while_doing(error))?;
                        continue;
                    }
                },
            }
        };
        if let Some(logical) = &place.logical
            && !told_mixed
            && refused.iter().any(|error| error.code == MIXED_SCHEMA)
        {
            told_mixed = true;
            let command = doc! { "collMod": logical, "timeseriesBucketsMayHaveMixedSchemaData": true };
            session.write(&place.db, doing, command).await?;
            let (mixed, others): (Vec<_>, Vec<_>) = refused.into_iter().partition(|error| error.code == MIXED_SCHEMA);
            tally.inserted += (rest.len() - mixed.len() - others.len()) as u64;
            others.iter().for_each(|error| tally.refuse(error, &rest));
            rest = mixed.iter().filter_map(|error| rest.get(error.index).cloned()).collect();
            continue;
        }
        // What went in before the connection broke is refused the second time; the count afterwards proves it.
        let ours = |error: &IndexedWriteError| again && error.code == DUPLICATE_KEY && error.message.contains(" _id_ ");
        let refused: Vec<_> = refused.into_iter().filter(|error| !ours(error)).collect();
        tally.inserted += (rest.len() - refused.len().min(rest.len())) as u64;
        refused.iter().for_each(|error| tally.refuse(error, &rest));
        let kept = rest.iter().enumerate().filter(|(at, _)| !refused.iter().any(|error| error.index == *at)).map(|(_, document)| document);
        keep_empty_timestamps(session, place, kept).await?;
        return Ok(tally);
    }
}

/// Inserts buckets under the name of their time-series collection, which the driver has no option for.
async fn insert_raw(session: &Session, place: &Place, documents: &[RawDocumentBuf]) -> Result<Vec<IndexedWriteError>> {
    let documents: Vec<Document> = documents.iter().map(Document::try_from).collect::<std::result::Result<_, _>>().map_err(damaged)?;
    let command = doc! { "insert": &place.name, "documents": documents, "ordered": false, "rawData": true };
    let answer = session.write(&place.db, || format!("inserting into {}", place.label), command).await?;
    let errors = answer.get_array("writeErrors").cloned().unwrap_or_default();
    let read = |error| mongodb::bson::deserialize_from_bson::<IndexedWriteError>(error);
    errors
        .into_iter()
        .map(read)
        .collect::<std::result::Result<_, _>>()
        .context(Kind::Database, || "reading the answer to an insert".to_owned())
}

/// MongoDB puts the time of the insert where a field of the document is an empty timestamp: it is put back.
async fn keep_empty_timestamps(session: &Session, place: &Place, documents: impl Iterator<Item = &RawDocumentBuf>) -> Result<()> {
    for document in documents.filter(|document| has_empty_timestamp(document)) {
        let Ok(Some(id)) = document.get("_id") else { continue };
        let filter = doc! { "_id": { "$eq": Bson::try_from(id).map_err(damaged)? } };
        let doing = || format!("putting back an empty timestamp in {}", place.label);
        let (_, server, collection) = session.collection(&place.db, &place.name).await;
        let found = collection.find_one(filter.clone()).await.map_err(|cause| server.failed(doing(), &cause))?;
        if found.is_some_and(|found| found.as_bytes() == document.as_bytes()) {
            continue;
        }
        let document = Document::try_from(document).map_err(damaged)?;
        let update = doc! { "q": filter, "u": [{ "$replaceWith": { "$literal": document } }] };
        let mut command = doc! { "update": &place.name, "updates": [update] };
        if place.bypass_validation {
            command.insert("bypassDocumentValidation", true);
        }
        let answer = session.write(&place.db, doing, command).await?;
        if answer.contains_key("writeErrors") {
            return Err(Error::new(Kind::Restore, format!("{}: the server refused it", doing())));
        }
    }
    Ok(())
}

/// True when an update has to give the document as a literal: where it would be taken for operators, or a server would put
/// the time in it.
pub fn needs_literal(document: &RawDocument) -> bool {
    has_empty_timestamp(document) || document.iter().flatten().any(|(key, _)| key.as_str().starts_with('$'))
}

fn has_empty_timestamp(document: &RawDocument) -> bool {
    const TIMESTAMP: u8 = 0x11;
    memchr::memchr(TIMESTAMP, document.as_bytes()).is_some()
        && document.iter().flatten().any(|(key, value)| {
            key.as_str() != "_id" && matches!(value, RawBsonRef::Timestamp(time) if time.time == 0 && time.increment == 0)
        })
}

fn progress(run: &Run, read: u64, size: u64, tallies: &[Tally], table: Option<String>) {
    run.progress(&Progress {
        stage: "restoring".into(),
        bytes: read,
        total_bytes: Some(size),
        rows: Some(tallies.iter().map(|tally| tally.inserted).sum()),
        table,
        ..Progress::default()
    });
}
