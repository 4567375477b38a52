//! Writes a snapshot from the rows of a live database straight into a store.
//!
//! The engine sends rows; a thread sorts where that is needed, cuts, compresses and seals; the store takes the bytes as they
//! come. Every channel between them is bounded. Whatever fails, the store keeps nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{
    keys,
    live::{LiveCursor, feed, live},
};
use crate::{
    domain::{
        artifact::TableCount,
        backup::SnapshotOptions,
        events::Progress,
        run::Run,
        store::ObjectInfo,
        stream::{ByteStream, DEPTH},
    },
    engines::{KeyRange, RowSource},
    error::{Context, Error, Kind, Result},
    pipeline::keys::KeyRing,
    snapshot::{RowCursor, Schema, SnapshotFacts, Table, TableEntry, TableName, Writer},
    stores::Store,
};

/// How a snapshot is made.
pub struct Spec<'a> {
    pub engine: &'a str,
    /// The database's name, in clear at the beginning of the file.
    pub database: &'a str,
    pub options: &'a SnapshotOptions,
    /// By the engine's options it holds a part of the database.
    pub partial: bool,
    /// Seals it; `None` leaves it readable.
    pub keys: Option<&'a KeyRing>,
}

/// A snapshot that a store holds.
#[derive(Debug)]
pub struct Written {
    /// What the store says of it.
    pub object: ObjectInfo,
    /// Bytes sent.
    pub size: u64,
    /// Of the bytes sent, hex.
    pub sha256: String,
    pub tables: Vec<TableEntry>,
    /// What a person should know of it: those of the source, and samples.
    pub warnings: Vec<String>,
}

impl Written {
    /// Rows as the database has them, sampled tables included.
    pub fn seen(&self) -> Vec<TableCount> {
        self.tables.iter().map(|table| count(&table.name, table.seen)).collect()
    }

    /// Rows that are in it.
    pub fn kept(&self) -> Vec<TableCount> {
        self.tables.iter().map(|table| count(&table.name, table.rows)).collect()
    }
}

/// A table's rows as manifests have them.
pub fn count(name: &TableName, rows: u64) -> TableCount {
    TableCount { schema: name.schema.clone(), name: name.name.clone(), rows }
}

/// What the writing thread is told, in this order: tables, then the end.
enum Step {
    Table(Box<(Table, LiveCursor)>),
    End(Schema, SnapshotFacts),
}

