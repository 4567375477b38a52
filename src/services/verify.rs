//! Verification: every stored byte is read, opened and compared with what the manifest promises.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;

use super::{Ctx, backup, databases, manifests::Seal, restore::source::Stored, snapshots, stores};
use crate::{
    db,
    domain::{
        artifact::{Artifact, ArtifactKind, TableCount},
        backup::Backup,
        events::Progress,
        ids::{DatabaseId, OrganizationId},
        job::Job,
        manifest::Manifest,
        run::Run,
    },
    engines,
    error::{Error, Kind, Result},
    pipeline::keys::KeyRing,
    snapshot::Snapshot,
    stores::{Store, witnessed::Witnessed},
};

pub mod deep;
mod places;

/// What a verification found. Errors are what is wrong; there are none when everything is intact.
#[derive(Debug)]
pub struct Findings {
    pub seal: Seal,
    /// Plain bytes that were read and compared.
    pub bytes: u64,
    pub problems: Vec<String>,
    /// Something was not there at all: worth nothing unless the store itself is.
    pub missing: bool,
}

impl Findings {
    fn new(seal: Seal, problems: Vec<String>) -> Self {
        Self { seal, bytes: 0, problems, missing: false }
    }
}

/// Verifies a backup by its manifest: the MAC, then for each artifact the size, both checksums, the encryption to its
/// last chunk, the structure of the dump, every hash of the snapshot, and the row counts.
///
/// A finding is what was read and is wrong, or is not there. Errors when it could not be done: the store refuses (to be tried
/// again), no key is given, a cancel. When one artifact cannot be read and another is damaged, the damage is what is told.
pub async fn verify(
    manifest: &Manifest,
    seal: Seal,
    artifacts: &[Artifact],
    store: Arc<dyn Store>,
    keys: Option<&KeyRing>,
    run: &Run,
) -> Result<Findings> {
    let witness = Arc::new(Witnessed::new(store));
    let store: Arc<dyn Store> = witness.clone();
    let mut findings = Findings::new(seal, Vec::new());
    let total = artifacts.iter().map(|artifact| artifact.plain_size).sum();
    if artifacts.is_empty() {
        findings.problems.push("the manifest lists no artifact".into());
    }
    let mut refused = None;
    for artifact in artifacts {
        let found = match store.stat(&artifact.key).await {
            Ok(None) => {
                findings.missing = true;
                Ok(Some(format!("{} is missing", artifact.key)))
            }
            Ok(Some(object)) if object.size != artifact.stored_size => {
                Ok(Some(format!("{} has {} bytes, {} were written", artifact.key, object.size, artifact.stored_size)))
            }
            Ok(Some(_)) => {
                let found = read(manifest, artifact, &store, keys, &mut findings.bytes, total, run).await;
                found.map_err(|error| error.while_doing(&artifact.key))
            }
            Err(error) => Err(error),
        };
        match judged(found, &witness) {
            Ok(Some(problem)) => findings.problems.push(problem),
            Ok(None) => run.info(format!("{} is intact: {} plain bytes", artifact.key, artifact.plain_size)),
            Err(error) if error.is_cancelled() || !error.retryable => return Err(error),
            Err(error) => {
                run.warn(format!("{} could not be read: {error}", artifact.key));
                refused.get_or_insert(error);
            }
        }
    }
    for problem in &findings.problems {
        run.error(problem);
    }
    match refused {
        Some(error) if findings.problems.is_empty() => Err(error),
        _ => Ok(findings),
    }
}

/// An error of what was read is a finding; one of the store, of this machine, or a cancel stays one.
fn judged(found: Result<Option<String>>, witness: &Witnessed) -> Result<Option<String>> {
    match (found, witness.refusal()) {
        (Err(error), _) if error.is_cancelled() => Err(error),
        (_, Some(refusal)) => Err(refusal),
        (Err(error), None) if error.retryable || error.kind == Kind::Internal => Err(error),
        (Err(error), None) => Ok(Some(error.to_string())),
        (found, None) => found,
    }
}

async fn read(
    manifest: &Manifest,
    artifact: &Artifact,
    store: &Arc<dyn Store>,
    keys: Option<&KeyRing>,
    bytes: &mut u64,
    total: u64,
    run: &Run,
) -> Result<Option<String>> {
    if artifact.key_id.is_some() && keys.is_none() {
        return Err(Error::internal(format!("{} is encrypted, but there is no key", artifact.key)).hint("set ENCRYPTION_KEY"));
    }
    let snapshot = artifact.kind == ArtifactKind::Snapshot;
    // A snapshot is its own proof, besides the checksum of its bytes.
    let mut inspector = if snapshot { None } else { Some(engines::find(&manifest.engine)?.inspector(artifact.format)) };
    let mut plain = backup::open(store.as_ref(), artifact, keys).await?;
    let mut told = Instant::now();
    while let Some(piece) = run.until_cancelled(async { plain.next().await.transpose() }).await? {
        if let Some(inspector) = &mut inspector {
            inspector.feed(&piece)?;
        }
        *bytes += piece.len() as u64;
        if told.elapsed() >= Duration::from_millis(200) {
            told = Instant::now();
            let (rows, table) = inspector.as_ref().map_or((0, None), |inspector| inspector.seen());
            run.progress(&Progress {
                stage: "verifying".into(),
                bytes: *bytes,
                total_bytes: Some(total),
                rows: Some(rows),
                table,
                ..Progress::default()
            });
        }
    }
    let Some(mut inspector) = inspector else {
        let opened = Arc::new(snapshots::open_stored(store.clone(), artifact, keys).await?);
        return prove(manifest, opened, run).await;
    };
    let counts = inspector.finish()?;
    Ok(if artifact.kind == ArtifactKind::Dump && !counts.is_empty() { differences(&manifest.tables, &counts) } else { None })
}

