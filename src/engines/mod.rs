//! Database engines. A new one is a folder here and a line in [`registry`].
//!
//! Engines know how to talk to a server or a file; they know nothing of stores, encryption or the catalogue.

use std::{
    fs::OpenOptions,
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use async_trait::async_trait;
use futures_util::StreamExt;
use serde::Serialize;
use url::Url;

use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::{Probe, Settings},
        fields::Field,
        restore::{RestoreContent, RestoreMode, RestorePlan},
        run::Run,
        stream::{ByteSender, ByteStream, PIECE, channel},
        time::Moment,
    },
    error::{Context, Error, Kind, Result},
};

pub mod mongodb;
pub mod mysql;
pub mod network;
mod numbers;
pub mod postgres;
pub mod process;
pub mod rows;
pub mod sqlite;

pub use rows::{Applied, ApplyOptions, KeyRange, OnConflict, Order, RowSource, RowTarget, Script, SourceFacts, insert_order};

/// What the names of databases begin with that a verification makes and removes.
pub const SCRATCH: &str = "dbsnap_verify_";

/// Every engine of this build, in the order people see them.
pub fn registry() -> &'static [&'static dyn Engine] {
    &[&postgres::Postgres { usual_places: true }, &mysql::Mysql { usual_places: true }, &mongodb::Mongodb, &sqlite::Sqlite]
}

/// The engine with this id (`postgresql`, `mysql`).
pub fn find(id: &str) -> Result<&'static dyn Engine> {
    registry().iter().copied().find(|engine| engine.info().id == id).ok_or_else(|| {
        let known: Vec<_> = registry().iter().map(|engine| engine.info().id).collect();
        Error::validation(format!("engine '{id}' is not known")).hint(format!("use one of: {}", known.join(", ")))
    })
}

/// The engine and connection settings that a URL such as `postgresql://user:pw@host/db` names.
pub fn from_url(text: &str) -> Result<(&'static dyn Engine, Settings)> {
    let hint = "write it as postgresql://user:password@host:5432/name, mysql://..., mongodb://... or sqlite:///path/file.db";
    // The URL may hold a password: it is not repeated.
    let (scheme, _) = text.split_once(':').ok_or_else(|| Error::validation("the database URL has no scheme").hint(hint))?;
    let scheme = scheme.to_ascii_lowercase();
    let engine = registry().iter().copied().find(|engine| engine.info().schemes.contains(&scheme.as_str())).ok_or_else(|| {
        let known: Vec<_> = registry().iter().flat_map(|engine| engine.info().schemes).copied().collect();
        Error::validation(format!("no engine reads '{scheme}:' URLs")).hint(format!("use one of: {}", known.join(", ")))
    })?;
    Ok((engine, engine.settings_from_url(text)?))
}

/// A URL with one host. Errors without repeating it, because it may hold a password.
pub(crate) fn parse_url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|cause| {
        Error::validation(format!("the database URL cannot be read: {cause}"))
            .hint("write it as scheme://user:password@host:port/name, with special characters percent-encoded")
    })
}

/// What an engine is and can do, as data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineInfo {
    pub id: &'static str,
    pub label: &'static str,
    /// Name of a symbol in static/icons.svg.
    pub icon: &'static str,
    pub schemes: &'static [&'static str],
    pub connection: &'static [Field],
    pub dump_options: &'static [Field],
    /// Which of the dump options name the tables to take, and which those to leave out; `None` where a dump holds all of them.
    pub table_lists: Option<[&'static str; 2]>,
    pub restore_options: &'static [Field],
    pub restore_modes: &'static [RestoreMode],
    pub restore_contents: &'static [RestoreContent],
    /// The connection field that names the database itself; a restore into another one replaces it.
    pub target_field: &'static str,
    /// Chosen tables can be restored.
    pub restore_tables: bool,
    /// Other sessions on the target can be ended.
    pub end_connections: bool,
    /// Plain dump formats that a restore reads.
    pub formats: &'static [DumpFormat],
}

/// A database engine. Settings and options passed in are validated against `info()` and hold secrets in clear.
#[async_trait]
pub trait Engine: Send + Sync {
    fn info(&self) -> &'static EngineInfo;

    /// Connection settings from a URL with one of `info().schemes`.
    fn settings_from_url(&self, url: &str) -> Result<Settings>;

    /// Where the settings point, for people and without secrets, such as `app@db.internal:5432/shop`.
    fn address(&self, settings: &Settings) -> String;

    /// Connects and looks around; changes nothing.
    async fn probe(&self, settings: &Settings, run: &Run) -> Result<Probe>;

    /// Connections that do something in the database now, this one not counted; `None` where that cannot be told.
    async fn active_connections(&self, _settings: &Settings, _run: &Run) -> Result<Option<u32>> {
        Ok(None)
    }

