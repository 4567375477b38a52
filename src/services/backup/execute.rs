//! A backup job's work, and what its row says about it.

use std::sync::Arc;

use super::{check_options, new_row, produce, status_for};
use crate::{
    db,
    domain::{
        artifact::ArtifactKind,
        backup::{Backup, BackupOptions, BackupStatus, BackupType, SnapshotOptions},
        database::{Database, Settings},
        events::Event,
        fields::validate,
        ids::{BackupId, OrganizationId},
        job::{Job, JobStatus},
        naming,
        run::Run,
        schedule::Schedule,
    },
    engines,
    error::{Error, Result},
    services::{
        Ctx, databases, heartbeats,
        hooks::{self, Around},
        restore, stores,
    },
    stores::Store,
};

/// Runs the backup of a job. A retry is a new backup: the row of the attempt before keeps its end and its reason.
pub(in crate::services) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = job.backup_id.ok_or_else(|| Error::internal("a backup job without a backup"))?;
    let mut backup = db::backups::get(&ctx.db, organization, id).await?;
    if backup.status == BackupStatus::Completed {
        // The process ended between the catalogue row and the end of the job.
        return Ok(());
    }
    let database_id = backup.database_id.ok_or_else(|| Error::conflict(format!("the database '{}' was removed", backup.database_name)))?;
    let database = db::databases::get(&ctx.db, organization, database_id).await?;
    if backup.status.is_over() {
        let (schedule_id, store_id) = (backup.schedule_id, backup.store_id);
        backup = Backup { job_id: Some(job.id), schedule_id, store_id, ..new_row(&database, backup.kind, backup.options, ctx.now()) };
        db::backups::insert(&ctx.db, organization, &backup).await?;
        db::jobs::set_backup(&ctx.db, job.id, backup.id).await?;
    }
    let settings = databases::open_settings(ctx, &database)?;
    // Links may lead elsewhere since the database was configured.
    databases::refuse_own_files(ctx, engines::find(&database.engine)?, &settings)?;
    let performed = match hooks::schedule_of(ctx, organization, &backup).await? {
        Some(schedule) => scheduled(ctx, organization, &settings, backup, &schedule, job, run).await,
        None => perform(ctx, organization, &settings, backup, run).await,
    };
    databases::keep_learned(ctx, organization, database.id, &settings, run).await;
    performed
}

/// [`perform`] with what the schedule wants around it: its watcher hears of the start, hooks run before and after.
async fn scheduled(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    settings: &Settings,
    backup: Backup,
    schedule: &Schedule,
    job: &Job,
    run: &Run,
) -> Result<()> {
    let id = backup.id;
    heartbeats::begun(ctx, organization, schedule, job.id);
    db::backups::mark_running(&ctx.db, id, ctx.now()).await?;
    ctx.tell(Event::Backup { backup_id: id, status: BackupStatus::Running });
    let around = Around::new(ctx, schedule, &backup, job);
    let performed = match around.before(run).await {
        Ok(()) => perform(ctx, organization, settings, backup, run).await,
        Err(error) => Err(error),
    };
    let problems = around.after(organization, &performed, run).await;
    if !problems.is_empty()
        && let Err(error) = db::backups::add_warnings(&ctx.db, id, problems).await
    {
        // They are in the log too; what became of the backup itself is more important.
        run.warn(format!("the backup's warnings could not be saved: {error}"));
    }
    performed
}

/// Takes a safety backup of the target in `settings` before a restore overwrites it, inside the restore's own job. It
/// holds everything, whatever the database's own backups leave out.
///
/// Of a target that is not the configured database it is no backup of that database either: it is kept under the
/// target's name.
pub(in crate::services) async fn safety(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    database: &Database,
    settings: &Settings,
    job: &Job,
    run: &Run,
) -> Result<BackupId> {
    let engine = engines::find(&database.engine)?;
    let waits = database.backup_options.engine.iter().filter(|(name, _)| name.ends_with("TimeoutSeconds") || *name == "busyTimeout");
    let waits = waits.map(|(name, value)| (name.clone(), value.clone())).collect();
    let options = BackupOptions {
        // A sample, or what only rows bring back, is no way back to how it was.
        artifacts: vec![ArtifactKind::Dump],
        snapshot: SnapshotOptions::default(),
        engine: validate(engine.info().dump_options, &waits)?,
        ..check_options(database, None)?
    };
    let mut backup = Backup { job_id: Some(job.id), ..new_row(database, BackupType::Safety, options, ctx.now()) };
    let target = engine.info().target_field;
    if settings.get(target) != database.settings.get(target) {
        backup.database_id = None;
        backup.database_name = restore::label(engine, settings);
    }
    let id = backup.id;
    db::backups::insert(&ctx.db, organization, &backup).await?;
    match perform(ctx, organization, settings, backup, run).await {
        Ok(()) => Ok(id),
        Err(error) => {
            let status = if error.is_cancelled() { BackupStatus::Cancelled } else { BackupStatus::Failed };
            finish(ctx, id, status, Some(&error.to_string())).await?;
            Err(error)
        }
    }
}

