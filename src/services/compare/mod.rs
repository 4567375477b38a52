//! Comparisons: asked for, listed, cancelled, deleted; what they found, and what can be made of it.

use std::{path::PathBuf, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ctx, audit, databases, jobs};
use crate::{
    db,
    domain::{
        artifact::ArtifactKind,
        backup::{Backup, BackupStatus, VerifyState},
        database::Database,
        diff::{Diff, DiffOptions, DiffStatus, SideRef},
        filter::DiffFilter,
        ids::{DatabaseId, DiffId},
        job::{Job, JobKind, JobStatus, LogLevel, LogLine},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
    },
    error::{Error, Result},
};

pub mod apply;
pub mod between;
pub mod execute;
pub mod live;
pub mod patch;
mod phases;
mod project;
mod reports;
pub mod sides;
pub mod telling;
pub mod view;

pub use apply::{RowRestoreRequest, restore_rows};
pub use patch::patch;
pub use reports::Reports;
pub use view::{ValueQuery, changes, value};

/// Asks for a comparison. At most one side is a live database.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiffRequest {
    pub before: SideRef,
    pub after: SideRef,
    #[serde(default)]
    pub options: DiffOptions,
}

/// Newest first. Summaries come without the columns of their tables, which [`get`] has.
pub async fn list(ctx: &Ctx, actor: &Actor, filter: &DiffFilter, page: PageRequest) -> Result<Page<Diff>> {
    actor.require(Permission::View)?;
    let mut page = db::diffs::list(&ctx.db, actor.organization_id, filter, page).await?;
    for table in page.items.iter_mut().flat_map(|diff| &mut diff.summary).flat_map(|summary| &mut summary.tables) {
        table.columns.clear();
    }
    Ok(page)
}

/// One comparison; while it runs, with what it has found so far.
pub async fn get(ctx: &Ctx, actor: &Actor, id: DiffId) -> Result<Diff> {
    actor.require(Permission::View)?;
    db::diffs::get(&ctx.db, actor.organization_id, id).await
}

/// Queues a comparison. Errors when both sides are live databases or the same backup, when the engines differ, and when a
/// backup has no snapshot or is not good.
pub async fn start(ctx: &Arc<Ctx>, actor: &Actor, request: DiffRequest) -> Result<Diff> {
    actor.require(Permission::RunBackups)?;
    let options = check_options(request.options)?;
    if request.before == request.after {
        return Err(Error::validation("both sides are the same").hint("choose two backups, or a backup and the live database"));
    }
    if matches!((request.before, request.after), (SideRef::DatabaseId(_), SideRef::DatabaseId(_))) {
        return Err(Error::validation("two live databases cannot be compared").hint("back one of them up, and compare that backup"));
    }
    let before = described(ctx, actor, request.before).await?;
    let after = described(ctx, actor, request.after).await?;
    if before.engine != after.engine {
        return Err(Error::validation(format!("{} cannot be compared with {}: the engines differ", before.engine, after.engine)));
    }
    let same = before.database_name == after.database_name;
    let job = Job { exclusive_key: before.live.or(after.live), ..jobs::new(JobKind::Diff, ctx) };
    let diff = Diff {
        id: DiffId::new(),
        database_id: after.database_id.or(before.database_id),
        database_name: if same { after.database_name.clone() } else { format!("{} → {}", before.database_name, after.database_name) },
        engine: after.engine,
        before: request.before,
        after: request.after,
        before_label: if same { before.label } else { format!("{}: {}", before.database_name, before.label) },
        after_label: if same { after.label } else { format!("{}: {}", after.database_name, after.label) },
        options,
        status: DiffStatus::Queued,
        job_id: Some(job.id),
        created_at: ctx.now(),
        started_at: None,
        finished_at: None,
        error: None,
        report_size: 0,
        summary: None,
    };
    db::diffs::insert(&ctx.db, actor.organization_id, &diff).await?;
    jobs::enqueue(ctx, actor, Job { database_id: diff.database_id, diff_id: Some(diff.id), ..job }).await?;
    let details = json!({ "database": diff.database_name, "before": diff.before_label, "after": diff.after_label });
    audit::record(ctx, actor, "diff.start", diff.id, details).await?;
    Ok(diff)
}

/// Cancels a queued or running comparison. Errors with `CONFLICT` when it is over.
pub async fn cancel(ctx: &Arc<Ctx>, actor: &Actor, id: DiffId) -> Result<Diff> {
    actor.require(Permission::RunBackups)?;
    let diff = get(ctx, actor, id).await?;
    if diff.status.is_over() {
        return Err(Error::conflict(format!("the comparison is already {}", diff.status)));
    }
    let job = diff.job_id.ok_or_else(|| Error::internal("a comparison without a job"))?;
    jobs::request_cancel(ctx, actor, job).await?;
    audit::record(ctx, actor, "diff.cancel", id, Value::Null).await?;
    get(ctx, actor, id).await
}

