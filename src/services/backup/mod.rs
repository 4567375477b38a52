//! Backups: asked for, listed, cancelled, pinned, deleted, downloaded.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ctx, audit, databases, jobs};
use crate::{
    db,
    domain::{
        artifact::ArtifactKind,
        backup::{Backup, BackupOptions, BackupStatus, BackupType, VerifyState},
        database::Database,
        fields::{SettingsExt, validate},
        filter::BackupFilter,
        ids::{BackupId, DatabaseId, JobId},
        job::{Job, JobKind, JobStatus, LogLevel, LogLine},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
        schedule::Schedule,
        time::Moment,
    },
    engines::{self, EngineInfo},
    error::{Error, Result},
};

mod download;
pub mod execute;
mod pins;
pub mod produce;
pub(super) mod recover;
pub(super) mod remove;

pub(super) use download::open;
pub use download::{Download, download};
pub(super) use pins::write_of as write_noted_pins_of;
pub use pins::{pin, waiting as pins_to_write, write_noted as write_noted_pins};

/// Asks for a backup. Without `options` the database's own are used.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupRequest {
    pub database_id: DatabaseId,
    #[serde(default)]
    pub options: Option<BackupOptions>,
}

pub async fn list(ctx: &Ctx, actor: &Actor, filter: &BackupFilter, page: PageRequest) -> Result<Page<Backup>> {
    actor.require(Permission::View)?;
    db::backups::list(&ctx.db, actor.organization_id, filter, page).await
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: BackupId) -> Result<Backup> {
    actor.require(Permission::View)?;
    db::backups::get(&ctx.db, actor.organization_id, id).await
}

/// Queues a backup. Errors with `CONFLICT` while one of the same database is queued or running.
pub async fn start(ctx: &Arc<Ctx>, actor: &Actor, request: BackupRequest) -> Result<Backup> {
    actor.require(Permission::RunBackups)?;
    let database = db::databases::get(&ctx.db, actor.organization_id, request.database_id).await?;
    let options = check_options(&database, request.options)?;
    let filter = BackupFilter { database_id: Some(database.id), ..BackupFilter::default() };
    let newest = db::backups::list(&ctx.db, actor.organization_id, &filter, PageRequest { page: 1, limit: 1 }).await?;
    if let Some(running) = newest.items.first().filter(|backup| !backup.status.is_over()) {
        return Err(Error::conflict(format!("a backup of '{}' is already {}", database.name, running.status))
            .hint(format!("wait for backup {} or cancel it", running.id)));
    }
    let (backup, job) = prepare(ctx, &database, BackupType::Manual, options)?;
    db::backups::queue(&ctx.db, actor.organization_id, &backup, &job).await?;
    jobs::queued(ctx, &job);
    audit::record(ctx, actor, "backup.start", backup.id, json!({ "database": database.name })).await?;
    Ok(backup)
}

/// A queued backup and the job that makes it; the caller stores both.
fn prepare(ctx: &Ctx, database: &Database, kind: BackupType, options: BackupOptions) -> Result<(Backup, Job)> {
    let mut backup = new_row(database, kind, options, ctx.now());
    let job = jobs::new(JobKind::Backup, ctx);
    let exclusive_key = Some(databases::exclusive_key(&databases::address(database)?));
    let job = Job { database_id: Some(database.id), backup_id: Some(backup.id), exclusive_key, ..job };
    backup.job_id = Some(job.id);
    Ok((backup, job))
}

/// The backup of a schedule, ready to be queued. Errors when the schedule asks for what the database's engine cannot do.
pub(super) fn scheduled(ctx: &Ctx, database: &Database, schedule: &Schedule, kind: BackupType) -> Result<(Backup, Job)> {
    let details = &schedule.details;
    let (mut backup, job) = prepare(ctx, database, kind, check_options(database, details.options.clone())?)?;
    backup.schedule_id = Some(schedule.id);
    if let Some(first) = details.destinations.first() {
        backup.store_id = first.store_id;
    }
    let job = Job {
        schedule_id: Some(schedule.id),
        priority: details.priority,
        limits: details.limits.clone(),
        max_attempts: details.attempts.unwrap_or(job.max_attempts),
        ..job
    };
    Ok((backup, job))
}

