//! A restore job's work, and what its row says about it.

use std::sync::Arc;

use super::{check_backup, rows, source, source_of, status_for, target_settings, upload, upload_source};
use crate::{
    db,
    domain::{
        artifact::TableCount,
        database::{Database, Settings},
        ids::{BackupId, OrganizationId},
        job::{Job, JobStatus},
        restore::{Restore, RestoreMode, RestoreSource, RestoreStatus},
        run::Run,
    },
    engines::{self, DumpSource, RestoreOutcome, RestoreRequest},
    error::{Error, Kind, Result},
    services::{Ctx, backup, compare, copies, databases, jobs, snapshots},
    snapshot::Snapshot,
};

pub(in crate::services) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = job.restore_id.ok_or_else(|| Error::internal("a restore job without a restore"))?;
    let mut restore = db::restores::get(&ctx.db, organization, id).await?;
    if restore.status == RestoreStatus::Completed {
        return Ok(());
    }
    restore.started_at = Some(ctx.now());
    db::restores::mark_running(&ctx.db, id, ctx.now()).await?;

    if restore.plan.rows.is_some() {
        return compare::apply::execute(ctx, organization, job, restore, run).await;
    }
    let database_id = restore.database_id.ok_or_else(|| Error::conflict("the target database was removed from the configuration"))?;
    let database = db::databases::get(&ctx.db, organization, database_id).await?;
    let engine = engines::find(&database.engine)?;
    let settings = target_settings(engine, databases::open_settings(ctx, &database)?, &restore.plan);
    // Links may lead elsewhere since the restore was asked for.
    databases::refuse_own_files(ctx, engine, &settings)?;
    run.info(format!(
        "restoring {} into {} (mode {}, content {})",
        restore.source_label, restore.target_label, restore.plan.mode, restore.plan.content
    ));

    let restored = carry_out(ctx, organization, job, &database, &settings, &mut restore, run).await;
    databases::keep_learned(ctx, organization, database.id, &settings, run).await;
    let outcome = restored?;
    for warning in &outcome.warnings {
        run.warn(warning);
    }
    run.info(format!(
        "restored and counted: {} rows in {} tables",
        outcome.tables.iter().map(|table| table.rows).sum::<u64>(),
        outcome.tables.len()
    ));
    restore.status = RestoreStatus::Completed;
    restore.finished_at = Some(ctx.now());
    restore.tables = outcome.tables;
    restore.warnings = outcome.warnings;
    db::restores::finish(&ctx.db, &restore).await?;
    match restore.upload_id {
        Some(upload) => upload::discard(ctx, upload).await,
        None => Ok(()),
    }
}

/// What a restore reads from.
enum Input {
    Dump(Box<dyn DumpSource>, Vec<TableCount>),
    Rows(Arc<Snapshot>),
}

/// The safety backup where one is wanted, then the restore itself.
async fn carry_out(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    database: &Database,
    settings: &Settings,
    restore: &mut Restore,
    run: &Run,
) -> Result<RestoreOutcome> {
    let id = restore.id;
    let engine = engines::find(&database.engine)?;
    let input = open_source(ctx, organization, restore, run).await?;
    if restore.plan.safety_backup && restore.plan.mode != RestoreMode::New && !restore.plan.dry_run {
        run.info("taking a safety backup of the target first");
        let safety = backup::execute::safety(ctx, organization, database, settings, job, run)
            .await
            .map_err(|error| if error.is_cancelled() { error } else { safety_failed(error) })?;
        db::restores::set_safety_backup(&ctx.db, id, safety).await?;
        restore.safety_backup_id = Some(safety);
        run.info(format!("to get back to how it was, restore backup {safety}"));
    }
    let restored = match &input {
        Input::Dump(source, expected) => {
            engine.restore(RestoreRequest { settings, plan: &restore.plan, source: source.as_ref(), expected }, run).await
        }
        Input::Rows(snapshot) => rows::restore(engine, settings, &restore.plan, snapshot.clone(), run).await,
    };
    restored.map_err(|error| match restore.safety_backup_id {
        Some(safety) if !error.is_cancelled() => {
            let way_back = way_back(safety);
            let hint = error.hint.clone().map_or(way_back.clone(), |hint| format!("{hint}; {way_back}"));
            error.hint(hint)
        }
        _ => error,
    })
}

