//! What every engine must do, through the trait alone. An engine's part of this file is its configuration: how to make
//! a database with known rows, and a name to restore it under.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::Settings,
        fields::validate,
        restore::{RestoreMode, RestorePlan},
        run::{Learned, Run, Silent},
        stream::{ByteStream, channel},
    },
    engines::{Dump, DumpSource, Engine, RestoreOutcome, RestoreRequest, registry},
    error::{Error, Kind, Result},
};
use futures_util::{StreamExt, stream};
use serde_json::Map;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::{Server, programs, shared};

/// A database to test an engine with.
struct Subject {
    engine: &'static dyn Engine,
    settings: Settings,
    /// Where `RestoreMode::New` can go.
    free_name: String,
    /// Settings of a database that is not there.
    missing: Settings,
    /// Rows by table.
    rows: Vec<(&'static str, u64)>,
    home: Home,
}

/// Where a subject's databases are.
enum Home {
    Folder(TempDir),
    /// The one called so, and those beside it.
    Server(&'static Server, String),
}

impl Subject {
    /// Names of the files or databases that are there.
    async fn surroundings(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.home {
            Home::Folder(folder) => {
                let entries = std::fs::read_dir(folder.path()).unwrap();
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
            }
            Home::Server(server, prefix) => {
                let sql = "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $1 || '_')";
                server.connect("postgres").await.query(sql, &[prefix]).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        };
        names.sort();
        names
    }
}

/// One line per engine of the registry.
async fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for engine in registry() {
        subjects.push(match engine.info().id {
            "postgresql" => postgresql(*engine).await,
            "sqlite" => sqlite(*engine),
            id => panic!("engine '{id}' has no subject to test it with"),
        });
    }
    subjects
}

async fn postgresql(engine: &'static dyn Engine) -> Subject {
    let server = shared(15);
    let name = server.database("conformance").await;
    let sql = "CREATE TABLE customers AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 9000) i; CREATE TABLE unsold (a int)";
    server.connect(&name).await.batch_execute(sql).await.unwrap();
    let settings = |name: &str| {
        let settings = engine.settings_from_url(&server.url(name)).unwrap();
        validate(engine.info().connection, &settings).unwrap()
    };
    Subject {
        engine,
        settings: settings(&name),
        free_name: format!("{name}_new"),
        missing: settings(&format!("{name}_missing")),
        rows: vec![("customers", 9000), ("unsold", 0)],
        home: Home::Server(server, name),
    }
}

fn sqlite(engine: &'static dyn Engine) -> Subject {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let settings = |name: &str| Settings::from_iter([("path".to_owned(), at(name).into())]);
    let connection = rusqlite::Connection::open(at("shop.db")).unwrap();
    let sql = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name); CREATE TABLE unsold (a);
               WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) INSERT INTO customers SELECT i, randomblob(200) FROM n";
    connection.execute_batch(sql).unwrap();
    Subject {
        engine,
        settings: settings("shop.db"),
        free_name: at("new.db"),
        missing: settings("missing.db"),
        rows: vec![("customers", 9000), ("unsold", 0)],
        home: Home::Folder(folder),
    }
}

/// The surroundings of one operation, with a scratch folder that goes afterwards.
struct Bench {
    run: Run,
    _scratch: TempDir,
}

fn bench() -> Bench {
    let scratch = TempDir::new().unwrap();
    let run = Run {
        cancel: CancellationToken::new(),
        observer: Arc::new(Silent),
        scratch: scratch.path().to_owned(),
        tool_dirs: vec![programs(15)],
        learned: Learned::default(),
    };
    Bench { run, _scratch: scratch }
}

fn cancelled_bench() -> Bench {
    let bench = bench();
    bench.run.cancel.cancel();
    bench
}

struct Taken {
    parts: Vec<(ArtifactKind, DumpFormat, Bytes)>,
    counts: Vec<TableCount>,
}

#[async_trait]
impl DumpSource for Taken {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        self.parts.iter().map(|(kind, format, _)| (*kind, *format)).collect()
    }

    async fn open(&self, part: ArtifactKind) -> Result<ByteStream> {
        let found = self.parts.iter().find(|(kind, ..)| *kind == part).ok_or_else(|| Error::not_found(part))?;
        Ok(stream::iter([Ok(found.2.clone())]).boxed())
    }
}

async fn open(subject: &Subject, run: &Run) -> Result<Box<dyn Dump>> {
    let options = validate(subject.engine.info().dump_options, &Map::new()).unwrap();
    subject.engine.open_dump(&subject.settings, &options, run).await
}

/// Takes a dump as a backup does: the inspector sees every byte.
async fn take(subject: &Subject) -> Taken {
    let bench = bench();
    let run = &bench.run;
    let mut dump = open(subject, run).await.unwrap();
    let mut taken = Taken { parts: Vec::new(), counts: dump.facts().counts.clone().unwrap_or_default() };
    for (kind, format) in dump.parts() {
        let (out, mut input) = channel();
        let mut inspector = subject.engine.inspector(format);
        let gather = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(piece) = input.recv().await {
                inspector.feed(&piece).unwrap();
                all.extend_from_slice(&piece);
            }
            (all, inspector.finish().unwrap())
        });
        dump.write(kind, out, run).await.unwrap();
        let (all, counts) = gather.await.unwrap();
        taken.counts.extend(counts);
        taken.parts.push((kind, format, all.into()));
    }
    taken
}