/// Cancels a queued or running backup. Errors with `CONFLICT` when it is over.
pub async fn cancel(ctx: &Arc<Ctx>, actor: &Actor, id: BackupId) -> Result<Backup> {
    actor.require(Permission::RunBackups)?;
    let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
    if backup.status.is_over() {
        return Err(Error::conflict(format!("the backup is already {}", backup.status)));
    }
    jobs::request_cancel(ctx, actor, job_of(&backup)?).await?;
    audit::record(ctx, actor, "backup.cancel", id, Value::Null).await?;
    db::backups::get(&ctx.db, actor.organization_id, id).await
}

/// How a backup is verified.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct VerifyRequest {
    /// Restore the dump into a scratch database too, and compare every row there with the backup's own snapshot.
    pub deep: bool,
    /// The configured database whose server holds the scratch database for a while; the backup's own when left out.
    pub target_database_id: Option<DatabaseId>,
}

/// Queues a verification of the stored artifacts. A deep one makes and removes a database on a server, which takes the
/// permission to restore.
pub async fn verify(ctx: &Arc<Ctx>, actor: &Actor, id: BackupId, request: VerifyRequest) -> Result<Job> {
    actor.require(Permission::RunBackups)?;
    let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
    if backup.status != BackupStatus::Completed {
        return Err(Error::conflict(format!("the backup is {}: only a completed one can be verified", backup.status)));
    }
    let mut payload = Value::Null;
    if request.deep {
        actor.require(Permission::Restore)?;
        let target = super::verify::check_deep(ctx, actor.organization_id, &backup, request.target_database_id).await?;
        payload = json!({ "deep": true, "targetDatabaseId": target });
    }
    let job = jobs::new(JobKind::Verify, ctx);
    let job = Job {
        payload: payload.clone(),
        database_id: backup.database_id,
        backup_id: Some(id),
        exclusive_key: Some(format!("verify:{id}")),
        ..job
    };
    audit::record(ctx, actor, "backup.verify", id, payload).await?;
    jobs::enqueue(ctx, actor, job).await
}

/// Deletes a backup: its artifacts, its manifest, then its row. When the store refuses, the row stays.
/// Errors with `CONFLICT` while it runs, is pinned, is being restored or compared.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: BackupId) -> Result<()> {
    actor.require(Permission::DeleteBackups)?;
    let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
    if !backup.status.is_over() {
        return Err(Error::conflict(format!("the backup is {}", backup.status)).hint("cancel it first"));
    }
    if backup.pinned {
        return Err(Error::conflict("the backup is pinned").hint("unpin it first"));
    }
    if db::restores::reading(&ctx.db, id).await? {
        return Err(Error::conflict("a restore reads this backup").hint("wait for the restore to end"));
    }
    if db::diffs::reading(&ctx.db, id).await? {
        return Err(Error::conflict("a comparison reads this backup").hint("wait for the comparison to end, or cancel it"));
    }
    if !db::backups::mark_deleting(&ctx.db, actor.organization_id, id).await? {
        return Err(
            Error::conflict("the backup has just been put to use").hint("look at the running jobs, and try again when they have ended")
        );
    }
    remove::whole(ctx, actor.organization_id, &backup).await?;
    audit::record(ctx, actor, "backup.delete", id, json!({ "database": backup.database_name })).await
}

/// The log of the job that made it, after line `after_seq`.
pub async fn logs(ctx: &Ctx, actor: &Actor, id: BackupId, min_level: Option<LogLevel>, after_seq: i64) -> Result<Vec<LogLine>> {
    let backup = get(ctx, actor, id).await?;
    match backup.job_id {
        Some(job) => db::logs::list(&ctx.db, job, after_seq, min_level, 1000).await,
        None => Ok(Vec::new()),
    }
}

