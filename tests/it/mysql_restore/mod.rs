//! MySQL and MariaDB: servers of both flavours, dumped and restored through the engine.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::Settings,
        fields::validate,
        restore::{RestoreMode, RestorePlan},
        run::{Learned, Run},
        stream::{ByteStream, PIECE, channel},
    },
    engines::{DumpFacts, DumpSource, Engine, RestoreOutcome, RestoreRequest, mysql::Mysql},
    error::Result,
};
use futures_util::{StreamExt, stream};
use mysql_async::prelude::{FromRow, Queryable};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{
    mysql::{FLAVOURS, Server, programs},
    observer::Seen,
};

mod hostile;
mod modes;
mod round_trip;
mod scripts;
mod select;
mod swap;

/// Only the programs of the tests' own servers.
pub static ENGINE: Mysql = Mysql { usual_places: false };

/// The surroundings of operations, and what they told.
pub struct Bench {
    pub scratch: TempDir,
    pub cancel: CancellationToken,
    pub seen: Arc<Seen>,
    pub tool_dirs: Vec<PathBuf>,
}

/// The plain bytes of a dump and what is known of it.
pub struct Dumped {
    pub facts: DumpFacts,
    pub dump: Bytes,
    pub tables: Vec<TableCount>,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            scratch: TempDir::new().unwrap(),
            cancel: CancellationToken::new(),
            seen: Arc::default(),
            tool_dirs: FLAVOURS.iter().map(|flavour| programs(*flavour)).collect(),
        }
    }

    /// The surroundings of one operation, in a scratch folder of its own.
    pub fn run(&self) -> Run {
        let scratch = TempDir::new_in(self.scratch.path()).unwrap().keep();
        Run {
            cancel: self.cancel.clone(),
            observer: self.seen.clone(),
            scratch,
            tool_dirs: self.tool_dirs.clone(),
            learned: Learned::default(),
        }
    }

    pub async fn dump(&self, server: &Server, database: &str, options: Value) -> Result<Dumped> {
        let options = validate(ENGINE.info().dump_options, options.as_object().unwrap())?;
        let run = self.run();
        let mut dump = ENGINE.open_dump(&settings(server, database), &options, &run).await?;
        let facts = dump.facts().clone();
        let (out, mut input) = channel();
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(piece) = input.recv().await {
                all.extend_from_slice(&piece);
            }
            Bytes::from(all)
        });
        dump.write(ArtifactKind::Dump, out, &run).await?;
        let dump = gather.await.unwrap();
        Ok(Dumped { facts, tables: inspect(&dump)?, dump })
    }

    pub async fn restore(&self, server: &Server, database: &str, dumped: &Dumped, plan: RestorePlan) -> Result<RestoreOutcome> {
        self.restore_bytes(server, database, dumped.dump.clone(), &dumped.tables, plan).await
    }

    pub async fn restore_script(
        &self,
        server: &Server,
        database: &str,
        script: impl Into<Bytes>,
        plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        self.restore_bytes(server, database, script.into(), &[], plan).await
    }

    pub async fn restore_bytes(
        &self,
        server: &Server,
        database: &str,
        dump: Bytes,
        expected: &[TableCount],
        plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        self.restore_to(&settings(server, database), dump, expected, plan).await
    }

    pub async fn restore_to(
        &self,
        settings: &Settings,
        dump: Bytes,
        expected: &[TableCount],
        mut plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        plan.engine = validate(ENGINE.info().restore_options, &plan.engine)?;
        ENGINE.restore(RestoreRequest { settings, plan: &plan, source: &Memory(dump), expected }, &self.run()).await
    }

    pub fn log(&self) -> String {
        self.seen.log.lock().unwrap().join("\n")
    }
}

/// A dump in memory.
struct Memory(Bytes);

#[async_trait]
impl DumpSource for Memory {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::PlainSql)]
    }

    async fn open(&self, _: ArtifactKind) -> Result<ByteStream> {
        let pieces: Vec<_> = self.0.chunks(PIECE).map(|piece| Ok(self.0.slice_ref(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

pub fn settings(server: &Server, database: &str) -> Settings {
    let settings = ENGINE.settings_from_url(&server.url(database)).unwrap();
    validate(ENGINE.info().connection, &settings).unwrap()
}

/// What the engine's inspector says of these bytes.
pub fn inspect(bytes: &[u8]) -> Result<Vec<TableCount>> {
    let mut inspector = ENGINE.inspector(DumpFormat::PlainSql);
    for piece in bytes.chunks(PIECE) {
        inspector.feed(piece)?;
    }
    inspector.finish()
}

pub fn plan(mode: RestoreMode, engine: Value) -> RestorePlan {
    RestorePlan { mode, engine: engine.as_object().unwrap().clone(), ..RestorePlan::default() }
}

/// A plan for a database with another name than the one of the connection.
pub fn plan_into(mode: RestoreMode, name: &str) -> RestorePlan {
    RestorePlan { target_name: Some(name.to_owned()), ..plan(mode, json!({})) }
}

pub async fn execute(server: &Server, database: &str, sql: &[&str]) {
    let mut connection = server.connect(database).await;
    for sql in sql {
        connection.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    connection.disconnect().await.unwrap();
}

pub async fn rows<T: FromRow + Send + 'static>(server: &Server, database: &str, sql: &str) -> Vec<T> {
    let mut connection = server.connect(database).await;
    let rows = connection.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.disconnect().await.unwrap();
    rows
}

pub async fn number(server: &Server, database: &str, sql: &str) -> i64 {
    rows::<(i64,)>(server, database, sql).await[0].0
}

/// Names of the server's databases that begin so.
pub async fn databases(server: &Server, beginning: &str) -> Vec<String> {
    let names: Vec<String> = rows(server, "", "SELECT schema_name FROM information_schema.schemata ORDER BY 1").await;
    names.into_iter().filter(|name| name.starts_with(beginning)).collect()
}

/// What the flavour's own dump program writes.
pub fn tool_dump(server: &Server, args: &[&str]) -> String {
    let name = if server.flavour.is_mariadb() { "mariadb-dump" } else { "mysqldump" };
    server.tool(server.flavour, name, args)
}

/// Errors that a person sees must name these things.
pub fn refused<T>(result: Result<T>, words: &[&str]) -> dbsnap::error::Error {
    let Err(error) = result else { panic!("expected an error with {words:?}") };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
    error
}