/// Why the writing thread ended without a snapshot.
enum Stop {
    /// Whoever tells it the tables has failed, and says why.
    GivenUp,
    /// The store has failed, and says why.
    StoreGone,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What goes to the store: `Ok(None)` is the proper end.
type Piece = Result<Option<Bytes>>;

/// Writes the snapshot of everything in `source` under `key`.
pub async fn write(source: &mut dyn RowSource, spec: &Spec<'_>, store: &dyn Store, key: &str, run: &Run) -> Result<Written> {
    let (steps, told) = mpsc::channel(1);
    let (pieces, body) = mpsc::channel(DEPTH);
    let thread = Thread {
        engine: spec.engine.to_owned(),
        database: spec.database.to_owned(),
        options: spec.options.clone(),
        keys: spec.keys.cloned(),
        run: run.clone(),
    };
    let (writing, read, stored) = {
        let writer = tokio::task::spawn_blocking(move || thread.write(told, pieces));
        let reading = send_tables(source, spec, steps, run);
        let (read, stored) = tokio::join!(reading, store.put(key, into_stream(body)));
        (writer.await.context(Kind::Internal, || "writing the snapshot".into())?, read, stored)
    };
    if run.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    match (writing, read, stored) {
        (Ok(done), Ok(warnings), Ok(object)) => Ok(Written { object, size: done.size, sha256: done.sha256, tables: done.tables, warnings }),
        (Err(Stop::Failed(error)), ..) => Err(error),
        (Err(Stop::StoreGone) | Ok(_), _, Err(error)) => Err(error),
        (_, Err(error), _) => Err(error),
        (Err(Stop::GivenUp | Stop::StoreGone), ..) => Err(Error::internal("the snapshot was given up without a cause")),
    }
}

/// Tells the thread each table while the engine sends its rows. Returns the warnings.
async fn send_tables(source: &mut dyn RowSource, spec: &Spec<'_>, steps: mpsc::Sender<Step>, run: &Run) -> Result<Vec<String>> {
    let schema = source.schema().clone();
    let facts = source.facts().clone();
    let mut warnings = facts.warnings.clone();
    let sampled: Vec<_> = schema.tables.iter().filter_map(|table| Some((&table.name, share(spec.options, &table.name)?))).collect();
    for (name, share) in &sampled {
        warnings.push(format!("the snapshot has a sample of {name}: {} of its rows", percent(*share)));
    }
    for table in &schema.tables {
        run.check()?;
        let (sender, cursor) = live(table, source.order(table), run)?;
        if steps.send(Step::Table(Box::new((table.clone(), cursor)))).await.is_err() {
            return Err(gone());
        }
        feed(source, table, &KeyRange::all(), sender, run).await.map_err(|error| error.while_doing(format!("reading {}", table.name)))?;
    }
    let facts = SnapshotFacts {
        engine: spec.engine.to_owned(),
        database: spec.database.to_owned(),
        moment: facts.moment,
        server_version: facts.server_version,
        marks: facts.marks,
        warnings: warnings.clone(),
        partial: spec.partial || !sampled.is_empty(),
        dbsnap_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    steps.send(Step::End(schema, facts)).await.map_err(|_| gone())?;
    Ok(warnings)
}

fn share(options: &SnapshotOptions, name: &TableName) -> Option<f64> {
    options.share(&name.to_string(), &name.name)
}

fn percent(share: f64) -> String {
    format!("{}%", (share * 10_000.0).round() / 100.0)
}

/// The thread's own error is the one that counts.
fn gone() -> Error {
    Error::new(Kind::Backup, "the snapshot's writer stopped")
}

/// The writing thread.
struct Thread {
    engine: String,
    database: String,
    options: SnapshotOptions,
    keys: Option<KeyRing>,
    run: Run,
}

struct Done {
    size: u64,
    sha256: String,
    tables: Vec<TableEntry>,
}

impl Thread {
    fn write(&self, mut told: mpsc::Receiver<Step>, pieces: mpsc::Sender<Piece>) -> Result<Done, Stop> {
        let written = self.write_all(&mut told, &pieces);
        // A store that hears no proper end keeps nothing. When it is gone, nobody is left to tell.
        let last = match &written {
            Ok(_) => Ok(None),
            Err(Stop::Failed(error)) => Err(copy(error)),
            Err(Stop::GivenUp | Stop::StoreGone) => Err(Error::new(Kind::Backup, "the snapshot was given up before its end")),
        };
        let told_end = pieces.blocking_send(last);
        match (written, told_end) {
            (Ok(_), Err(_)) => Err(Stop::StoreGone),
            (written, _) => written,
        }
    }

    fn write_all(&self, told: &mut mpsc::Receiver<Step>, pieces: &mpsc::Sender<Piece>) -> Result<Done, Stop> {
        let digest = std::sync::Arc::new(std::sync::Mutex::new(Counted::default()));
        let out = Box::new({
            let (pieces, digest) = (pieces.clone(), digest.clone());
            move |bytes: Bytes| {
                digest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(&bytes);
                pieces.blocking_send(Ok(Some(bytes))).map_err(|_| gone())
            }
        });
        // An error of the writer while the store is gone is only its echo.
        let stop = |error: Error| if pieces.is_closed() { Stop::StoreGone } else { Stop::Failed(error) };
        let mut writer = Writer::new(out, self.keys.as_ref().map(keys::lock), &self.engine, &self.database).map_err(stop)?;
        let mut tables = Vec::new();
        loop {
            match told.blocking_recv() {
                Some(Step::Table(told)) => {
                    let (table, mut rows) = *told;
                    writer.begin(&table, share(&self.options, &table.name)).map_err(stop)?;
                    match self.copy_rows(&table, &mut rows, &mut writer, tables.len()) {
                        Ok(()) => {}
                        // The reader's own error says why.
                        Err(_) if rows.broke_off() => return Err(Stop::GivenUp),
                        Err(error) => return Err(stop(error)),
                    }
                    tables.push(writer.end().map_err(stop)?);
                }
                Some(Step::End(schema, facts)) => {
                    writer.finish(&schema, &facts).map_err(stop)?;
                    let counted = std::mem::take(&mut *digest.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                    let (size, sha256) = counted.finish();
                    return Ok(Done { size, sha256, tables });
                }
                None => return Err(Stop::GivenUp),
            }
        }
    }

    fn copy_rows(&self, table: &Table, rows: &mut LiveCursor, writer: &mut Writer, done: usize) -> Result<()> {
        let mut progress = Progress {
            stage: "writing the snapshot".into(),
            tables: Some(done as u64),
            table: Some(table.name.to_string()),
            ..Progress::default()
        };
        let mut told: Option<Instant> = None;
        let mut copied = 0_u64;
        while let Some(row) = rows.peek()? {
            let size = row.key.len() + row.value.len();
            writer.push(row)?;
            rows.advance()?;
            progress.bytes += size as u64;
            copied += 1;
            if copied.is_multiple_of(1024) && told.is_none_or(|told| told.elapsed() >= Duration::from_millis(200)) {
                self.run.check()?;
                told = Some(Instant::now());
                progress.rows = Some(copied);
                self.run.progress(&progress);
            }
        }
        Ok(())
    }
}

/// Size and SHA-256 of what was sent.
#[derive(Default)]
struct Counted {
    size: u64,
    hash: Sha256,
}

impl Counted {
    fn take(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn finish(self) -> (u64, String) {
        (self.size, hex::encode(self.hash.finalize()))
    }
}

/// The pieces as the store takes them. A thread that stopped without its last word shows as an error.
fn into_stream(body: mpsc::Receiver<Piece>) -> ByteStream {
    Box::pin(stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match body.recv().await.unwrap_or_else(|| Err(Error::internal("the snapshot's writer stopped before its end"))) {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(body))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// An error is told twice: to the store, and to whoever waits for the snapshot.
fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.kind, error.to_string());
    copy.retryable = error.retryable;
    copy
}
