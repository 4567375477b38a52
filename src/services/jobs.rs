//! Jobs: listed, cancelled, retried, put before others.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::{Ctx, audit};
use crate::{
    db,
    domain::{
        events::Event,
        filter::JobFilter,
        ids::{JobId, OrganizationId},
        job::{Job, JobKind, JobStatus, LogLevel, LogLine},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
    },
    error::{Error, Kind, Result},
};

pub mod dead;
pub mod export;
pub mod state;

/// Priorities that a job may have.
const PRIORITIES: std::ops::RangeInclusive<i32> = -100..=100;

pub async fn list(ctx: &Ctx, actor: &Actor, filter: &JobFilter, page: PageRequest) -> Result<Page<Job>> {
    actor.require(Permission::View)?;
    db::jobs::list(&ctx.db, actor.organization_id, filter, page).await
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: JobId) -> Result<Job> {
    actor.require(Permission::View)?;
    db::jobs::get(&ctx.db, actor.organization_id, id).await
}

/// The log, after line `after_seq`, at most 1000 lines.
pub async fn logs(ctx: &Ctx, actor: &Actor, id: JobId, min_level: Option<LogLevel>, after_seq: i64) -> Result<Vec<LogLine>> {
    get(ctx, actor, id).await?;
    db::logs::list(&ctx.db, id, after_seq, min_level, 1000).await
}

/// Cancels a queued or running job. Errors with `CONFLICT` when it is over.
pub async fn cancel(ctx: &Arc<Ctx>, actor: &Actor, id: JobId) -> Result<Job> {
    let job = get(ctx, actor, id).await?;
    actor.require(if job.kind == JobKind::Restore { Permission::Restore } else { Permission::RunBackups })?;
    let job = request_cancel(ctx, actor, id).await?;
    audit::record(ctx, actor, "job.cancel", id, Value::Null).await?;
    Ok(job)
}

/// Queues a failed, cancelled or interrupted job once more, with its attempts counted anew.
/// A restore is not repeated: what its first run left has to be looked at by a person. Errors with `CONFLICT` when what it is
/// about is gone, and while an earlier retry of it is open.
pub async fn retry(ctx: &Arc<Ctx>, actor: &Actor, id: JobId) -> Result<Job> {
    repeat(ctx, actor, id, false).await
}

/// [`retry`]; of a `letter` only while it is a dead one.
async fn repeat(ctx: &Arc<Ctx>, actor: &Actor, id: JobId, letter: bool) -> Result<Job> {
    let job = get(ctx, actor, id).await?;
    actor.require(Permission::RunBackups)?;
    if let Some(needed) = permission_of(&job) {
        actor.require(needed)?;
    }
    if !matches!(job.status, JobStatus::Failed | JobStatus::Cancelled | JobStatus::Interrupted) {
        return Err(Error::conflict(format!("the job is {}: only one that did not complete can be retried", job.status)));
    }
    if job.kind == JobKind::Restore {
        return Err(Error::conflict("a restore is not retried by itself").hint("start a new restore after looking at the target"));
    }
    if letter && !job.dead {
        return Err(Error::conflict("the job is no dead letter any more: somebody has retried or dropped it"));
    }
    check_subject(ctx, actor.organization_id, &job).await?;
    let again = Job {
        payload: job.payload,
        database_id: job.database_id,
        backup_id: job.backup_id,
        diff_id: job.diff_id,
        schedule_id: job.schedule_id,
        exclusive_key: job.exclusive_key,
        priority: job.priority,
        limits: job.limits,
        max_attempts: job.max_attempts,
        ..new(job.kind, ctx)
    };
    db::jobs::retry(&ctx.db, actor.organization_id, id, &again, letter).await?;
    queued(ctx, &again);
    audit::record(ctx, actor, "job.retry", id, json!({ "retriedAs": again.id })).await?;
    Ok(again)
}

/// What starting such a job takes besides the permission to run backups.
fn permission_of(job: &Job) -> Option<Permission> {
    match job.kind {
        JobKind::Retention => Some(Permission::DeleteBackups),
        JobKind::Maintenance => Some(Permission::Settings),
        JobKind::Verify if job.payload.get("deep").is_some() => Some(Permission::Restore),
        _ => None,
    }
}