/// Marks the row of a job that did not complete.
pub(in crate::services) async fn settle(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    outcome: JobStatus,
    error: Option<&str>,
) -> Result<()> {
    // The job is read again: a retry has moved it to another backup since it was claimed.
    let job = db::jobs::get(&ctx.db, organization, job.id).await?;
    let Some(id) = job.backup_id else { return Ok(()) };
    let backup = db::backups::get(&ctx.db, organization, id).await?;
    if backup.status.is_over() {
        return Ok(());
    }
    finish(ctx, id, status_for(outcome), error).await
}

async fn finish(ctx: &Ctx, id: BackupId, status: BackupStatus, error: Option<&str>) -> Result<()> {
    db::backups::finish(&ctx.db, id, status, error, ctx.now()).await?;
    ctx.tell(Event::Backup { backup_id: id, status });
    Ok(())
}

async fn perform(ctx: &Arc<Ctx>, organization: OrganizationId, settings: &Settings, mut backup: Backup, run: &Run) -> Result<()> {
    let started_at = ctx.now();
    db::backups::mark_running(&ctx.db, backup.id, started_at).await?;
    ctx.tell(Event::Backup { backup_id: backup.id, status: BackupStatus::Running });
    run.info(format!("backup {} of '{}' begins", backup.id, backup.database_name));
    let store = stores::open(ctx, organization, backup.store_id).await?;
    let plan = produce::Plan {
        id: backup.id,
        database: &backup.database_name,
        kind: backup.kind,
        schedule_id: backup.schedule_id,
        engine: engines::find(&backup.engine)?,
        settings,
        options: &backup.options,
        started_at,
        instance_id: &ctx.instance_id,
        store_id: backup.store_id,
        folder: Some(naming::folder(&backup.database_name, started_at)),
    };
    let produced = produce::produce(&plan, store.as_ref(), Some(&ctx.keys), run).await?;
    adopt(&mut backup, produced);
    backup.started_at = Some(started_at);
    if let Err(error) = db::backups::complete(&ctx.db, &backup).await {
        take_back(ctx, organization, &backup, store.as_ref(), run).await;
        return Err(error);
    }
    ctx.tell(Event::Backup { backup_id: backup.id, status: BackupStatus::Completed });
    run.info(format!("backup complete: {} rows in {} tables, {} bytes stored", backup.rows(), backup.tables.len(), backup.stored_size()));
    Ok(())
}

/// Removes what is in the store of a backup that the catalogue did not take. Best effort: the next start looks again.
async fn take_back(ctx: &Ctx, organization: OrganizationId, backup: &Backup, store: &dyn Store, run: &Run) {
    match db::backups::get(&ctx.db, organization, backup.id).await {
        Ok(row) if row.status != BackupStatus::Completed => {}
        Ok(_) => return,
        Err(error) => {
            run.warn(format!("the backup's files stay until the next start, because its row cannot be read: {error}"));
            return;
        }
    }
    // The manifest goes first: what it vouched for is then an orphan.
    for key in backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key)) {
        if let Err(error) = store.delete(key).await {
            run.warn(format!("{key} could not be removed, it is removed at the next start: {error}"));
        }
    }
}

/// Takes over what a manifest says.
pub(super) fn adopt(backup: &mut Backup, produced: produce::Produced) {
    let manifest = produced.manifest;
    backup.status = BackupStatus::Completed;
    backup.finished_at = Some(manifest.finished_at);
    backup.moment = Some(manifest.moment);
    backup.server_version = Some(manifest.server_version);
    backup.tool_version = manifest.tool_version;
    backup.warnings = manifest.warnings;
    backup.tables = manifest.tables;
    backup.manifest_key = Some(produced.manifest_key);
    backup.artifacts = produced.artifacts;
    backup.error = None;
}