/// At start: ends restores whose job never came into the queue. Those of interrupted jobs are settled with their job.
pub(in crate::services) async fn recover(ctx: &Arc<Ctx>) -> Result<()> {
    for (organization, restore) in db::restores::unfinished(&ctx.db).await? {
        if !jobs::is_open(ctx, organization, restore.job_id).await? {
            let error = Some("the process ended before the restore was queued: nothing was changed".to_owned());
            db::restores::finish(&ctx.db, &Restore { status: RestoreStatus::Interrupted, error, finished_at: Some(ctx.now()), ..restore })
                .await?;
        }
    }
    Ok(())
}

/// Marks the row of a job that did not complete.
pub(in crate::services) async fn settle(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    outcome: JobStatus,
    error: Option<&str>,
) -> Result<()> {
    let Some(id) = job.restore_id else { return Ok(()) };
    let restore = db::restores::get(&ctx.db, organization, id).await?;
    if restore.status.is_over() {
        return Ok(());
    }
    let untouched = restore.started_at.is_none();
    let state = match restore.plan.mode {
        _ if untouched => "it had not begun: nothing was changed",
        _ if restore.plan.rows.is_some() => "nothing of it stays, except in a MongoDB without transactions; the log tells how far it went",
        RestoreMode::Drop => "the database that was there is untouched unless the log says that it was swapped",
        RestoreMode::New => "a half-made new database may be left; the log names it",
        RestoreMode::Clean | RestoreMode::Append => "the target may hold a part of the data; the log tells how far it went",
    };
    let error = match outcome {
        JobStatus::Cancelled | JobStatus::Interrupted => {
            let way_back = restore.safety_backup_id.map(|safety| format!("; {}", way_back(safety))).unwrap_or_default();
            Some(format!("{}; {state}{way_back}", error.unwrap_or(outcome.as_str())))
        }
        // What failed has said itself how it leaves the target.
        _ => error.map(str::to_owned),
    };
    db::restores::finish(&ctx.db, &Restore { status: status_for(outcome), error, finished_at: Some(ctx.now()), ..restore }).await?;
    Ok(())
}

async fn open_source(ctx: &Arc<Ctx>, organization: OrganizationId, restore: &Restore, run: &Run) -> Result<Input> {
    match (restore.backup_id, restore.upload_id) {
        (Some(id), _) => {
            let backup = db::backups::get(&ctx.db, organization, id).await?;
            check_backup(&backup)?;
            if source_of(&restore.plan, &backup.artifacts)? == RestoreSource::Snapshot {
                return snapshots::open_for(ctx, organization, &backup, run).await.map(Input::Rows);
            }
            let store = copies::readable_in(ctx, organization, &backup, run).await?.store;
            let source = source::Stored { store, artifacts: backup.artifacts, keys: Some(ctx.keys.clone()) };
            Ok(Input::Dump(Box::new(source), backup.tables))
        }
        (None, Some(id)) => {
            let upload = upload::get(ctx, organization, id).await?;
            if upload_source(&restore.plan, &upload)? == RestoreSource::Snapshot {
                let opened = snapshots::open_file(&upload::file(ctx, id), Some(&ctx.keys)).await?;
                return Ok(Input::Rows(Arc::new(opened)));
            }
            Ok(Input::Dump(Box::new(upload::dump(ctx, &upload)), Vec::new()))
        }
        (None, None) => Err(Error::conflict("the backup to restore was deleted")),
    }
}

fn way_back(safety: BackupId) -> String {
    format!("the safety backup {safety} holds the target as it was")
}

fn safety_failed(error: Error) -> Error {
    Error::new(Kind::Restore, format!("the safety backup failed, so nothing was restored: {error}"))
        .hint("repair the cause, or restore without a safety backup if the target may be lost")
}