/// Errors with `CONFLICT` when the database or the backup that a job is about is gone: it could only fail again.
async fn check_subject(ctx: &Ctx, organization: OrganizationId, job: &Job) -> Result<()> {
    let gone = |what: &str, next: &str| Err(Error::conflict(format!("it cannot be retried: {what}")).hint(next));
    if let Some(id) = job.database_id
        && !is_there(db::databases::get(&ctx.db, organization, id).await)?
    {
        return gone("its database was removed", "drop the job, or add the database again and start anew");
    }
    if let Some(id) = job.backup_id
        && !is_there(db::backups::get(&ctx.db, organization, id).await)?
    {
        return gone("its backup was deleted", "drop the job, and start a new one for a backup that is there");
    }
    Ok(())
}

fn is_there<T>(found: Result<T>) -> Result<bool> {
    match found {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets a waiting job start before those with smaller numbers, or after those with larger ones.
/// Errors with `CONFLICT` when it does not wait any more.
pub async fn set_priority(ctx: &Ctx, actor: &Actor, id: JobId, priority: i32) -> Result<Job> {
    actor.require(Permission::RunBackups)?;
    if !PRIORITIES.contains(&priority) {
        let problem = format!("is {priority} and must be from {} to {}", PRIORITIES.start(), PRIORITIES.end());
        return Err(Error::validation("the priority is not valid").fields(vec![("priority".into(), problem)]));
    }
    let job = db::jobs::set_priority(&ctx.db, actor.organization_id, id, priority).await?;
    audit::record(ctx, actor, "job.priority", id, json!({ "priority": priority })).await?;
    ctx.tell(Event::from(&job));
    Ok(job)
}

/// A job that is ready to be queued; the caller fills in what it is about.
pub(super) fn new(kind: JobKind, ctx: &Ctx) -> Job {
    let now = ctx.now();
    Job {
        id: JobId::new(),
        kind,
        status: JobStatus::Queued,
        database_id: None,
        backup_id: None,
        restore_id: None,
        diff_id: None,
        schedule_id: None,
        priority: 0,
        limits: Default::default(),
        exclusive_key: None,
        payload: Value::Null,
        attempt: 0,
        // A restore is never repeated on its own.
        max_attempts: if kind == JobKind::Restore { 1 } else { ctx.config.job_attempts },
        run_after: now,
        cancel_requested: false,
        progress: None,
        error: None,
        dead: false,
        report: None,
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

/// Stores the job and wakes a worker.
pub(super) async fn enqueue(ctx: &Ctx, actor: &Actor, job: Job) -> Result<Job> {
    db::jobs::enqueue(&ctx.db, actor.organization_id, &job).await?;
    queued(ctx, &job);
    Ok(job)
}

/// Tells of a job that was stored, and wakes a worker.
pub(super) fn queued(ctx: &Ctx, job: &Job) {
    ctx.tell(Event::from(job));
    ctx.queued.notify_one();
}

/// Marks the job as to be cancelled. A queued one is over at once; a running one hears of it through its token.
pub(super) async fn request_cancel(ctx: &Arc<Ctx>, actor: &Actor, id: JobId) -> Result<Job> {
    let job = db::jobs::request_cancel(&ctx.db, actor.organization_id, id).await?;
    match job.status {
        JobStatus::Cancelled => {
            super::settle(ctx, actor.organization_id, &job, JobStatus::Cancelled, Some("cancelled before it started")).await?;
            ctx.tell(Event::from(&job));
        }
        JobStatus::Running => {
            if let Some(token) = ctx.running.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
                token.cancel();
            }
        }
        status => return Err(Error::conflict(format!("the job is already {status}"))),
    }
    Ok(job)
}

/// True while the job is in the queue or runs.
pub(super) async fn is_open(ctx: &Ctx, organization: OrganizationId, id: Option<JobId>) -> Result<bool> {
    let Some(id) = id else { return Ok(false) };
    match db::jobs::get(&ctx.db, organization, id).await {
        Ok(job) => Ok(!job.status.is_over()),
        Err(error) if error.kind == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
