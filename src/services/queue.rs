//! What the workers need of the catalogue: claims, leases, ends, log lines. Each change is told to the event stream.

use std::{path::PathBuf, sync::Arc};

use super::{Ctx, backup, restore, retention};
pub use crate::db::{
    jobs::{Heartbeat, Lease, Room},
    logs::NewLine,
};
use crate::{
    db::{self, lock::make_private_dir},
    domain::{
        events::{Event, Progress},
        ids::{JobId, OrganizationId},
        job::{Job, JobStatus},
        time::Moment,
    },
    engines::process,
    error::{Error, Result},
};

/// Takes the next job that may start, for the holder of `lease`.
pub async fn claim(ctx: &Ctx, lease: &Lease) -> Result<Option<(OrganizationId, Job)>> {
    let claimed = db::jobs::claim(&ctx.db, lease, ctx.now(), room(ctx)).await?;
    if let Some((_, job)) = &claimed {
        ctx.tell(Event::from(job));
    }
    Ok(claimed)
}

/// True when [`claim`] would find a job.
pub async fn any_may_start(ctx: &Ctx) -> Result<bool> {
    db::jobs::any_may_start(&ctx.db, ctx.now(), room(ctx)).await
}

/// One worker is always left for what somebody waits for, unless there is only one.
fn room(ctx: &Ctx) -> Room {
    Room { backups: ctx.config.max_concurrent_backups, upkeep: ctx.config.max_workers.saturating_sub(1).max(1) }
}

/// Extends the lease and stores the progress.
pub async fn heartbeat(ctx: &Ctx, id: JobId, lease: &Lease, progress: Option<&Progress>) -> Result<Heartbeat> {
    db::jobs::heartbeat(&ctx.db, id, lease, progress).await
}

/// Ends a held job, and returns it as it ended. `None` when its lease was lost, and nothing changed.
pub async fn finish(ctx: &Ctx, id: JobId, lease: &Lease, status: JobStatus, error: Option<&str>) -> Result<Option<Job>> {
    let finished = db::jobs::finish(&ctx.db, id, &lease.token, status, error, ctx.now()).await?;
    told(ctx, finished.as_ref());
    Ok(finished)
}

/// Puts a held job back into the queue; its attempt `counts`, or did not happen. Returns it as it is then: queued, or cancelled
/// when somebody has asked for that meanwhile. `None` when its lease was lost, and nothing changed.
pub async fn requeue(ctx: &Ctx, id: JobId, lease: &Lease, run_after: Moment, error: Option<&str>, counts: bool) -> Result<Option<Job>> {
    let queued = db::jobs::requeue(&ctx.db, id, &lease.token, run_after, error, counts, ctx.now()).await?;
    told(ctx, queued.as_ref());
    Ok(queued)
}

/// Jobs that ended and whose consequences were not seen to yet.
pub async fn to_follow_up(ctx: &Ctx) -> Result<Vec<(OrganizationId, Job)>> {
    db::jobs::to_follow_up(&ctx.db, 200).await
}

/// Records that everything that follows from the job's end was seen to.
pub async fn mark_followed_up(ctx: &Ctx, id: JobId) -> Result<()> {
    db::jobs::mark_followed_up(&ctx.db, id).await
}

/// Takes over every running job: at start, before any worker, when whoever ran them is gone.
pub async fn take_over_all(ctx: &Ctx, lease: &Lease) -> Result<Vec<(OrganizationId, Job)>> {
    db::jobs::take_over(&ctx.db, lease, None, Vec::new()).await
}

/// Takes over the running jobs whose lease has ended: their worker vanished. Not those of `alive`, tokens of leases whose workers
/// are known to be there: the machine may have slept, its clock may have been set, and the catalogue may have been busy.
pub async fn take_over_expired(ctx: &Ctx, lease: &Lease, alive: Vec<String>) -> Result<Vec<(OrganizationId, Job)>> {
    db::jobs::take_over(&ctx.db, lease, Some(Moment::now()), alive).await
}

/// Stores log lines and tells them.
pub async fn append_logs(ctx: &Ctx, lines: &[NewLine]) -> Result<()> {
    for line in db::logs::append(&ctx.db, lines).await? {
        ctx.tell(Event::Log { line });
    }
    Ok(())
}

/// Keeps today's copy of the catalogue beside it; see [`db::Db::keep_daily_copy`].
pub async fn keep_daily_copy(ctx: &Ctx) -> Result<bool> {
    ctx.db.keep_daily_copy().await
}

/// Removes uploads that nobody restored for a day.
pub async fn expire_uploads(ctx: &Ctx) -> Result<()> {
    restore::upload::expire(ctx).await
}

/// Writes pins to the manifests of stores that could not be reached before.
pub async fn write_noted_pins(ctx: &Ctx) -> Result<()> {
    backup::write_noted_pins(ctx).await.map(drop)
}

/// Queues the daily retention when it is due; see [`retention::daily`].
pub async fn retain_daily(ctx: &Arc<Ctx>) -> Result<()> {
    retention::daily(ctx).await
}

/// What of the job's limits on child processes this machine cannot hold, for the job's log.
pub fn limits_not_held(job: &Job) -> Vec<String> {
    process::limits::unavailable(&job.limits.child)
}

/// Makes the private folder (0700) that one attempt of a job may spool into.
pub async fn make_scratch(ctx: &Ctx, job: &Job) -> Result<PathBuf> {
    let path = ctx.scratch_root().join(format!("{}-{}", job.id, job.attempt));
    let folder = path.clone();
    let made = tokio::task::spawn_blocking(move || make_private_dir(&folder)).await;
    made.map_err(|cause| Error::internal("making a scratch folder").source(cause))??;
    Ok(path)
}

fn told(ctx: &Ctx, changed: Option<&Job>) {
    if let Some(job) = changed {
        ctx.tell(Event::from(job));
    }
}
