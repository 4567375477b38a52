//! SQLite: real files, written by this process and by others while they are dumped and restored.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

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
    engines::{DumpFacts, DumpSource, Engine, RestoreOutcome, RestoreRequest, find},
    error::{Error, Result},
};
use futures_util::{StreamExt, stream};
use rusqlite::{
    Connection,
    types::{Value, ValueRef},
};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::observer::Seen;

mod changes;
mod dump;
mod hostile;
mod live;
mod restore;
mod round_trip;
mod rows;

pub fn engine() -> &'static dyn Engine {
    find("sqlite").unwrap()
}

/// A folder with databases, and the surroundings of one operation after the other.
pub struct Bench {
    folder: TempDir,
    pub cancel: CancellationToken,
    pub seen: Arc<Seen>,
    /// Seconds to wait for locks.
    pub patience: u32,
}

/// The bytes of a dump and what was told of it.
pub struct Dumped {
    pub bytes: Bytes,
    pub facts: DumpFacts,
}

impl Dumped {
    pub fn counts(&self) -> Vec<TableCount> {
        self.facts.counts.clone().expect("SQLite counts rows")
    }
}

impl Bench {
    pub fn new() -> Self {
        let bench =
            Self { folder: TempDir::new().unwrap(), cancel: CancellationToken::new(), seen: Arc::new(Seen::default()), patience: 20 };
        std::fs::create_dir(bench.scratch()).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    /// A new database made by `sql`.
    pub fn database(&self, name: &str, sql: &str) -> (PathBuf, Connection) {
        let path = self.path(name);
        let connection = open(&path);
        connection.execute_batch(sql).unwrap();
        (path, connection)
    }

    pub fn run(&self) -> Run {
        Run {
            cancel: self.cancel.clone(),
            observer: self.seen.clone(),
            scratch: self.scratch(),
            tool_dirs: Vec::new(),
            learned: Learned::default(),
            limits: Default::default(),
        }
    }

    pub fn cancel_at(&self, stage: &'static str) {
        *self.seen.cancel_at.lock().unwrap() = Some((stage, self.cancel.clone()));
    }

    pub async fn dump(&self, path: &Path) -> Result<Dumped> {
        let options = validate(engine().info().dump_options, json!({"busyTimeout": self.patience}).as_object().unwrap())?;
        let run = self.run();
        let mut dump = engine().open_dump(&settings(path), &options, false, &run).await?;
        assert_eq!(dump.parts(), [(ArtifactKind::Dump, DumpFormat::SqliteFile)]);
        let (out, mut input) = channel();
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(piece) = input.recv().await {
                all.extend_from_slice(&piece);
            }
            all
        });
        let facts = dump.facts().clone();
        dump.write(ArtifactKind::Dump, out, &run).await?;
        Ok(Dumped { bytes: gather.await.unwrap().into(), facts })
    }

    pub async fn restore(&self, dumped: &Dumped, into: &Path, plan: RestorePlan) -> Result<RestoreOutcome> {
        self.restore_bytes(dumped.bytes.clone(), &dumped.counts(), into, plan).await
    }

    pub async fn restore_bytes(&self, bytes: Bytes, expected: &[TableCount], into: &Path, mut plan: RestorePlan) -> Result<RestoreOutcome> {
        plan.engine.insert("busyTimeout".into(), self.patience.into());
        plan.engine = validate(engine().info().restore_options, &plan.engine)?;
        let source = Upload(bytes);
        let settings = settings(into);
        engine().restore(RestoreRequest { settings: &settings, plan: &plan, source: &source, expected }, &self.run()).await
    }

    /// Names in the folder, without the scratch folder, which must be empty.
    pub fn files(&self) -> Vec<String> {
        assert_eq!(std::fs::read_dir(self.scratch()).unwrap().count(), 0, "temporary files were left");
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "scratch").collect();
        names.sort();
        names
    }
}

/// A dump in memory, as the pipeline or an upload hands it over.
struct Upload(Bytes);

#[async_trait]
impl DumpSource for Upload {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::SqliteFile)]
    }

    async fn open(&self, _: ArtifactKind) -> Result<ByteStream> {
        let pieces: Vec<_> = self.0.chunks(PIECE).map(|piece| Ok(self.0.slice_ref(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

pub fn plan(mode: RestoreMode) -> RestorePlan {
    RestorePlan { mode, ..RestorePlan::default() }
}

pub fn settings(path: &Path) -> Settings {
    validate(engine().info().connection, json!({"path": path}).as_object().unwrap()).unwrap()
}

/// A connection as an application has it.
pub fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection
}

/// Every row that a query answers.
pub fn rows(connection: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let columns = statement.column_count();
    // Text that is not UTF-8, which SQLite stores as it is, is told apart by its bytes.
    let cell = |value: ValueRef<'_>| Value::try_from(value).unwrap_or_else(|_| Value::Blob(format!("not UTF-8: {value:?}").into()));
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get_ref(at).map(cell)).collect::<rusqlite::Result<Vec<Value>>>();
    statement.query_map([], row).unwrap().collect::<rusqlite::Result<_>>().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

pub fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Schema and rows of a whole database, to compare two of them. `sqlite_schema` without the places of pages.
pub fn content(path: &Path) -> Vec<(String, Vec<Vec<Value>>)> {
    let connection = open(path);
    let mut content =
        vec![("schema".to_owned(), rows(&connection, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"))];
    let names = rows(
        &connection,
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type <> 'view' AND name <> 'sqlite_schema' ORDER BY name",
    );
    for name in names {
        let (Value::Text(name), Value::Integer(without_rowid)) = (&name[0], &name[1]) else { panic!("a name") };
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let (columns, order) = if *without_rowid == 1 { ("*", "1, 2") } else { ("rowid, *", "rowid") };
        content.push((name.clone(), rows(&connection, &format!("SELECT {columns} FROM {quoted} ORDER BY {order}"))));
    }
    content
}

pub fn expect_error<T>(result: Result<T>, parts: &[&str]) -> Error {
    let error = result.err().expect("it is refused");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "'{part}' is missing in: {text}");
    }
    error
}