async fn restore(subject: &Subject, source: &dyn DumpSource, expected: &[TableCount], bench: Bench) -> Result<RestoreOutcome> {
    let engine = validate(subject.engine.info().restore_options, &Map::new()).unwrap();
    let plan = RestorePlan { mode: RestoreMode::New, target_name: Some(subject.free_name.clone()), engine, ..RestorePlan::default() };
    subject.engine.restore(RestoreRequest { settings: &subject.settings, plan: &plan, source, expected }, &bench.run).await
}

fn rows(counts: &[TableCount]) -> Vec<(&str, u64)> {
    let mut rows: Vec<_> = counts.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_dump_restores_to_the_same_rows() {
    for subject in subjects().await {
        let taken = take(&subject).await;
        assert_eq!(rows(&taken.counts), subject.rows, "{}", subject.engine.info().id);
        let outcome = restore(&subject, &taken, &taken.counts, bench()).await.unwrap();
        assert_eq!(rows(&outcome.tables), subject.rows);
        let again = restore(&subject, &taken, &taken.counts, bench()).await.unwrap_err();
        assert_eq!(again.kind, Kind::Conflict, "a new database never replaces one: {again}");
    }
}

#[tokio::test]
async fn dumps_are_recognised_and_other_bytes_are_not() {
    for subject in subjects().await {
        for (_, format, bytes) in &take(&subject).await.parts {
            assert_eq!(subject.engine.recognise(&bytes[..bytes.len().min(1024)]), Some(*format));
            assert!(subject.engine.info().formats.contains(format));
        }
        for other in [&b""[..], &[0; 1024], b"\x89PNG\r\n\x1a\n"] {
            assert_eq!(subject.engine.recognise(other), None);
        }
    }
}

#[tokio::test]
async fn a_cut_dump_is_seen_by_the_inspector_and_refused_by_a_restore() {
    for subject in subjects().await {
        let mut taken = take(&subject).await;
        let (_, format, bytes) = &mut taken.parts[0];
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let mut inspector = subject.engine.inspector(*format);
            let seen = inspector.feed(&bytes[..cut]).and_then(|()| inspector.finish());
            assert!(seen.is_err(), "{}: cut at {cut}", subject.engine.info().id);
        }
        *bytes = bytes.slice(..bytes.len() / 2);
        restore(&subject, &taken, &[], bench()).await.unwrap_err();
        let (_, _, bytes) = &mut taken.parts[0];
        *bytes = Bytes::from_static(b"certainly no dump of any engine");
        restore(&subject, &taken, &[], bench()).await.unwrap_err();
        let whole = take(&subject).await;
        restore(&subject, &whole, &whole.counts, bench()).await.expect("the refused ones left nothing in the way");
    }
}

#[tokio::test]
async fn a_cancel_ends_every_operation_and_leaves_nothing_behind() {
    for subject in subjects().await {
        let before = subject.surroundings().await;
        let taken = take(&subject).await;
        let dumping = bench();
        let mut dump = open(&subject, &dumping.run).await.unwrap();
        dumping.run.cancel.cancel();
        let (kind, _) = dump.parts()[0];
        let (out, _unread) = channel();
        assert!(dump.write(kind, out, &dumping.run).await.unwrap_err().is_cancelled());
        drop(dump);
        assert!(open(&subject, &cancelled_bench().run).await.err().unwrap().is_cancelled());
        assert!(restore(&subject, &taken, &taken.counts, cancelled_bench()).await.unwrap_err().is_cancelled());
        assert_eq!(subject.surroundings().await, before, "something was left outside of the scratch folders");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_with_a_next_step() {
    for subject in subjects().await {
        let bench = bench();
        let error = subject.engine.probe(&subject.missing, &bench.run).await.unwrap_err();
        assert!(error.hint.is_some(), "{error}");
        let error = subject.engine.open_dump(&subject.missing, &Map::new(), &bench.run).await.err().unwrap();
        assert!(error.hint.is_some(), "{error}");
        assert!(subject.engine.probe(&subject.settings, &bench.run).await.unwrap().tables > 0);
    }
}

#[test]
fn settings_and_options_are_named_in_camel_case_as_the_api_is() {
    for engine in dbsnap::engines::registry() {
        let info = engine.info();
        for field in info.connection.iter().chain(info.dump_options).chain(info.restore_options) {
            let camel = field.name.starts_with(|c: char| c.is_ascii_lowercase()) && field.name.chars().all(|c| c.is_ascii_alphanumeric());
            assert!(camel && !field.label.is_empty(), "{}: {}", info.id, field.name);
        }
    }
}
