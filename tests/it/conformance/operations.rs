//! Dumps and restores as the product makes them, with every byte in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::Settings,
        events::Progress,
        fields::validate,
        job::LogLevel,
        restore::{RestoreMode, RestorePlan},
        run::{Learned, Observer, Run},
        stream::{ByteStream, PIECE, channel},
    },
    engines::{Dump, DumpSource, RestoreOutcome, RestoreRequest},
    error::{Error, Result},
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::home::Home;

/// What is called when progress of a stage arrives.
type Hook = Box<dyn FnOnce() + Send>;

/// Keeps the stages and warnings of an operation, and acts at one of them.
#[derive(Default)]
pub struct Watcher {
    stages: Mutex<Vec<String>>,
    log: Mutex<Vec<String>>,
    hook: Mutex<Option<(String, Hook)>>,
}

impl Watcher {
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Observer for Watcher {
    fn log(&self, level: LogLevel, message: &str) {
        self.log.lock().unwrap().push(format!("{level} {message}"));
    }

    fn progress(&self, progress: &Progress) {
        let mut stages = self.stages.lock().unwrap();
        if stages.last() != Some(&progress.stage) {
            stages.push(progress.stage.clone());
        }
        let mut hook = self.hook.lock().unwrap();
        if hook.as_ref().is_some_and(|(stage, _)| *stage == progress.stage)
            && let Some((_, act)) = hook.take()
        {
            act();
        }
    }
}

/// The surroundings of one operation, with a scratch folder that goes afterwards.
pub struct Bench {
    pub run: Run,
    pub watcher: Arc<Watcher>,
    _scratch: TempDir,
}

impl Bench {
    pub fn new(home: &dyn Home) -> Self {
        let scratch = TempDir::new().unwrap();
        let watcher = Arc::new(Watcher::default());
        let run = Run {
            cancel: CancellationToken::new(),
            observer: watcher.clone(),
            scratch: scratch.path().to_owned(),
            tool_dirs: home.tool_dirs(),
            learned: Learned::default(),
            limits: Default::default(),
        };
        Self { run, watcher, _scratch: scratch }
    }

    pub fn cancelled(home: &dyn Home) -> Self {
        let bench = Self::new(home);
        bench.run.cancel.cancel();
        bench
    }

    /// Calls `act` at the first progress of a stage.
    pub fn at_stage(self, stage: &str, act: impl FnOnce() + Send + 'static) -> Self {
        *self.watcher.hook.lock().unwrap() = Some((stage.to_owned(), Box::new(act)));
        self
    }

    /// The stages so far, each once.
    pub fn stages(&self) -> Vec<String> {
        let mut stages = self.watcher.stages.lock().unwrap().clone();
        stages.sort();
        stages.dedup();
        stages
    }
}

/// A dump in memory.
#[derive(Clone)]
pub struct Taken {
    pub parts: Vec<(ArtifactKind, DumpFormat, Bytes)>,
    pub counts: Vec<TableCount>,
}

#[async_trait]
impl DumpSource for Taken {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        self.parts.iter().map(|(kind, format, _)| (*kind, *format)).collect()
    }

    async fn open(&self, part: ArtifactKind) -> Result<ByteStream> {
        let found = self.parts.iter().find(|(kind, ..)| *kind == part).ok_or_else(|| Error::not_found(part))?;
        let pieces: Vec<_> = found.2.chunks(PIECE).map(|piece| Ok(found.2.slice_ref(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

pub async fn open(home: &dyn Home, settings: &Settings, bench: &Bench) -> Result<Box<dyn Dump>> {
    let options = validate(home.engine().info().dump_options, &Map::new())?;
    home.engine().open_dump(settings, &options, false, &bench.run).await
}

/// Takes a dump as a backup does: the inspector sees every byte. `each` sees how many bytes have come.
pub async fn take_with(home: &dyn Home, settings: &Settings, bench: &Bench, mut each: impl FnMut(usize) + Send) -> Result<Taken> {
    let mut dump = open(home, settings, bench).await?;
    let facts = dump.facts().clone();
    let mut taken = Taken { parts: Vec::new(), counts: facts.counts.unwrap_or_default() };
    for (kind, format) in dump.parts() {
        let (out, mut input) = channel();
        let mut inspector = home.engine().inspector(format);
        let gather = async {
            let mut all = Vec::new();
            while let Some(piece) = input.recv().await {
                inspector.feed(&piece)?;
                all.extend_from_slice(&piece);
                each(all.len());
            }
            Ok::<_, Error>(all)
        };
        let (written, all) = tokio::join!(dump.write(kind, out, &bench.run), gather);
        written?;
        taken.counts.extend(inspector.finish()?);
        taken.parts.push((kind, format, all?.into()));
    }
    Ok(taken)
}

pub async fn take(home: &dyn Home, database: &str) -> Taken {
    let taken = take_with(home, &home.settings(database), &Bench::new(home), |_| ()).await;
    taken.unwrap_or_else(|error| panic!("{}: dumping {database}: {error}", home.label()))
}

/// A plan for a database called so.
pub fn plan(home: &dyn Home, mode: RestoreMode, name: &str) -> RestorePlan {
    let engine = validate(home.engine().info().restore_options, &Map::new()).unwrap();
    RestorePlan { mode, target_name: Some(home.target(name)), engine, ..RestorePlan::default() }
}

/// Restores with the connection of the database `from`.
pub async fn restore(home: &dyn Home, from: &str, taken: &Taken, plan: &RestorePlan, bench: &Bench) -> Result<RestoreOutcome> {
    let settings = home.settings(from);
    home.engine().restore(RestoreRequest { settings: &settings, plan, source: taken, expected: &taken.counts }, &bench.run).await
}

/// Restores into a database that is not there yet.
pub async fn restore_new(home: &dyn Home, from: &str, taken: &Taken, name: &str) -> Result<RestoreOutcome> {
    restore(home, from, taken, &plan(home, RestoreMode::New, name), &Bench::new(home)).await
}

/// Rows by table name, in order.
pub fn rows(counts: &[TableCount]) -> Vec<(&str, u64)> {
    let mut rows: Vec<_> = counts.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    rows.sort_unstable();
    rows
}

/// The secrets in settings.
pub fn secrets(home: &dyn Home, settings: &Settings) -> Vec<String> {
    let fields = home.engine().info().connection.iter().filter(|field| field.is_secret());
    fields.filter_map(|field| settings.get(field.name).and_then(Value::as_str)).map(str::to_owned).collect()
}
