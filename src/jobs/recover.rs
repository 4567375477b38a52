//! Finds jobs whose worker is gone, at start and while running, and concludes them as interrupted. Keeps copies of the
//! catalogue, the way back when its file is damaged.

use std::{sync::Arc, time::Duration};

use tracing::Instrument;

use super::{Pool, policy::Outcome, turns, worker};
use crate::{
    domain::{
        ids::OrganizationId,
        job::{Job, LogLevel},
        time::Moment,
    },
    error::Result,
    services::{
        maintenance,
        queue::{self, Lease, NewLine},
    },
};

/// What the loops are called.
pub(super) const SWEEP: &str = "sweep";
pub(super) const UPKEEP: &str = "upkeep";

/// Between two looks at the day's work.
pub(super) const UPKEEP_PERIOD: Duration = Duration::from_secs(3600);

/// Concludes what the previous process left running. The data directory's lock says that it is gone.
pub(super) async fn previous_process(pool: &Pool) -> Result<()> {
    let lease = pool.new_lease();
    let abandoned = queue::take_over_all(&pool.ctx, &lease).await?;
    interrupt_each(pool, &lease, abandoned, "dbsnap ended while the job ran").await;
    Ok(())
}

/// Concludes jobs whose lease has ended, every few seconds.
pub(super) async fn sweep(pool: Arc<Pool>) {
    turns::every(&pool, SWEEP, pool.timing.sweep, || sweep_once(&pool)).await;
}

async fn sweep_once(pool: &Pool) {
    let lease = pool.new_lease();
    match queue::take_over_expired(&pool.ctx, &lease, pool.all_alive()).await {
        Ok(abandoned) => interrupt_each(pool, &lease, abandoned, "the job's worker vanished").await,
        Err(error) => tracing::error!(%error, "abandoned jobs could not be looked for"),
    }
    follow_up_all(pool).await;
}

/// Sees to what follows from jobs that ended while nobody could: in a process that was killed, in the queue.
async fn follow_up_all(pool: &Pool) {
    match queue::to_follow_up(&pool.ctx).await {
        Ok(ended) => {
            for (organization, job) in ended {
                follow_up(pool, organization, &job).await;
            }
        }
        Err(error) => tracing::error!(%error, "ended jobs could not be looked for"),
    }
}

/// Sees to what follows from the end of a job: what was waiting for it, what has to be told. It may happen twice, when
/// the process ends in between; what fails is tried again by the sweep.
pub(super) async fn follow_up(pool: &Pool, organization: OrganizationId, job: &Job) {
    let done = async {
        pool.work.ended(organization, job).await?;
        queue::mark_followed_up(&pool.ctx, job.id).await
    };
    let problem = match turns::unharmed(done).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(fault) => format!("a fault in dbsnap: {fault}"),
    };
    tracing::warn!(job_id = %job.id, problem, "what follows from the job's end could not be seen to yet; it is tried again");
}

/// Keeps a copy of the catalogue for each day, removes old uploads, tells stores of pins that they do not know yet, and queues
/// the day's maintenance and retention: looks every hour. What fails is tried an hour later.
pub(super) async fn upkeep(pool: Arc<Pool>) {
    turns::every(&pool, UPKEEP, UPKEEP_PERIOD, || upkeep_once(&pool)).await;
}

async fn upkeep_once(pool: &Pool) {
    match queue::keep_daily_copy(&pool.ctx).await {
        Ok(true) => tracing::info!("kept today's copy of the catalogue"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "today's copy of the catalogue could not be made"),
    }
    if let Err(error) = queue::expire_uploads(&pool.ctx).await {
        tracing::warn!(%error, "old uploads could not be removed");
    }
    if let Err(error) = queue::write_noted_pins(&pool.ctx).await {
        tracing::warn!(%error, "pins could not be written to their manifests");
    }
    if let Err(error) = maintenance::daily(&pool.ctx).await {
        tracing::warn!(%error, "the day's maintenance could not be queued");
    }
    if let Err(error) = queue::retain_daily(&pool.ctx).await {
        tracing::warn!(%error, "the daily retention could not be queued");
    }
}

/// One job that cannot be concluded does not keep the others: its new lease ends, and the next sweep finds it.
async fn interrupt_each(pool: &Pool, lease: &Lease, abandoned: Vec<(OrganizationId, Job)>, why: &'static str) {
    for (organization, job) in abandoned {
        let problem = match turns::unharmed(interrupt(pool, organization, &job, lease, why)).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(fault) => format!("a fault in dbsnap: {fault}"),
        };
        tracing::error!(job_id = %job.id, problem, "an abandoned job could not be concluded; it is tried again");
    }
}

async fn interrupt(pool: &Pool, organization: OrganizationId, job: &Job, lease: &Lease, why: &'static str) -> Result<()> {
    let span = tracing::info_span!("job", job_id = %job.id, kind = %job.kind, attempt = job.attempt);
    async {
        tracing::warn!("{why}");
        let message = format!("attempt {} of {} was interrupted: {why}", job.attempt, job.max_attempts);
        queue::append_logs(&pool.ctx, &[NewLine { job_id: job.id, at: Moment::now(), level: LogLevel::Warn, message }]).await?;
        worker::conclude(pool, organization, job, lease, Outcome::Interrupted(why)).await
    }
    .instrument(span)
    .await
}
