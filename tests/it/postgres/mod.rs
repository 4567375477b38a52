//! PostgreSQL: servers of four major releases, dumped and restored through the engine.

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
    engines::{DumpFacts, DumpSource, Engine, RestoreOutcome, RestoreRequest, postgres::Postgres},
    error::Result,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{
    observer::Seen,
    postgres::{MAJORS, Server, programs},
};

mod account;
mod archives;
mod faults;
mod hostile;
mod modes;
mod options;
mod round_trip;
mod rows;
mod rows_fast;
mod rows_moment;
mod rows_target;
mod scripts;
mod swap;
mod tls;

/// Only the programs of the tests' own servers.
pub static ENGINE: Postgres = Postgres { usual_places: false };

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
    pub globals: Option<Bytes>,
    pub tables: Vec<TableCount>,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            scratch: TempDir::new().unwrap(),
            cancel: CancellationToken::new(),
            seen: Arc::default(),
            tool_dirs: MAJORS.iter().map(|major| programs(*major)).collect(),
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
            limits: Default::default(),
        }
    }

    pub async fn dump(&self, server: &Server, database: &str, options: Value) -> Result<Dumped> {
        self.dump_with(&settings(server, database), options).await
    }

    pub async fn dump_with(&self, settings: &Settings, options: Value) -> Result<Dumped> {
        let options = validate(ENGINE.info().dump_options, options.as_object().unwrap())?;
        let run = self.run();
        let mut dump = ENGINE.open_dump(settings, &options, false, &run).await?;
        let facts = dump.facts().clone();
        let mut parts = Vec::new();
        for (part, _) in dump.parts() {
            let (out, mut input) = channel();
            let gather = tokio::spawn(async move {
                let mut all = Vec::new();
                while let Some(piece) = input.recv().await {
                    all.extend_from_slice(&piece);
                }
                Bytes::from(all)
            });
            dump.write(part, out, &run).await?;
            parts.push(gather.await.unwrap());
        }
        let mut parts = parts.into_iter();
        let dump = parts.next().unwrap();
        Ok(Dumped { facts, tables: inspect(DumpFormat::PgCustom, &dump)?, dump, globals: parts.next() })
    }

    pub async fn restore(&self, server: &Server, database: &str, dumped: &Dumped, plan: RestorePlan) -> Result<RestoreOutcome> {
        let mut parts = vec![(ArtifactKind::Dump, DumpFormat::PgCustom, dumped.dump.clone())];
        parts.extend(dumped.globals.clone().map(|globals| (ArtifactKind::Globals, DumpFormat::PlainSql, globals)));
        self.restore_parts(server, database, parts, &dumped.tables, plan).await
    }

    /// Restores the archive alone.
    pub async fn restore_with(&self, settings: &Settings, dumped: &Dumped, plan: RestorePlan) -> Result<RestoreOutcome> {
        let source = Memory(vec![(ArtifactKind::Dump, DumpFormat::PgCustom, dumped.dump.clone())]);
        let plan = RestorePlan { engine: validate(ENGINE.info().restore_options, &plan.engine)?, ..plan };
        ENGINE.restore(RestoreRequest { settings, plan: &plan, source: &source, expected: &dumped.tables }, &self.run()).await
    }

    pub async fn restore_script(&self, server: &Server, database: &str, script: &str, plan: RestorePlan) -> Result<RestoreOutcome> {
        let parts = vec![(ArtifactKind::Dump, DumpFormat::PlainSql, Bytes::from(script.to_owned()))];
        self.restore_parts(server, database, parts, &[], plan).await
    }

    pub async fn restore_parts(
        &self,
        server: &Server,
        database: &str,
        parts: Vec<(ArtifactKind, DumpFormat, Bytes)>,
        expected: &[TableCount],
        mut plan: RestorePlan,
    ) -> Result<RestoreOutcome> {
        plan.engine = validate(ENGINE.info().restore_options, &plan.engine)?;
        let settings = settings(server, database);
        ENGINE.restore(RestoreRequest { settings: &settings, plan: &plan, source: &Memory(parts), expected }, &self.run()).await
    }

    pub fn log(&self) -> String {
        self.seen.log.lock().unwrap().join("\n")
    }
}

/// Parts of a backup in memory.
struct Memory(Vec<(ArtifactKind, DumpFormat, Bytes)>);

#[async_trait]
impl DumpSource for Memory {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        self.0.iter().map(|(part, format, _)| (*part, *format)).collect()
    }

    async fn open(&self, part: ArtifactKind) -> Result<ByteStream> {
        let bytes = &self.0.iter().find(|(kind, ..)| *kind == part).expect("a part that was promised").2;
        let pieces: Vec<_> = bytes.chunks(PIECE).map(|piece| Ok(bytes.slice_ref(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

pub fn settings(server: &Server, database: &str) -> Settings {
    let settings = ENGINE.settings_from_url(&server.url(database)).unwrap();
    validate(ENGINE.info().connection, &settings).unwrap()
}

/// What the engine's inspector says of these bytes.
pub fn inspect(format: DumpFormat, bytes: &[u8]) -> Result<Vec<TableCount>> {
    let mut inspector = ENGINE.inspector(format);
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

/// Names of the server's databases.
pub async fn databases(server: &Server) -> Vec<String> {
    let rows = server.connect("postgres").await.query("SELECT datname FROM pg_database ORDER BY 1", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

pub async fn number(server: &Server, database: &str, sql: &str) -> i64 {
    server.connect(database).await.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
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
