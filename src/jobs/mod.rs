//! The queue's workers: claim, run, heartbeat, retry, recover.
//!
//! A worker holds a job by a lease that it renews while the work goes on. Whatever ends the work (success, failure, a
//! cancel, a panic, a stall, a shutdown) ends in one place, `worker::conclude`, which settles the rows that belong to
//! the job before the job itself.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::{
        ids::OrganizationId,
        job::{Job, JobStatus},
        run::Run,
        time::Moment,
    },
    error::Result,
    services::{self, Ctx, queue::Lease},
};

mod deliverer;
mod keeper;
mod log;
mod observer;
mod policy;
mod pool;
mod recover;
mod scheduler;
mod worker;

/// What the jobs do: the services, or a stand-in for them in tests.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Does the work. `Ok` means that the rows that belong to the job already say so.
    async fn execute(&self, organization: OrganizationId, job: &Job, run: Run) -> Result<()>;

    /// Brings the rows that belong to a job in line with an attempt that did not complete. May be called twice.
    async fn settle(&self, organization: OrganizationId, job: &Job, outcome: JobStatus, error: Option<&str>) -> Result<()>;

    /// Sees to what follows from the end of a job, however it ended. May be called twice.
    async fn ended(&self, organization: OrganizationId, job: &Job) -> Result<()>;
}

/// The work of the product itself.
struct Services(Arc<Ctx>);

#[async_trait]
impl Work for Services {
    async fn execute(&self, organization: OrganizationId, job: &Job, run: Run) -> Result<()> {
        services::execute(&self.0, organization, job, run).await
    }

    async fn settle(&self, organization: OrganizationId, job: &Job, outcome: JobStatus, error: Option<&str>) -> Result<()> {
        services::settle(&self.0, organization, job, outcome, error).await
    }

    async fn ended(&self, organization: OrganizationId, job: &Job) -> Result<()> {
        services::ended(&self.0, organization, job).await
    }
}

/// How long everything takes.
#[derive(Debug, Clone)]
pub struct Timing {
    /// A lease that is not renewed ends after this.
    pub lease: Duration,
    /// Between two renewals.
    pub heartbeat: Duration,
    /// Between two searches for leases that ended.
    pub sweep: Duration,
    /// Between two looks at the queue when nothing woke the worker.
    pub poll: Duration,
    /// A worker without work for so long goes, when there are more than the fewest.
    pub idle: Duration,
    /// Between two progress events of a job.
    pub progress: Duration,
    /// Work without a sign of life for so long is ended.
    pub stall: Duration,
    /// How long work may go on after a shutdown was asked for.
    pub grace: Duration,
    /// How long cancelled work may take to end before it is dropped.
    pub patience: Duration,
    /// Between two tries to settle what belongs to a job.
    pub settle_again: Duration,
    /// The wait before the second attempt; it doubles up to [`policy::LONGEST_WAIT`].
    pub retry_base: Duration,
}

impl Timing {
    /// A vanished worker is found within 25 seconds: the lease plus one sweep.
    pub fn of(config: &Config) -> Self {
        Self {
            lease: Duration::from_secs(20),
            heartbeat: Duration::from_secs(5),
            sweep: Duration::from_secs(5),
            poll: Duration::from_secs(2),
            idle: Duration::from_secs(60),
            progress: Duration::from_millis(250),
            stall: Duration::from_secs(config.stall_timeout_seconds),
            grace: Duration::from_secs(config.shutdown_grace_seconds),
            patience: Duration::from_secs(30),
            settle_again: Duration::from_secs(1),
            retry_base: Duration::from_secs(config.retry_base_seconds),
        }
    }
}

/// What every worker shares.
struct Pool {
    ctx: Arc<Ctx>,
    work: Arc<dyn Work>,
    timing: Timing,
    /// Cancelled by [`Jobs::shutdown`] or with the whole process.
    stopping: CancellationToken,
}

impl Pool {
    /// A lease that nobody else holds.
    fn new_lease(&self) -> Lease {
        Lease { token: uuid::Uuid::new_v4().to_string(), until: self.lease_end() }
    }

    fn lease_end(&self) -> Moment {
        Moment(Moment::now().0 + i64::try_from(self.timing.lease.as_millis()).unwrap_or(i64::MAX / 2))
    }
}

/// The running workers.
pub struct Jobs {
    stopping: CancellationToken,
    tasks: JoinSet<()>,
}

/// Recovers what an earlier process left running, then starts the workers: as many as the queue asks for, between
/// MIN_WORKERS and MAX_WORKERS.
/// Recovers what an earlier process left running, then starts the scheduler and the workers: one more than there may be backups at the
/// same time, so that a restore or a verification never waits behind backups only.
pub async fn start(ctx: Arc<Ctx>) -> Result<Jobs> {
    let timing = Timing::of(&ctx.config);
    let work = Arc::new(Services(Arc::clone(&ctx)));
    let mut jobs = start_with(Arc::clone(&ctx), work, timing).await?;
    jobs.tasks.spawn(scheduler::run(ctx, jobs.stopping.clone()));
    Ok(jobs)
}

/// [`start`] with other work and other times than those of the configuration.
pub async fn start_with(ctx: Arc<Ctx>, work: Arc<dyn Work>, timing: Timing) -> Result<Jobs> {
    let stopping = ctx.shutdown.child_token();
    let pool = Arc::new(Pool { ctx, work, timing, stopping: stopping.clone() });
    recover::previous_process(&pool).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(pool::keep_staffed(Arc::clone(&pool)));
    tasks.spawn(recover::upkeep(Arc::clone(&pool)));
    tasks.spawn(deliverer::deliver(Arc::clone(&pool)));
    tasks.spawn(deliverer::watch(Arc::clone(&pool)));
    tasks.spawn(recover::sweep(pool));
    Ok(Jobs { stopping, tasks })
}

impl Jobs {
    /// Stops claiming, lets running jobs go on for the grace, cancels those that are left, and returns when every one
    /// has ended and is settled.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(cause) = ended {
                tracing::error!(%cause, "a worker ended early");
            }
        }
    }
}
