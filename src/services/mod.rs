//! The use cases. Each takes the context and the actor, and asks for permission before it acts.
//!
//! Services compose engines, stores, the pipeline and the catalogue, which know nothing of each other.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicI64},
};

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::limit::LoginLimit,
    config::Config,
    db::{self, Db},
    domain::{
        backup::BackupStatus,
        diff::DiffStatus,
        events::Event,
        ids::{JobId, OrganizationId},
        job::{Job, JobKind, JobStatus},
        restore::RestoreStatus,
        run::Run,
        time::{Clock, Moment},
    },
    error::{Kind, Result},
    pipeline::keys::KeyRing,
    stores::asked::Asked,
};

pub mod accounts;
pub mod audit;
pub mod backup;
pub mod compare;
pub mod copies;
pub mod databases;
pub mod exports;
mod flow;
pub mod health;
pub mod heartbeats;
pub mod hooks;
pub mod jobs;
pub mod keys;
mod learned;
pub mod logs;
pub mod loops;
pub mod maintenance;
pub mod manifests;
pub mod metrics;
pub mod notices;
pub mod projects;
pub mod queue;
pub mod rebuild;
pub mod restore;
pub mod retention;
pub mod schedules;
pub mod secrets;
pub mod snapshots;
pub mod stores;
pub mod system;
pub mod transfer;
pub mod verify;
pub mod workers;

/// What the running product is made of. One per process, shared.
pub struct Ctx {
    pub config: Config,
    pub clock: Clock,
    pub db: Db,
    pub keys: KeyRing,
    pub events: broadcast::Sender<Event>,
    /// Woken when a job was queued.
    pub queued: Notify,
    /// Woken when a notice was queued for its notifiers.
    pub noticed: Notify,
    /// How to cancel the jobs that run in this process.
    pub running: Mutex<HashMap<JobId, CancellationToken>>,
    /// The workers of this process.
    pub workers: workers::Workers,
    /// The loops of this process that go on until it ends.
    pub loops: loops::Loops,
    /// When the scheduler last looked for due schedules, milliseconds of the machine's own time; 0 before it has.
    pub scheduler_seen: AtomicI64,
    /// Stores that are being asked how they are.
    pub asked: Asked,
    /// What is counted while the process runs.
    pub metrics: metrics::Metrics,
    /// Reports of comparisons that are open.
    pub diff_reports: Arc<compare::Reports>,
    /// Slows down guessing of passwords.
    pub logins: LoginLimit,
    /// Made once per data directory; written into manifests.
    pub instance_id: String,
    pub started_at: Moment,
    /// Snapshots that were looked at last.
    pub snapshots: snapshots::Opened,
    pub shutdown: CancellationToken,
}

impl Ctx {
    /// What time it is for decisions: what is due, what is old.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Tells the event stream; nobody listening is no error.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Where jobs spool: one private folder per job inside the data directory.
    pub fn scratch_root(&self) -> PathBuf {
        self.config.data_dir.join("scratch")
    }

    /// Where the reports of comparisons are.
    pub fn reports(&self) -> PathBuf {
        self.config.data_dir.join("diffs")
    }

    /// Where uploads wait for their restore.
    pub fn uploads(&self) -> PathBuf {
        self.config.data_dir.join("uploads")
    }
}

/// Does a job's work. On `Ok` the backup or restore row says completed.
pub async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: Run) -> Result<()> {
    match job.kind {
        JobKind::Backup => backup::execute::execute(ctx, organization, job, &run).await,
        JobKind::Restore => restore::execute::execute(ctx, organization, job, &run).await,
        JobKind::Verify => verify::execute(ctx, organization, job, &run).await,
        JobKind::Diff => compare::execute::execute(ctx, organization, job, &run).await,
        JobKind::Retention => retention::execute(ctx, organization, job, &run).await,
        JobKind::Copy => copies::execute(ctx, organization, job, &run).await,
        JobKind::Maintenance => maintenance::execute(ctx, organization, job, &run).await,
    }
}

/// Brings the rows that belong to a job in line with how it ended, when it did not complete.
pub async fn settle(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, outcome: JobStatus, error: Option<&str>) -> Result<()> {
    match job.kind {
        JobKind::Backup => backup::execute::settle(ctx, organization, job, outcome, error).await,
        JobKind::Restore => restore::execute::settle(ctx, organization, job, outcome, error).await,
        JobKind::Verify | JobKind::Retention | JobKind::Copy | JobKind::Maintenance => Ok(()),
        JobKind::Diff => compare::execute::settle(ctx, organization, job, outcome, error).await,
    }
}

/// Sees to what follows from the end of a job, however it ended. Each part bears being called twice for one job.
pub async fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job) -> Result<()> {
    schedules::ended(ctx, organization, job).await?;
    copies::ended(ctx, organization, job).await?;
    retention::ended(ctx, organization, job).await?;
    notices::ended(ctx, organization, job).await
}

/// True when the backup, restore or comparison of a job says that its work is complete, whatever became of the attempt.
pub async fn completed(ctx: &Ctx, organization: OrganizationId, job: &Job) -> Result<bool> {
    // The job is read again: a retry has moved it to another backup since it was claimed.
    let job = db::jobs::get(&ctx.db, organization, job.id).await?;
    let said = match (job.kind, job.backup_id, job.restore_id, job.diff_id) {
        (JobKind::Backup, Some(id), ..) => {
            db::backups::get(&ctx.db, organization, id).await.map(|backup| backup.status == BackupStatus::Completed)
        }
        (JobKind::Restore, _, Some(id), _) => {
            db::restores::get(&ctx.db, organization, id).await.map(|restore| restore.status == RestoreStatus::Completed)
        }
        (JobKind::Diff, .., Some(id)) => db::diffs::get(&ctx.db, organization, id).await.map(|diff| diff.status == DiffStatus::Completed),
        _ => return Ok(false),
    };
    match said {
        Err(error) if error.kind == Kind::NotFound => Ok(false),
        said => said,
    }
}

/// At start, before any job runs: finishes or removes what an earlier process left half done.
pub async fn recover(ctx: &Arc<Ctx>) -> Result<()> {
    let scratch = ctx.scratch_root();
    match tokio::fs::remove_dir_all(&scratch).await {
        Ok(()) => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
        Err(cause) => tracing::warn!(path = %scratch.display(), %cause, "old temporary files could not be removed"),
    }
    stores::sweep(ctx).await?;
    backup::recover::recover(ctx).await?;
    restore::execute::recover(ctx).await?;
    compare::execute::recover(ctx).await?;
    restore::upload::expire(ctx).await
}
