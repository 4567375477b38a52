//! Makes a backup in a store: dump, compress, encrypt, write, prove, and the manifest last.
//!
//! Knows no catalogue, so the command line and the workers share it. Whatever fails, nothing of it stays in the store.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{check_artifacts, is_partial};
use crate::{
    domain::{
        artifact::{Artifact, ArtifactKind, DumpFormat, TableCount},
        backup::{BackupOptions, BackupType, VerifyState},
        database::Settings,
        events::Progress,
        ids::{ArtifactId, BackupId, ScheduleId, StoreId},
        manifest::{MANIFEST_VERSION, Manifest, ManifestArtifact},
        naming,
        run::Run,
        store::ObjectInfo,
        stream,
        time::Moment,
    },
    engines::{Dump, DumpFacts, Engine, Inspector, RowSource},
    error::{Context, Error, Kind, Result},
    pipeline::{self, SealSpec, Sealed, Tap, keys::KeyRing},
    services::{flow::Flow, manifests},
    stores::Store,
};

mod snapshot;

/// What to back up, and how.
pub struct Plan<'a> {
    pub id: BackupId,
    pub database: &'a str,
    pub kind: BackupType,
    /// The schedule that asked for it.
    pub schedule_id: Option<ScheduleId>,
    pub engine: &'static dyn Engine,
    /// Connection settings with secrets in clear.
    pub settings: &'a Settings,
    pub options: &'a BackupOptions,
    /// Decides the file names.
    pub started_at: Moment,
    pub instance_id: &'a str,
    pub store_id: StoreId,
    /// Folder in the store; `None` puts the files at its top.
    pub folder: Option<String>,
}

impl Plan<'_> {
    fn key(&self, file: &str) -> String {
        match &self.folder {
            Some(folder) => format!("{folder}/{file}"),
            None => file.to_owned(),
        }
    }
}

/// A complete backup, as it is in the store.
pub struct Produced {
    pub manifest: Manifest,
    pub manifest_key: String,
    pub artifacts: Vec<Artifact>,
}

/// Makes the backup. `keys` may be `None` only when `options.encrypt` is off.
pub async fn produce(plan: &Plan<'_>, store: &dyn Store, keys: Option<&KeyRing>, run: &Run) -> Result<Produced> {
    if plan.options.encrypt && keys.is_none() {
        return Err(Error::validation("encryption is on, but there is no key").hint("set ENCRYPTION_KEY, or turn encryption off"));
    }
    let began = Instant::now();
    check_artifacts(plan.options)?;
    run.check()?;
    run.progress(&Progress { stage: "connecting".into(), ..Progress::default() });
    let mut taken = Taken::open(plan, run).await?;
    let facts = taken.facts();
    run.info(format!(
        "{} as of {}{}",
        facts.server_version,
        facts.moment,
        facts.tool_version.as_ref().map(|tool| format!(", dumped by {tool}")).unwrap_or_default()
    ));
    for warning in &facts.warnings {
        run.warn(warning);
    }
    check_space(store, facts.size, run).await?;

    let mut written = Written { store, keys: Vec::new() };
    let result = write_all(plan, &mut taken, store, keys, &mut written, began, run).await;
    drop(taken);
    match result {
        Ok(produced) => Ok(produced),
        Err(error) => {
            written.remove(run).await;
            Err(error)
        }
    }
}

/// The one moment that everything is read from.
enum Taken {
    Dump(Box<dyn Dump>),
    /// A snapshot alone.
    Rows(Box<dyn RowSource>),
}

impl Taken {
    async fn open(plan: &Plan<'_>, run: &Run) -> Result<Self> {
        let wants = |kind| plan.options.artifacts.contains(&kind);
        if wants(ArtifactKind::Dump) {
            let with_rows = wants(ArtifactKind::Snapshot);
            plan.engine.open_dump(plan.settings, &plan.options.engine, with_rows, run).await.map(Self::Dump)
        } else {
            plan.engine.open_source(plan.settings, &plan.options.engine, run).await.map(Self::Rows)
        }
    }

    fn facts(&self) -> DumpFacts {
        match self {
            Self::Dump(dump) => dump.facts().clone(),
            Self::Rows(source) => {
                let facts = source.facts();
                DumpFacts {
                    moment: facts.moment,
                    server_version: facts.server_version.clone(),
                    tool_version: None,
                    size: None,
                    tables: Some(source.schema().tables.len() as u64),
                    counts: None,
                    warnings: facts.warnings.clone(),
                }
            }
        }
    }
}

