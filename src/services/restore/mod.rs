//! Restores: asked for and confirmed, listed, cancelled.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ctx, audit, databases, jobs, snapshots};
use crate::{
    db,
    domain::{
        artifact::{Artifact, ArtifactKind, DumpFormat},
        backup::{Backup, BackupStatus, VerifyState},
        database::Settings,
        fields::validate,
        filter::RestoreFilter,
        ids::{BackupId, DatabaseId, RestoreId, UploadId},
        job::{Job, JobKind, JobStatus, LogLevel, LogLine},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
        restore::{Restore, RestoreContent, RestoreMode, RestorePlan, RestoreSource, RestoreStatus},
    },
    engines::{self, Engine},
    error::{Error, Result},
};

pub(super) mod execute;
pub mod rows;
pub mod source;
pub mod upload;

/// Asks for a restore of a backup or of an upload, over the connection of a configured database.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRequest {
    #[serde(default)]
    pub backup_id: Option<BackupId>,
    #[serde(default)]
    pub upload_id: Option<UploadId>,
    /// Whose connection is used. `plan.targetName` restores into another database of that server.
    pub database_id: DatabaseId,
    #[serde(default)]
    pub plan: RestorePlan,
    /// The target's name, typed by the person who asks: nothing is overwritten by a slip.
    #[serde(default)]
    pub confirm: String,
}

pub async fn list(ctx: &Ctx, actor: &Actor, filter: &RestoreFilter, page: PageRequest) -> Result<Page<Restore>> {
    actor.require(Permission::View)?;
    db::restores::list(&ctx.db, actor.organization_id, filter, page).await
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: RestoreId) -> Result<Restore> {
    actor.require(Permission::View)?;
    db::restores::get(&ctx.db, actor.organization_id, id).await
}

/// What has to be typed to confirm a restore into this target: the database's name on its server, or the file's name.
pub async fn target_label(ctx: &Ctx, actor: &Actor, database: DatabaseId, plan: &RestorePlan) -> Result<String> {
    actor.require(Permission::View)?;
    let database = db::databases::get(&ctx.db, actor.organization_id, database).await?;
    Ok(label(engines::find(&database.engine)?, &target_settings(engines::find(&database.engine)?, database.settings, plan)))
}

/// Queues a restore. Errors with every part of the plan that the engine cannot do, and unless `confirm` names the target.
pub async fn start(ctx: &Arc<Ctx>, actor: &Actor, request: RestoreRequest) -> Result<Restore> {
    actor.require(Permission::Restore)?;
    let database = db::databases::get(&ctx.db, actor.organization_id, request.database_id).await?;
    let engine = engines::find(&database.engine)?;
    let plan = check_plan(engine, request.plan)?;
    let (source_label, source_engine) = match (request.backup_id, request.upload_id) {
        (Some(id), None) => {
            let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
            check_backup(&backup)?;
            match source_of(&plan, &backup.artifacts)? {
                RestoreSource::Dump => check_partial(backup.partial, &plan)?,
                RestoreSource::Snapshot => rows::check_samples(&*snapshots::open_of(ctx, actor.organization_id, &backup).await?, &plan)?,
            }
            (
                format!("{} of {}", backup.database_name, backup.moment.unwrap_or(backup.created_at).utc().format("%Y-%m-%d %H:%M:%S UTC")),
                backup.engine,
            )
        }
        (None, Some(id)) => {
            let upload = upload::get(ctx, actor.organization_id, id).await?;
            upload_source(&plan, &upload)?;
            (upload.label, upload.engine)
        }
        _ => return Err(Error::validation("a restore needs either backupId or uploadId")),
    };
    if source_engine != database.engine {
        return Err(Error::validation(format!(
            "a {source_engine} dump cannot be restored into the {} database '{}'",
            database.engine, database.name
        )));
    }
    let settings = target_settings(engine, databases::open_settings(ctx, &database)?, &plan);
    databases::refuse_own_files(ctx, engine, &settings)?;
    let expected = label(engine, &settings);
    if request.confirm.trim() != expected {
        return Err(Error::validation(format!("the restore is not confirmed: it would write into '{expected}'"))
            .hint(format!("type {expected} to confirm"))
            .fields(vec![("confirm".into(), format!("must be {expected}"))]));
    }
    let (public, _) = super::secrets::public(engine.info().connection, settings);
    let mut restore = Restore {
        id: RestoreId::new(),
        backup_id: request.backup_id,
        upload_id: request.upload_id,
        source_label,
        database_id: Some(database.id),
        target_label: engine.address(&public),
        engine: database.engine.clone(),
        plan,
        status: RestoreStatus::Queued,
        job_id: None,
        safety_backup_id: None,
        created_at: ctx.now(),
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
        tables: Vec::new(),
        applied: None,
    };
    let job = Job {
        database_id: Some(database.id),
        backup_id: request.backup_id,
        restore_id: Some(restore.id),
        exclusive_key: Some(databases::exclusive_key(&restore.target_label)),
        ..jobs::new(JobKind::Restore, ctx)
    };
    restore.job_id = Some(job.id);
    db::restores::insert(&ctx.db, actor.organization_id, &restore).await?;
    jobs::enqueue(ctx, actor, job).await?;
    audit::record(ctx, actor, "restore.start", restore.id, json!({ "source": restore.source_label, "target": restore.target_label }))
        .await?;
    Ok(restore)
}