/// Options checked against the engine. Errors with every field that is not valid.
pub(super) fn check_options(database: &Database, options: Option<BackupOptions>) -> Result<BackupOptions> {
    let mut options = options.unwrap_or_else(|| database.backup_options.clone());
    check_artifacts(&options)?;
    let info = engines::find(&database.engine)?.info();
    options.engine = validate(info.dump_options, &options.engine)?;
    check_tables(info, &options)?;
    Ok(options)
}

/// A table that is taken and left out at once would make an empty backup that looks good.
fn check_tables(info: &EngineInfo, options: &BackupOptions) -> Result<()> {
    let Some([include, exclude]) = info.table_lists else { return Ok(()) };
    let left_out = options.engine.list(exclude);
    match options.engine.list(include).into_iter().find(|name| left_out.contains(name)) {
        Some(name) => Err(Error::validation("the tables to back up are not clear")
            .fields(vec![(exclude.to_owned(), format!("'{name}' is among the tables to take too: name it in one list"))])),
        None => Ok(()),
    }
}

/// Errors unless it is known what to make.
pub fn check_artifacts(options: &BackupOptions) -> Result<()> {
    let mut seen = Vec::new();
    for kind in &options.artifacts {
        if *kind == ArtifactKind::Globals || seen.contains(kind) {
            return Err(artifacts_hint(Error::validation(format!("artifacts cannot have '{kind}' here"))));
        }
        seen.push(*kind);
    }
    if seen.is_empty() {
        return Err(artifacts_hint(Error::validation("artifacts is empty: nothing would be made")));
    }
    if let Some((table, share)) = options.snapshot.sample.iter().find(|(_, share)| !(0.0..=1.0).contains(*share)) {
        return Err(Error::validation(format!("the share of rows to keep of '{table}' is {share}"))
            .hint("give a share between 0 and 1, such as 0.01")
            .fields(vec![("snapshot.sample".into(), "shares are between 0 and 1".into())]));
    }
    Ok(())
}

fn artifacts_hint(error: Error) -> Error {
    error.hint("use [\"dump\"], [\"snapshot\"] or [\"dump\", \"snapshot\"]")
}

/// True when a backup with these options is of a part of the database only: what is not in it cannot come back.
pub(super) fn is_partial(engine: &dyn engines::Engine, options: &BackupOptions) -> bool {
    let only_samples = !options.artifacts.contains(&ArtifactKind::Dump) && options.snapshot.sample.values().any(|share| *share < 1.0);
    engine.partial(&options.engine).is_some() || only_samples
}

/// A queued backup's row.
fn new_row(database: &Database, kind: BackupType, options: BackupOptions, created_at: Moment) -> Backup {
    let partial = engines::find(&database.engine).is_ok_and(|engine| is_partial(engine, &options));
    Backup {
        id: BackupId::new(),
        database_id: Some(database.id),
        database_name: database.name.clone(),
        engine: database.engine.clone(),
        kind,
        status: BackupStatus::Queued,
        store_id: database.store_id,
        job_id: None,
        schedule_id: None,
        pinned: false,
        verify_state: VerifyState::Unverified,
        verified_at: None,
        created_at,
        started_at: None,
        finished_at: None,
        moment: None,
        server_version: None,
        tool_version: None,
        manifest_key: None,
        error: None,
        warnings: Vec::new(),
        options,
        tables: Vec::new(),
        partial,
        artifacts: Vec::new(),
    }
}

fn job_of(backup: &Backup) -> Result<JobId> {
    backup.job_id.ok_or_else(|| Error::conflict("no job belongs to this backup: it was found in a store"))
}

/// The backup status that goes with how a job ended.
pub(super) fn status_for(outcome: JobStatus) -> BackupStatus {
    match outcome {
        JobStatus::Queued => BackupStatus::Queued,
        JobStatus::Running => BackupStatus::Running,
        JobStatus::Completed => BackupStatus::Completed,
        JobStatus::Failed => BackupStatus::Failed,
        JobStatus::Cancelled => BackupStatus::Cancelled,
        JobStatus::Interrupted => BackupStatus::Interrupted,
    }
}