async fn write_all(
    plan: &Plan<'_>,
    taken: &mut Taken,
    store: &dyn Store,
    keys: Option<&KeyRing>,
    written: &mut Written<'_>,
    began: Instant,
    run: &Run,
) -> Result<Produced> {
    let stem = naming::stem(plan.database, plan.kind, plan.started_at, plan.id);
    let mut facts = taken.facts();
    let mut artifacts = Vec::new();
    let mut tables = Vec::new();
    if let Taken::Dump(dump) = taken {
        for (kind, format) in dump.parts() {
            let file = naming::artifact_file(&stem, kind, plan.options.compression, plan.options.encrypt);
            let key = plan.key(&file);
            written.keys.push(key.clone());
            let (artifact, counts) = write_part(plan, dump.as_mut(), kind, format, key, store, keys, run).await?;
            if kind == ArtifactKind::Dump {
                tables = facts.counts.clone().unwrap_or(counts);
            }
            artifacts.push(artifact);
        }
    }
    if plan.options.artifacts.contains(&ArtifactKind::Snapshot) {
        let key = plan.key(&naming::artifact_file(&stem, ArtifactKind::Snapshot, plan.options.compression, plan.options.encrypt));
        written.keys.push(key.clone());
        let made = snapshot::add(plan, taken, &tables, key, store, keys, run).await.map_err(|error| snapshot::told(plan, error))?;
        facts.warnings.extend(made.warnings);
        if matches!(taken, Taken::Rows(_)) {
            tables = made.tables;
        }
        artifacts.push(made.artifact);
    }
    run.check()?;
    let mut manifest = Manifest {
        version: MANIFEST_VERSION,
        backup_id: plan.id,
        instance_id: plan.instance_id.to_owned(),
        database: plan.database.to_owned(),
        engine: plan.engine.info().id.to_owned(),
        kind: plan.kind,
        schedule_id: plan.schedule_id,
        moment: facts.moment,
        // Not what a clock says that may have been set meanwhile.
        finished_at: plan.started_at.plus(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)),
        server_version: facts.server_version,
        tool_version: facts.tool_version,
        dbsnap_version: env!("CARGO_PKG_VERSION").to_owned(),
        artifacts: artifacts.iter().map(ManifestArtifact::from).collect(),
        tables,
        partial: is_partial(plan.engine, plan.options),
        pinned: false,
        verify_state: VerifyState::Unverified,
        warnings: facts.warnings,
        mac: None,
    };
    let bytes = manifests::sign(&mut manifest, keys)?;
    let manifest_key = plan.key(&naming::manifest_file(&stem));
    written.keys.push(manifest_key.clone());
    let size = bytes.len() as u64;
    let stored = store.put(&manifest_key, Box::pin(futures_util::stream::iter([Ok(bytes.into())]))).await?;
    if stored.size != size {
        return Err(Error::new(Kind::Storage, format!("the store holds {} bytes of {manifest_key}, {size} were written", stored.size)));
    }
    run.info(format!("manifest written: {manifest_key}"));
    Ok(Produced { manifest, manifest_key, artifacts })
}

/// One part from the engine to the store, then the success gate.
#[allow(clippy::too_many_arguments)]
async fn write_part(
    plan: &Plan<'_>,
    dump: &mut dyn Dump,
    kind: ArtifactKind,
    format: DumpFormat,
    key: String,
    store: &dyn Store,
    keys: Option<&KeyRing>,
    run: &Run,
) -> Result<(Artifact, Vec<TableCount>)> {
    let master = if plan.options.encrypt { keys.map(KeyRing::current) } else { None };
    let key_id = master.as_ref().map(|key| key.id().to_owned());
    let facts = dump.facts();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let watch = Watch {
        inspector: plan.engine.inspector(format),
        counts: Arc::clone(&counts),
        run: run.clone(),
        progress: Progress {
            stage: format!("dumping {kind}"),
            total_bytes: facts.size.filter(|_| kind == ArtifactKind::Dump),
            total_tables: facts.tables.filter(|_| kind == ArtifactKind::Dump),
            ..Progress::default()
        },
        told: Instant::now(),
    };
    let begun = Instant::now();
    let (sender, receiver) = stream::channel();
    let (commit, committed) = oneshot::channel();
    let spec = SealSpec { compression: plan.options.compression, multi_thread: plan.options.multi_thread, key: master };
    let (sealed_stream, worker) = pipeline::seal(receiver, committed, spec, Box::new(watch));

    // When the store fails first, the dump only fails because nobody reads on: the store's error is the one to tell.
    let store_failed = AtomicBool::new(false);
    let (wrote, put) = tokio::join!(
        async {
            let result = dump.write(kind, sender, run).await;
            if result.is_ok() {
                // A receiver that is gone has failed already, and says so itself.
                let _ = commit.send(());
            } else {
                drop(commit);
            }
            result.map_err(|error| (error, store_failed.load(Ordering::Relaxed)))
        },
        async {
            let result = store.put(&key, sealed_stream).await;
            store_failed.store(result.is_err(), Ordering::Relaxed);
            result
        }
    );
    let sealed = worker.await.context(Kind::Internal, || "compressing and encrypting".into());
    if run.cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    let stored = match (wrote, put) {
        (Ok(()), Ok(stored)) => stored,
        (Err((error, false)), _) | (Err((error, true)), Ok(_)) => return Err(error),
        (_, Err(error)) => return Err(error),
    };
    let sealed = sealed??;
    run.progress(&Progress {
        stage: "checking what was stored".into(),
        bytes: sealed.plain_size,
        total_bytes: Some(sealed.plain_size),
        ..Progress::default()
    });
    gate(&key, &sealed, &stored, store, run).await?;
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    run.info(format!(
        "{kind}: {} plain bytes in {seconds:.1} s ({:.0} MB/s), {} stored, size and checksum equal",
        sealed.plain_size,
        sealed.plain_size as f64 / 1e6 / seconds,
        sealed.stored_size,
    ));
    let counts = std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner));
    let artifact = Artifact {
        id: ArtifactId::new(),
        backup_id: plan.id,
        kind,
        format,
        store_id: plan.store_id,
        key,
        plain_size: sealed.plain_size,
        stored_size: sealed.stored_size,
        plain_sha256: sealed.plain_sha256,
        stored_sha256: sealed.stored_sha256,
        compression: plan.options.compression,
        key_id,
        created_at: Moment::now(),
    };
    Ok((artifact, counts))
}