    /// What a dump with these options holds, where that is not the whole database: such as "schema only".
    fn partial(&self, _options: &Settings) -> Option<&'static str> {
        None
    }

    /// Opens one consistent moment of the database. The moment ends when the returned value is dropped.
    /// Errors when the server cannot be reached or no installed tool can dump it.
    ///
    /// `with_rows`: [`Dump::source`] will be asked for the same moment.
    async fn open_dump(&self, settings: &Settings, options: &Settings, with_rows: bool, run: &Run) -> Result<Box<dyn Dump>>;

    /// Opens one consistent moment for reading rows, without a dump. `options` are dump options: those that choose tables
    /// and set timeouts count.
    async fn open_source(&self, settings: &Settings, options: &Settings, run: &Run) -> Result<Box<dyn RowSource>>;

    /// Opens the database in `settings` for writing changes into it.
    async fn open_target(&self, settings: &Settings, run: &Run) -> Result<Box<dyn RowTarget>>;

    /// Writes changes as statements; `None` where the engine has no such language (MongoDB: JSON alone).
    fn script(&self) -> Option<&'static dyn Script> {
        None
    }

    /// Removes a database that a verification made, and nothing else: `settings` name it, and its name begins with
    /// `dbsnap_verify_`. Errors for every other name.
    async fn drop_scratch(&self, settings: &Settings, run: &Run) -> Result<()>;

    /// Reads the plain bytes of an artifact as they pass: finds the tables and the end mark.
    fn inspector(&self, format: DumpFormat) -> Box<dyn Inspector>;

    /// Recognises an upload by its first bytes (at least 1 KiB where it has them, plain).
    fn recognise(&self, head: &[u8]) -> Option<DumpFormat>;

    /// Restores. The input is read to its end, and so proven whole, before anything in the target is changed;
    /// afterwards the rows in the target are counted.
    async fn restore(&self, request: RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome>;
}

/// One open dump: a consistent moment and the parts that can be read from it.
#[async_trait]
pub trait Dump: Send {
    fn facts(&self) -> &DumpFacts;

    /// The parts this dump yields, in order.
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)>;

    /// Writes the plain bytes of one part. `Ok` means the tool ended well and every byte was sent.
    /// On a cancel or an error every child process has ended before this returns.
    async fn write(&mut self, part: ArtifactKind, out: ByteSender, run: &Run) -> Result<()>;

    /// Rows and schema of the dump's own moment, in the dump's own scope; asked for once, after the parts were written.
    /// What could not be made the same instant is among its warnings.
    async fn source(&mut self, run: &Run) -> Result<Box<dyn RowSource>>;
}

/// What is known of a dump once its moment is open.
#[derive(Debug, Clone)]
pub struct DumpFacts {
    pub moment: Moment,
    /// Such as `PostgreSQL 17.2`.
    pub server_version: String,
    /// Such as `pg_dump 17.2`.
    pub tool_version: Option<String>,
    /// Size of the database, bytes: for progress and the free-space check; an estimate.
    pub size: Option<u64>,
    pub tables: Option<u64>,
    /// Exact rows per table at the moment, where the engine knows them before the dump is written and its inspector
    /// cannot count them in the stream (a SQLite file). They then stand for what `Inspector::finish` returns.
    pub counts: Option<Vec<TableCount>>,
    pub warnings: Vec<String>,
}

/// Reads plain dump bytes as they pass. Not async: it runs on the pipeline's thread, on hostile input too
/// (uploads), so it must neither panic nor hold more than a bounded part of its input.
pub trait Inspector: Send {
    /// Takes the next bytes. Errors when they cannot be part of such a dump.
    fn feed(&mut self, bytes: &[u8]) -> Result<()>;

    /// Rows and the table in work so far, for progress.
    fn seen(&self) -> (u64, Option<String>);

    /// The end of the input. Errors when the dump is cut short or its end mark is missing.
    fn finish(&mut self) -> Result<Vec<TableCount>>;
}

/// What a restore is given.
pub struct RestoreRequest<'a> {
    /// Connection settings of the target; `plan.target_name` replaces the database in them.
    pub settings: &'a Settings,
    /// Validated against `info().restore_options` in its `engine` part.
    pub plan: &'a RestorePlan,
    pub source: &'a dyn DumpSource,
    /// Rows per table as the manifest has them; empty when unknown (uploads).
    pub expected: &'a [TableCount],
}

/// Where a restore reads plain bytes from. A stream that ends without `Err` was authentic and whole.
#[async_trait]
pub trait DumpSource: Send + Sync {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)>;

    /// Opens a part from its beginning; may be called again.
    async fn open(&self, part: ArtifactKind) -> Result<ByteStream>;
}

/// What a restore did.
#[derive(Debug, Clone, Default)]
pub struct RestoreOutcome {
    /// Rows counted in the target afterwards, for every restored table.
    pub tables: Vec<TableCount>,
    pub warnings: Vec<String>,
}

/// Writes a stream to a new file (0600), such as one in a run's scratch folder, while `feed` lets `seer` see it pass;
/// returns what has seen it. Seeing and writing have a thread of their own, beside whatever the stream comes from.
pub(crate) async fn spool<T: Send + 'static>(
    mut stream: ByteStream,
    path: &Path,
    mut seer: T,
    feed: fn(&mut T, &[u8]) -> Result<()>,
    run: &Run,
) -> Result<T> {
    let naming = format!("writing {}", path.display());
    let (pieces, mut arriving) = channel();
    let writer = tokio::task::spawn_blocking({
        let (naming, path) = (naming.clone(), path.to_owned());
        move || {
            let failed = || naming.clone();
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).context(Kind::Storage, failed)?;
            let mut file = BufWriter::with_capacity(PIECE, file);
            while let Some(piece) = arriving.blocking_recv() {
                feed(&mut seer, &piece)?;
                file.write_all(&piece).context(Kind::Storage, failed)?;
            }
            // Never synced: a file that a crash may lose is a file less to remove.
            file.flush().context(Kind::Storage, failed)?;
            Ok(seer)
        }
    });
    let reading = async {
        while let Some(piece) = stream.next().await.transpose()? {
            if pieces.send(piece).await.is_err() {
                // The writer has failed and says why.
                break;
            }
        }
        Ok(())
    };
    let read = run.until_cancelled(reading).await;
    drop(pieces);
    let seer = writer.await.context(Kind::Internal, || naming)?;
    read.and(seer)
}
