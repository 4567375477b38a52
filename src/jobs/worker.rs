//! One worker: takes a job, runs it, concludes it, takes the next.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Pool,
    keeper::Keeper,
    log,
    observer::{self, JobObserver},
    policy::{Next, Outcome},
    recover,
};
use crate::{
    domain::{
        ids::OrganizationId,
        job::{Job, JobStatus, LogLevel},
        run::{Learned, Run},
        time::Moment,
    },
    error::Result,
    services::queue::{self, Lease, NewLine},
};

const SETTLE_ATTEMPTS: u32 = 3;

/// Works until the pool is stopping and the job in hand has ended, or until there has been nothing to do for so long
/// that the pool can do without it.
pub(super) async fn serve(pool: Arc<Pool>, id: u32) {
    let _entry = Entry { pool: &pool, id };
    let mut idle_since = Instant::now();
    while !pool.stopping.is_cancelled() {
        let lease = pool.new_lease();
        // From before the claim until the job is concluded: the sweep leaves it alone.
        let _alive = pool.alive(&lease);
        match queue::claim(&pool.ctx, &lease).await {
            Ok(Some((organization, job))) => {
                pool.ctx.workers.set(id, Some(job.id));
                // More may be due than this one: each claim wakes the next worker.
                pool.ctx.queued.notify_one();
                let span = tracing::info_span!("job", job_id = %job.id, kind = %job.kind, attempt = job.attempt);
                run(&pool, organization, &job, lease).instrument(span).await;
                pool.ctx.workers.set(id, None);
                idle_since = Instant::now();
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the queue cannot be read"),
        }
        if idle_since.elapsed() >= pool.timing.idle && pool.ctx.workers.retire(id, pool.ctx.config.min_workers) {
            return;
        }
        tokio::select! {
            () = pool.stopping.cancelled() => {}
            () = pool.ctx.queued.notified() => {}
            () = tokio::time::sleep(pool.timing.poll) => {}
        }
    }
}

/// The worker's entry in the register, for as long as it lives.
struct Entry<'a> {
    pool: &'a Pool,
    id: u32,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.pool.ctx.workers.leave(self.id);
    }
}

/// Runs one attempt from claim to end.
async fn run(pool: &Pool, organization: OrganizationId, job: &Job, lease: Lease) {
    let (lines, log) = log::start(Arc::clone(&pool.ctx), job.id);
    let observer = Arc::new(JobObserver::new(lines, tracing::Span::current()));
    let outcome = match queue::make_scratch(&pool.ctx, job).await {
        Ok(scratch) => {
            let cancel = CancellationToken::new();
            let outcome = {
                let _registered = Registered::new(pool, job, &cancel);
                let run = Run {
                    cancel: cancel.clone(),
                    observer: observer.clone(),
                    scratch: scratch.clone(),
                    tool_dirs: pool.ctx.config.tool_dirs(),
                    learned: Learned::default(),
                    limits: job.limits.child.clone(),
                };
                for warning in queue::limits_not_held(job) {
                    run.warn(warning);
                }
                attempt(pool, organization, job, &lease, &observer, run).await
            };
            if let Err(cause) = tokio::fs::remove_dir_all(&scratch).await {
                tracing::warn!(path = %scratch.display(), %cause, "temporary files could not be removed");
            }
            outcome
        }
        Err(error) => Outcome::Failed(error.retryable()),
    };
    let (level, last) = last_line(job, &outcome);
    observer::trace(level, &last);
    log.close(level, &last).await;
    if let Err(error) = conclude(pool, organization, job, &lease, outcome).await {
        // The lease ends by itself; the sweep then finds the job and concludes it.
        tracing::error!(%error, "the job's end could not be recorded");
    }
}

async fn attempt(pool: &Pool, organization: OrganizationId, job: &Job, lease: &Lease, observer: &Arc<JobObserver>, run: Run) -> Outcome {
    let (work, owned, cancel) = (Arc::clone(&pool.work), job.clone(), run.cancel.clone());
    // A task of its own: a panic in it is caught, and it can be dropped when it ignores a cancel.
    let task = tokio::spawn(async move { work.execute(organization, &owned, run).await }.in_current_span());
    Keeper { pool, job, lease: lease.clone(), observer: Arc::clone(observer), cancel }.watch(task).await
}