/// Cancels a queued or running restore. Errors with `CONFLICT` when it is over.
pub async fn cancel(ctx: &Arc<Ctx>, actor: &Actor, id: RestoreId) -> Result<Restore> {
    actor.require(Permission::Restore)?;
    let restore = get(ctx, actor, id).await?;
    if restore.status.is_over() {
        return Err(Error::conflict(format!("the restore is already {}", restore.status)));
    }
    let job = restore.job_id.ok_or_else(|| Error::internal("a restore without a job"))?;
    jobs::request_cancel(ctx, actor, job).await?;
    audit::record(ctx, actor, "restore.cancel", id, Value::Null).await?;
    get(ctx, actor, id).await
}

/// The log of the restore's job, after line `after_seq`.
pub async fn logs(ctx: &Ctx, actor: &Actor, id: RestoreId, min_level: Option<LogLevel>, after_seq: i64) -> Result<Vec<LogLine>> {
    let restore = get(ctx, actor, id).await?;
    match restore.job_id {
        Some(job) => db::logs::list(&ctx.db, job, after_seq, min_level, 1000).await,
        None => Ok(Vec::new()),
    }
}

/// A plan the engine can do, its options in canonical form. Every problem is reported at once, by field.
pub fn check_plan(engine: &dyn Engine, mut plan: RestorePlan) -> Result<RestorePlan> {
    let info = engine.info();
    let mut problems = BTreeMap::new();
    if !info.restore_modes.contains(&plan.mode) {
        problems.insert("mode".to_owned(), format!("'{}' is not possible for {}", plan.mode, info.label));
    }
    if !info.restore_contents.contains(&plan.content) {
        problems.insert("content".to_owned(), format!("'{}' is not possible for {}", plan.content, info.label));
    }
    if plan.content == RestoreContent::Data && plan.mode == RestoreMode::New {
        problems.insert("content".to_owned(), "rows alone need tables to go into: choose the mode append".into());
    }
    if !plan.tables.is_empty() && !info.restore_tables {
        problems.insert("tables".to_owned(), format!("tables cannot be chosen for {}", info.label));
    }
    if plan.end_connections && !info.end_connections {
        problems.insert("endConnections".to_owned(), format!("is not possible for {}", info.label));
    }
    if plan.rows.is_some() {
        problems.insert("rows".to_owned(), "are restored from their comparison: POST /api/diffs/{id}/restore".into());
    }
    plan.tables.retain(|table| !table.trim().is_empty());
    plan.target_name = plan.target_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if plan.target_name.as_ref().is_some_and(|name| name.chars().any(char::is_control)) {
        problems.insert("targetName".to_owned(), "must be one line without control characters".into());
    }
    match validate(info.restore_options, &plan.engine) {
        Ok(options) => plan.engine = options,
        Err(error) => problems.extend(error.fields),
    }
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(Error::validation("the restore plan is not valid").fields(problems.into_iter().collect()))
    }
}