/// Deletes a comparison with its report. Errors with `CONFLICT` while it is queued or running, or rows of it are restored.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: DiffId) -> Result<()> {
    actor.require(Permission::RunBackups)?;
    let diff = get(ctx, actor, id).await?;
    if !diff.status.is_over() {
        return Err(Error::conflict(format!("the comparison is {}", diff.status)).hint("cancel it first"));
    }
    if db::restores::unfinished(&ctx.db).await?.iter().any(|(_, restore)| restore.plan.rows.as_ref().is_some_and(|rows| rows.diff_id == id))
    {
        return Err(Error::conflict("a restore reads this comparison").hint("wait for the restore to end"));
    }
    db::diffs::delete(&ctx.db, actor.organization_id, id).await?;
    execute::remove_report(ctx, id).await?;
    audit::record(ctx, actor, "diff.delete", id, json!({ "database": diff.database_name })).await
}

/// The log of the comparison's job, after line `after_seq`.
pub async fn logs(ctx: &Ctx, actor: &Actor, id: DiffId, min_level: Option<LogLevel>, after_seq: i64) -> Result<Vec<LogLine>> {
    match get(ctx, actor, id).await?.job_id {
        Some(job) => db::logs::list(&ctx.db, job, after_seq, min_level, 1000).await,
        None => Ok(Vec::new()),
    }
}

/// Where the report of a comparison is.
fn report_path(ctx: &Ctx, id: DiffId) -> PathBuf {
    ctx.reports().join(format!("{id}.report"))
}

/// What is known of a side before it is opened.
struct Described {
    engine: String,
    database_id: Option<DatabaseId>,
    database_name: String,
    label: String,
    /// Of a live side: the key of the jobs that take turns on its database.
    live: Option<String>,
}

async fn described(ctx: &Ctx, actor: &Actor, side: SideRef) -> Result<Described> {
    match side {
        SideRef::BackupId(id) => {
            let backup = db::backups::get(&ctx.db, actor.organization_id, id).await?;
            check_backup(&backup)?;
            Ok(Described {
                label: backup_label(&backup),
                engine: backup.engine,
                database_id: backup.database_id,
                database_name: backup.database_name,
                live: None,
            })
        }
        SideRef::DatabaseId(id) => {
            let database: Database = db::databases::get(&ctx.db, actor.organization_id, id).await?;
            Ok(Described {
                live: Some(databases::exclusive_key(&databases::address(&database)?)),
                engine: database.engine,
                database_id: Some(id),
                database_name: database.name,
                label: "live database".into(),
            })
        }
    }
}

/// Errors unless the backup is one whose rows can be compared.
fn check_backup(backup: &Backup) -> Result<()> {
    if backup.status != BackupStatus::Completed {
        return Err(Error::conflict(format!("the backup is {}: only a completed one can be compared", backup.status)));
    }
    if backup.verify_state == VerifyState::Corrupt {
        return Err(Error::conflict("the last verification found this backup damaged").hint("compare another backup"));
    }
    if backup.artifact(ArtifactKind::Snapshot).is_none() {
        return Err(Error::conflict("the backup has no snapshot, so its rows cannot be compared")
            .hint("make a backup with a snapshot: `artifacts` must hold `snapshot`"));
    }
    Ok(())
}

fn backup_label(backup: &Backup) -> String {
    let moment = backup.moment.unwrap_or(backup.created_at).utc().format("%Y-%m-%d %H:%M:%S UTC");
    format!("{moment} ({}{})", backup.kind, if backup.partial { ", a part only" } else { "" })
}

/// Options in their canonical form. Every problem is reported at once, by field.
pub fn check_options(mut options: DiffOptions) -> Result<DiffOptions> {
    let mut problems = Vec::new();
    for list in [&mut options.tables, &mut options.ignore_columns] {
        list.iter_mut().for_each(|pattern| *pattern = pattern.trim().to_owned());
        list.retain(|pattern| !pattern.is_empty());
    }
    if !(options.float_tolerance.is_finite() && options.float_tolerance >= 0.0) {
        problems.push(("floatTolerance".to_owned(), "must be 0 or more".to_owned()));
    }
    for (field, seconds) in
        [("statementTimeoutSeconds", options.statement_timeout_seconds), ("lockTimeoutSeconds", options.lock_timeout_seconds)]
    {
        if !(1..=7 * 24 * 3600).contains(&seconds) {
            problems.push((field.to_owned(), "must be 1 second to a week".to_owned()));
        }
    }
    if problems.is_empty() { Ok(options) } else { Err(Error::validation("some options are not valid").fields(problems)) }
}

/// The comparison's status that goes with how a job ended.
fn status_for(outcome: JobStatus) -> DiffStatus {
    match outcome {
        JobStatus::Queued => DiffStatus::Queued,
        JobStatus::Running => DiffStatus::Running,
        JobStatus::Completed => DiffStatus::Completed,
        JobStatus::Failed => DiffStatus::Failed,
        JobStatus::Cancelled => DiffStatus::Cancelled,
        JobStatus::Interrupted => DiffStatus::Interrupted,
    }
}