/// Settles the rows that belong to the job, then the job. Nothing is written without the lease.
pub(super) async fn conclude(pool: &Pool, organization: OrganizationId, job: &Job, lease: &Lease, outcome: Outcome) -> Result<()> {
    let renewed = Lease { token: lease.token.clone(), until: pool.lease_end() };
    let beat = queue::heartbeat(&pool.ctx, job.id, &renewed, None).await?;
    if !beat.held {
        tracing::warn!("another worker has taken the job over; nothing is recorded here");
        return Ok(());
    }
    let outcome = what_is_true(pool, organization, job, outcome).await?;
    let message = outcome.message();
    let message = message.as_deref();
    match outcome.next(job, beat.cancel_requested, pool.ctx.now(), pool.timing.retry_base) {
        Next::Nothing => {}
        Next::End(status) => {
            if status != JobStatus::Completed {
                settle(pool, organization, job, status, message).await;
            }
            if let Some(ended) = queue::finish(&pool.ctx, job.id, lease, status, message).await? {
                recover::follow_up(pool, organization, &ended).await;
            }
        }
        Next::Again { settled, at, counts } => {
            settle(pool, organization, job, settled, message).await;
            let queued = queue::requeue(&pool.ctx, job.id, lease, at, message, counts).await?;
            if let Some(cancelled) = queued.filter(|job| job.status == JobStatus::Cancelled) {
                recover::follow_up(pool, organization, &cancelled).await;
            }
        }
    }
    Ok(())
}

/// What completed is complete, whatever came over the attempt afterwards: its process may have been killed, or its time may
/// have been up, between the rows of the work and the end of the job.
async fn what_is_true(pool: &Pool, organization: OrganizationId, job: &Job, outcome: Outcome) -> Result<Outcome> {
    if matches!(outcome, Outcome::Completed | Outcome::LostLease) || !pool.work.completed(organization, job).await? {
        return Ok(outcome);
    }
    let message = "what the job was for is complete: so is the job".to_owned();
    queue::append_logs(&pool.ctx, &[NewLine { job_id: job.id, at: Moment::now(), level: LogLevel::Info, message }]).await?;
    Ok(Outcome::Completed)
}

/// Settles in a task of its own, because it may panic. When it keeps failing the job ends all the same; rows that then
/// still say "running" are settled at the next start.
async fn settle(pool: &Pool, organization: OrganizationId, job: &Job, status: JobStatus, message: Option<&str>) {
    for attempt in 1..=SETTLE_ATTEMPTS {
        let (work, owned, message) = (Arc::clone(&pool.work), job.clone(), message.map(str::to_owned));
        let settling = async move { work.settle(organization, &owned, status, message.as_deref()).await };
        let problem = match tokio::spawn(settling.in_current_span()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(cause) => cause.to_string(),
        };
        tracing::error!(attempt, problem, "what belongs to the job could not be settled");
        if attempt < SETTLE_ATTEMPTS {
            tokio::time::sleep(pool.timing.settle_again).await;
        }
    }
}

/// The last line of the attempt's log.
fn last_line(job: &Job, outcome: &Outcome) -> (LogLevel, String) {
    let attempt = format!("attempt {} of {}", job.attempt, job.max_attempts);
    match outcome {
        Outcome::Completed => (LogLevel::Info, "completed".to_owned()),
        Outcome::Cancelled => (LogLevel::Warn, "cancelled".to_owned()),
        Outcome::Failed(error) => (LogLevel::Error, format!("{attempt} failed: {error}")),
        Outcome::Interrupted(why) => (LogLevel::Warn, format!("{attempt} was interrupted: {why}")),
        Outcome::Stopped => (LogLevel::Warn, format!("{attempt} was ended by a shutdown, and does not count")),
        Outcome::LostLease => (LogLevel::Warn, format!("{attempt} was taken over by another worker")),
    }
}

/// Lets the job be cancelled from outside for as long as this lives.
struct Registered<'a> {
    pool: &'a Pool,
    job: &'a Job,
}

impl<'a> Registered<'a> {
    fn new(pool: &'a Pool, job: &'a Job, cancel: &CancellationToken) -> Self {
        pool.ctx.running.lock().unwrap_or_else(PoisonError::into_inner).insert(job.id, cancel.clone());
        Self { pool, job }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.pool.ctx.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job.id);
    }
}