/// The success gate: a non-empty artifact, of which the store holds exactly what was sent.
/// Where the store knows no SHA-256 of its own, the object is read back.
async fn gate(key: &str, sealed: &Sealed, stored: &ObjectInfo, store: &dyn Store, run: &Run) -> Result<()> {
    let wrong = |what: String| {
        Err(Error::new(Kind::Storage, format!("{key}: {what}")).hint("the store is not reliable: check its disk and its log").retryable())
    };
    if sealed.plain_size == 0 {
        return Err(Error::new(Kind::Backup, format!("{key}: the dump is empty")));
    }
    if stored.size != sealed.stored_size {
        return wrong(format!("the store holds {} bytes, {} were sent", stored.size, sealed.stored_size));
    }
    let sha256 = match &stored.sha256 {
        Some(sha256) => sha256.clone(),
        None => {
            let mut hash = Sha256::new();
            let mut flow = Flow::new(run, "reading back what was stored".into(), sealed.stored_size);
            let mut object = store.get(key, None).await?;
            while let Some(piece) = run.until_cancelled(async { object.next().await.transpose() }).await? {
                flow.passed(piece.len());
                hash.update(&piece);
            }
            hex::encode(hash.finalize())
        }
    };
    if sha256 != sealed.stored_sha256 {
        return wrong("the store holds other bytes than were sent".into());
    }
    Ok(())
}

/// Errors when the store surely lacks the room; an unknown size passes.
async fn check_space(store: &dyn Store, size: Option<u64>, run: &Run) -> Result<()> {
    let free = store.health().await?.free;
    if let (Some(free), Some(size)) = (free, size) {
        // A dump compresses to a tenth at best, as a rule.
        if free < size / 10 {
            return Err(Error::new(Kind::Storage, format!("the store has {free} bytes free, the database is {size} bytes"))
                .hint("free space or choose another store"));
        }
        if free < size {
            run.warn(format!("the store has {free} bytes free and the database is {size} bytes: this may not fit"));
        }
    }
    Ok(())
}

/// What was put under way in the store, to be taken back on failure.
struct Written<'a> {
    store: &'a dyn Store,
    keys: Vec<String>,
}

impl Written<'_> {
    async fn remove(&self, run: &Run) {
        for key in &self.keys {
            if let Err(error) = self.store.delete(key).await {
                run.warn(format!("{key} could not be removed, it is removed at the next start: {error}"));
            }
        }
    }
}

/// Sees the plain bytes pass: feeds the inspector and tells the progress.
struct Watch {
    inspector: Box<dyn Inspector>,
    counts: Arc<Mutex<Vec<TableCount>>>,
    run: Run,
    progress: Progress,
    told: Instant,
}

impl Tap for Watch {
    fn feed(&mut self, plain: &[u8]) -> Result<()> {
        self.inspector.feed(plain)?;
        self.progress.bytes += plain.len() as u64;
        if self.told.elapsed() >= Duration::from_millis(200) {
            self.told = Instant::now();
            let (rows, table) = self.inspector.seen();
            self.progress.rows = Some(rows);
            self.progress.table = table;
            self.run.progress(&self.progress);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let counts = self.inspector.finish()?;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        Ok(())
    }
}
