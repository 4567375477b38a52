//! The queue's workers: claim, run, heartbeat, retry, recover.
//!
//! A worker holds a job by a lease that it renews while the work goes on. Whatever ends the work (success, failure, a
//! cancel, a panic, a stall, a shutdown) ends in one place, `worker::conclude`, which settles the rows that belong to
//! the job before the job itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
mod turns;
mod worker;

/// What the jobs do: the services, or a stand-in for them in tests.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// Does the work. `Ok` means that the rows that belong to the job already say so.
    async fn execute(&self, organization: OrganizationId, job: &Job, run: Run) -> Result<()>;

    /// Brings the rows that belong to a job in line with an attempt that did not complete. May be called twice.
    async fn settle(&self, organization: OrganizationId, job: &Job, outcome: JobStatus, error: Option<&str>) -> Result<()>;

    /// True when the rows that belong to the job say that its work is complete, whatever became of the attempt.
    async fn completed(&self, organization: OrganizationId, job: &Job) -> Result<bool>;

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

    async fn completed(&self, organization: OrganizationId, job: &Job) -> Result<bool> {
        services::completed(&self.0, organization, job).await
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
    /// Tokens of the leases whose workers are at it in this process: however late a renewal comes, they have not vanished.
    alive: Mutex<BTreeSet<String>>,
}

/// A worker is at it for as long as this lives.
struct Alive<'a> {
    pool: &'a Pool,
    token: String,
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.pool.tokens().remove(&self.token);
    }
}

impl Pool {
    fn alive(&self, lease: &Lease) -> Alive<'_> {
        self.tokens().insert(lease.token.clone());
        Alive { pool: self, token: lease.token.clone() }
    }

    fn all_alive(&self) -> Vec<String> {
        self.tokens().iter().cloned().collect()
    }

    /// A panic elsewhere leaves the set whole.
    fn tokens(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
    pool: Arc<Pool>,
    tasks: JoinSet<()>,
}

/// Recovers what an earlier process left running, then starts the scheduler and the workers: as many as the queue asks for,
/// between MIN_WORKERS and MAX_WORKERS.
pub async fn start(ctx: Arc<Ctx>) -> Result<Jobs> {
    let timing = Timing::of(&ctx.config);
    let work = Arc::new(Services(Arc::clone(&ctx)));
    let mut jobs = start_with(ctx, work, timing).await?;
    jobs.keep_going(scheduler::SCHEDULER, scheduler::SILENCE, scheduler::run);
    Ok(jobs)
}

/// [`start`] with other work and other times than those of the configuration.
pub async fn start_with(ctx: Arc<Ctx>, work: Arc<dyn Work>, timing: Timing) -> Result<Jobs> {
    let stopping = ctx.shutdown.child_token();
    let pool = Arc::new(Pool { ctx, work, timing, stopping, alive: Mutex::default() });
    recover::previous_process(&pool).await?;
    let (poll, sweep) = (pool.timing.poll, pool.timing.sweep);
    let mut jobs = Jobs { pool, tasks: JoinSet::new() };
    jobs.keep_going(pool::STAFF, poll, pool::keep_staffed);
    jobs.keep_going(recover::SWEEP, sweep, recover::sweep);
    jobs.keep_going(recover::UPKEEP, recover::UPKEEP_PERIOD, recover::upkeep);
    jobs.keep_going(deliverer::DELIVER, deliverer::POLL, deliverer::deliver);
    jobs.keep_going(deliverer::WATCHER, deliverer::WATCH, deliverer::watch);
    Ok(jobs)
}

impl Jobs {
    /// See [`turns::keep_going`].
    fn keep_going<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        period: Duration,
        begin: impl Fn(Arc<Pool>) -> F + Send + Sync + 'static,
    ) {
        let pool = Arc::clone(&self.pool);
        self.tasks.spawn(async move { turns::keep_going(&pool, name, period, || begin(Arc::clone(&pool))).await });
    }

    /// Stops claiming, lets running jobs go on for the grace, cancels those that are left, and returns when every one
    /// has ended and is settled.
    pub async fn shutdown(mut self) {
        self.pool.stopping.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(cause) = ended {
                tracing::error!(%cause, "a worker ended early");
            }
        }
    }
}
