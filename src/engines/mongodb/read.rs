//! Reads a collection's documents as the server sends them, batch by batch, in a session that is kept alive however long
//! the store takes.

use std::time::Duration;

use futures_util::StreamExt;
use mongodb::{
    Client, ClientSession,
    bson::{Document, doc},
    raw_batch_cursor::RawBatch,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect::Server,
    faults::{code, code_of},
    moment::Reading,
    pack::{Packer, Part},
    server::whole,
};
use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run},
    error::{Error, Kind, Result},
};

/// What one answer of the server should hold, bytes: enough that its round trip does not matter, little enough that a
/// few of them may be in memory.
const BATCH: u64 = 8 * 1024 * 1024;

/// Takes what the server sends.
pub trait Batches {
    /// Waits while whatever comes behind it is behind. False when no more is wanted.
    fn put(&mut self, batch: RawBatch) -> impl Future<Output = Result<bool>> + Send;
}

impl Batches for Packer {
    async fn put(&mut self, batch: RawBatch) -> Result<bool> {
        self.part(Part::Documents(batch)).await.map(|()| true)
    }
}

/// A query over one collection.
pub struct Query {
    pub db: String,
    pub collection: String,
    pub filter: Document,
    /// Ascending by `_id`, from this one on where there is one, by the index that gives it.
    pub by_id: Option<Option<Document>>,
    /// Time-series buckets are read as they are stored (since 8.3).
    pub raw_data: bool,
    /// Read at the moment of the dump; users and roles are read as they are.
    pub at_moment: bool,
}

/// Time limits of the dump options.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Time the server may work on one query.
    pub statement: Option<Duration>,
    /// Silence of the server.
    pub stall: Option<Duration>,
}

impl Limits {
    pub fn of(options: &Settings) -> Self {
        let seconds = |name: &str| {
            options.integer(name).and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
        };
        Self { statement: seconds("statementTimeoutSeconds"), stall: seconds("stallTimeoutSeconds") }
    }
}

/// Reads one collection after another.
pub struct Reader<'a> {
    server: &'a Server,
    reading: &'a Reading,
    limits: Limits,
    /// Size of the whole database, bytes, for estimates.
    size: Option<u64>,
    session: ClientSession,
    /// Bytes read so far.
    read: u64,
    _alive: AbortOnDropHandle<()>,
}

impl<'a> Reader<'a> {
    pub async fn new(server: &'a Server, reading: &'a Reading, limits: Limits, size: Option<u64>) -> Result<Self> {
        let session = server.client.start_session().causal_consistency(false).await;
        let session = session.map_err(|cause| server.failed("opening a session", &cause))?;
        let alive = keep_alive(server.client.clone(), session.id().clone(), server.hello.session_timeout / 6);
        Ok(Self { server, reading, limits, size, session, read: 0, _alive: AbortOnDropHandle::new(tokio::spawn(alive)) })
    }

    /// Sends every document of the query. True when there was one.
    pub async fn documents(&mut self, query: &Query, out: &mut impl Batches, run: &Run) -> Result<bool> {
        let doing = format!("reading {}.{}", query.db, query.collection);
        let mut command = doc! { "find": query.collection.as_str(), "filter": query.filter.clone(), "noCursorTimeout": true };
        if let Some(limit) = self.limits.statement {
            command.insert("maxTimeMS", i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
        }
        if let Some(concern) = self.reading.concern().filter(|_| query.at_moment) {
            command.insert("readConcern", concern);
        }
        if let Some(from) = &query.by_id {
            command.extend(doc! { "sort": { "_id": 1 }, "hint": { "_id": 1 } });
            if let Some(from) = from {
                command.insert("min", from.clone());
            }
        }
        if query.raw_data {
            command.insert("rawData", true);
        }
        let batch = self.batch_size(query).await;
        if let Some(batch) = batch {
            command.insert("batchSize", i64::from(batch));
        }
        let database = self.server.client.database(&query.db);
        let opening = database.run_cursor_command(command).selection_criteria(self.server.reading());
        let opening = match batch {
            Some(batch) => opening.batch_size(batch),
            None => opening,
        };
        let (server, reading, limits, size) = (self.server, self.reading, self.limits, self.size);
        let failed = |cause: &mongodb::error::Error, read: u64| explain(server, reading, limits, &doing, cause, read, size);

        let opened = within(limits.stall, &doing, opening.session(&mut self.session).batch());
        let mut cursor = run.until_cancelled(async { opened.await?.map_err(|cause| failed(&cause, self.read)) }).await?;
        let mut batches = cursor.stream(&mut self.session);
        let mut any = false;
        loop {
            let next = run.until_cancelled(within(limits.stall, &doing, batches.next())).await?;
            let Some(batch) = next else { return Ok(any) };
            let batch = batch.map_err(|cause| failed(&cause, self.read))?;
            self.read += batch.as_raw_document().as_bytes().len() as u64;
            if !is_empty(&batch) {
                any = true;
                if !out.put(batch).await? {
                    return Ok(any);
                }
            }
        }
    }

    /// Documents of [`BATCH`] bytes together, by the size of an average one; `None` where the server does not tell it.
    async fn batch_size(&self, query: &Query) -> Option<u32> {
        let stats = self.server.command(&query.db, doc! { "collStats": query.collection.as_str() }).await.ok()?;
        let average = whole(&stats, "avgObjSize").filter(|size| *size > 0)?;
        u32::try_from((BATCH / average).clamp(1, 1_000_000)).ok()
    }
}

fn is_empty(batch: &RawBatch) -> bool {
    batch.doc_slices().is_ok_and(|documents| documents.is_empty())
}

/// Waits for the server no longer than the limit.
async fn within<T>(limit: Option<Duration>, doing: &str, waiting: impl Future<Output = T>) -> Result<T> {
    let Some(limit) = limit else { return Ok(waiting.await) };
    tokio::time::timeout(limit, waiting).await.map_err(|_| {
        Error::new(Kind::Backup, format!("{doing}: the server sent nothing for {} s", limit.as_secs()))
            .hint("look for what holds the server up, or raise the stall timeout")
            .retryable()
    })
}

fn explain(
    server: &Server,
    reading: &Reading,
    limits: Limits,
    doing: &str,
    cause: &mongodb::error::Error,
    read: u64,
    size: Option<u64>,
) -> Error {
    if let Some(error) = reading.forgotten(cause, read, size) {
        return error.while_doing(doing);
    }
    let error = server.failed(doing, cause);
    match (code_of(cause), limits.statement) {
        (Some(code::MAX_TIME_EXPIRED), Some(limit)) => {
            error.hint(format!("the query ran longer than the statement timeout of {} s: raise it", limit.as_secs()))
        }
        (Some(code::CURSOR_NOT_FOUND | code::CURSOR_KILLED | code::QUERY_PLAN_KILLED | code::CAPPED_POSITION_LOST), _) => {
            error.hint("the server lost the cursor: it restarted, changed the collection or ended the cursor; run the backup again")
        }
        _ => error,
    }
}

/// The server ends a session, and its cursors, that is not heard of for a while: such as while the store is slow.
async fn keep_alive(client: Client, session: Document, period: Duration) {
    let mut ticks = tokio::time::interval(period.max(Duration::from_secs(1)));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let refreshed = client.database("admin").run_command(doc! { "refreshSessions": [session.clone()] }).await;
        if let Err(cause) = refreshed {
            // The next read says what it means for the dump.
            tracing::debug!(error = %cause, "refreshing a session");
        }
    }
}