/// Reads every row of a snapshot and proves its hashes. Returns the number of rows.
pub async fn prove_all(snapshot: Arc<Snapshot>, run: &Run) -> Result<u64> {
    let run = run.clone();
    snapshots::blocking("proving the snapshot", move || {
        let mut told = Instant::now();
        let total = snapshot.size();
        snapshot.prove(&mut |bytes| {
            run.check()?;
            if told.elapsed() >= Duration::from_millis(200) {
                told = Instant::now();
                let progress = Progress { stage: "proving the snapshot".into(), bytes, total_bytes: Some(total), ..Progress::default() };
                run.progress(&progress);
            }
            Ok(())
        })
    })
    .await
}

/// Proves a snapshot, then holds its counts against the manifest. The finding, if any.
async fn prove(manifest: &Manifest, snapshot: Arc<Snapshot>, run: &Run) -> Result<Option<String>> {
    prove_all(snapshot.clone(), run).await?;
    if manifest.artifact(ArtifactKind::Dump).is_some() {
        // The manifest's counts are the dump's; they were held against the snapshot's when both were made.
        return Ok(None);
    }
    let kept: Vec<_> = snapshot.tables().iter().map(|table| snapshots::count(&table.name, table.rows)).collect();
    Ok(differences(&manifest.tables, &kept))
}

/// Says where two sets of counts differ; `None` when they agree.
pub fn differences(promised: &[TableCount], found: &[TableCount]) -> Option<String> {
    let mut wrong = Vec::new();
    for table in promised {
        match found.iter().find(|other| other.schema == table.schema && other.name == table.name) {
            Some(other) if other.rows == table.rows => {}
            Some(other) => wrong.push(format!("{} has {} rows, {} expected", table.label(), other.rows, table.rows)),
            None => wrong.push(format!("{} is missing ({} rows expected)", table.label(), table.rows)),
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let more = wrong.len().saturating_sub(5);
    wrong.truncate(5);
    Some(format!("{}{}", wrong.join("; "), if more > 0 { format!("; and {more} more tables") } else { String::new() }))
}

/// A verification job: the backup is read in every store that has it. Damage fails the job; the backup is corrupt when no store
/// is known to have it whole.
pub(super) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = job.backup_id.ok_or_else(|| Error::internal("a verification job without a backup"))?;
    let backup = db::backups::get(&ctx.db, organization, id).await?;
    let places = places::look(ctx, organization, &backup, run).await?;
    let mut deep = Vec::new();
    if job.payload["deep"] == true
        && let Some(place) = places.iter().find(|place| place.is_whole())
    {
        deep = deeply(ctx, organization, job, &backup, stores::open(ctx, organization, place.store_id).await?, run).await?;
    }
    places::conclude(ctx, job, &backup, places, deep, run).await
}

/// The configured database that a deep verification may use: `chosen`, or the backup's own. Errors when the backup has not
/// both artifacts, or the engines differ.
pub(super) async fn check_deep(ctx: &Ctx, organization: OrganizationId, backup: &Backup, chosen: Option<DatabaseId>) -> Result<DatabaseId> {
    if backup.artifact(ArtifactKind::Dump).is_none() || backup.artifact(ArtifactKind::Snapshot).is_none() {
        return Err(Error::conflict("a deep verification compares a dump with a snapshot, and the backup has not both")
            .hint("back up with the artifacts [\"dump\", \"snapshot\"]"));
    }
    let id = chosen.or(backup.database_id).ok_or_else(|| {
        Error::conflict("the backup's own database is not configured any more").hint("choose another one of its engine: targetDatabaseId")
    })?;
    let database = db::databases::get(&ctx.db, organization, id).await?;
    if database.engine != backup.engine {
        return Err(Error::validation(format!("'{}' is of {}, the backup of {}", database.name, database.engine, backup.engine)));
    }
    Ok(id)
}

/// Restores the dump beside, and compares it with the snapshot. The findings.
async fn deeply(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    backup: &Backup,
    store: Arc<dyn Store>,
    run: &Run,
) -> Result<Vec<String>> {
    let chosen = job.payload["targetDatabaseId"].as_str().map(str::parse).transpose()?;
    let id = check_deep(ctx, organization, backup, chosen).await?;
    let database = db::databases::get(&ctx.db, organization, id).await?;
    let settings = databases::open_settings(ctx, &database)?;
    let source = Stored { store, artifacts: backup.artifacts.clone(), keys: Some(ctx.keys.clone()) };
    let snapshot = snapshots::open_of(ctx, organization, backup).await?;
    let engine = engines::find(&backup.engine)?;
    let deep = deep::Deep { backup: backup.id, engine, settings: &settings, source: &source, expected: &backup.tables, snapshot };
    let compared = deep.verify(run).await;
    databases::keep_learned(ctx, organization, id, &settings, run).await;
    let compared = compared?;
    for note in &compared.notes {
        run.warn(note);
    }
    for problem in &compared.problems {
        run.error(problem);
    }
    run.info(format!("{} rows of {} tables compared with the snapshot", compared.rows, compared.tables));
    Ok(compared.problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_counts_are_named_and_extra_tables_are_no_difference() {
        let count = |name: &str, rows| TableCount { schema: None, name: name.into(), rows };
        assert_eq!(differences(&[count("a", 1)], &[count("a", 1), count("b", 2)]), None);
        let found = differences(&[count("a", 1), count("c", 3)], &[count("a", 2)]).unwrap();
        assert_eq!(found, "a has 2 rows, 1 expected; c is missing (3 rows expected)");
    }
}