/// Which artifact a plan restores. Errors when it is not there, and with what the plan asks of it that it cannot do.
pub fn source_of(plan: &RestorePlan, artifacts: &[Artifact]) -> Result<RestoreSource> {
    let has = |kind| artifacts.iter().any(|artifact| artifact.kind == kind);
    let source = match plan.source {
        Some(RestoreSource::Dump) if !has(ArtifactKind::Dump) => {
            return Err(Error::conflict("the backup has no dump to restore").hint("restore its snapshot: source snapshot"));
        }
        Some(RestoreSource::Snapshot) if !has(ArtifactKind::Snapshot) => {
            return Err(Error::conflict("the backup has no snapshot to restore").hint("restore its dump: source dump"));
        }
        Some(source) => source,
        None if has(ArtifactKind::Dump) => RestoreSource::Dump,
        None if has(ArtifactKind::Snapshot) => RestoreSource::Snapshot,
        None => return Err(Error::conflict("the backup has neither a dump nor a snapshot to restore")),
    };
    check_source(plan, source)?;
    Ok(source)
}

/// Which kind of file an upload is restored as.
fn upload_source(plan: &RestorePlan, upload: &upload::Upload) -> Result<RestoreSource> {
    let source = if upload.format == DumpFormat::Snapshot { RestoreSource::Snapshot } else { RestoreSource::Dump };
    if plan.source.is_some_and(|wanted| wanted != source) {
        return Err(Error::validation(format!("the uploaded file is a {source}")).hint(format!("choose the source {source}")));
    }
    check_source(plan, source)?;
    Ok(source)
}

/// Errors with what a plan asks of this source that it cannot do.
pub fn check_source(plan: &RestorePlan, source: RestoreSource) -> Result<()> {
    match source {
        RestoreSource::Snapshot => rows::check_rows_plan(plan),
        RestoreSource::Dump if plan.dry_run => Err(Error::validation("a dump cannot be tried without being restored")
            .hint("choose the source snapshot for a dry run")
            .fields(vec![("dryRun".into(), "is only possible from a snapshot".into())])),
        RestoreSource::Dump => Ok(()),
    }
}

/// Errors when a backup of a part would replace the whole, unless the plan accepts that.
pub fn check_partial(partial: bool, plan: &RestorePlan) -> Result<()> {
    let whole = plan.mode == RestoreMode::Drop && plan.content == RestoreContent::All && plan.tables.is_empty();
    if partial && whole && !plan.accept_partial {
        return Err(Error::validation("this backup holds only a part of its database, and the whole target would be replaced by it")
            .hint("restore it in another mode or into a new database, or set acceptPartial if what it leaves out may be lost")
            .fields(vec![("acceptPartial".into(), "must be set for this".into())]));
    }
    Ok(())
}

/// Connection settings that point at the plan's target.
pub fn target_settings(engine: &dyn Engine, mut settings: Settings, plan: &RestorePlan) -> Settings {
    if let Some(name) = &plan.target_name {
        settings.insert(engine.info().target_field.to_owned(), Value::String(name.clone()));
    }
    settings
}

/// The target's name as people know it.
pub(super) fn label(engine: &dyn Engine, settings: &Settings) -> String {
    let name = settings.get(engine.info().target_field).and_then(Value::as_str).unwrap_or_default();
    // A file is confirmed by its name, not by its whole path.
    if engine.info().target_field == "path" { name.rsplit('/').next().unwrap_or(name).to_owned() } else { name.to_owned() }
}

fn check_backup(backup: &Backup) -> Result<()> {
    if backup.status != BackupStatus::Completed {
        return Err(Error::conflict(format!("the backup is {}: only a completed one can be restored", backup.status)));
    }
    if backup.verify_state == VerifyState::Corrupt {
        return Err(Error::conflict("the last verification found this backup damaged").hint("restore from another backup"));
    }
    Ok(())
}

fn status_for(outcome: JobStatus) -> RestoreStatus {
    match outcome {
        JobStatus::Queued => RestoreStatus::Queued,
        JobStatus::Running => RestoreStatus::Running,
        JobStatus::Completed => RestoreStatus::Completed,
        JobStatus::Failed => RestoreStatus::Failed,
        JobStatus::Cancelled => RestoreStatus::Cancelled,
        JobStatus::Interrupted => RestoreStatus::Interrupted,
    }
}
