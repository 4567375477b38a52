//! Time in the product's own hands: a clock that is set, schedules over years, processes that end at any moment.

use std::{path::Path, sync::Arc};

use chrono::DateTime;
use dbsnap::{
    app::{self, Opened},
    config::Config,
    db,
    domain::{
        filter::JobFilter,
        ids::{DatabaseId, OrganizationId},
        job::{Job, JobKind, JobStatus},
        page::PageRequest,
        permissions::Actor,
        schedule::ScheduleRun,
        time::{Clock, Moment},
    },
    services::{
        self, Ctx,
        databases::{self, DatabaseInput},
        queue::{self, Lease},
        schedules::{self, ScheduleInput, ScheduleView},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

mod chains;
mod conditions;
mod edits;
mod nights;
mod reference;
mod slots;
mod years;

const HOME: OrganizationId = OrganizationId::DEFAULT;

pub fn moment(text: &str) -> Moment {
    Moment(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
}

/// The product without workers, on a disk in memory, at a time of the test's choosing.
pub struct World {
    folder: TempDir,
    pub clock: Clock,
    opened: Option<Opened>,
}

impl World {
    pub async fn at(start: Moment) -> Self {
        let folder = TempDir::new_in("/dev/shm").unwrap();
        let mut world = Self { folder, clock: Clock::simulated(start), opened: None };
        world.open().await;
        world
    }

    async fn open(&mut self) {
        let vars = [("ENCRYPTION_KEY", "a key of the tests that is long enough"), ("MAX_CONCURRENT_BACKUPS", "3")];
        let config = Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())), self.folder.path()).unwrap();
        self.opened = Some(app::open_at(config, self.clock.clone()).await.unwrap());
    }

    /// The process ends, and another one starts when the clock says `at`.
    pub async fn restart(&mut self, at: Moment) {
        drop(self.opened.take());
        self.clock.set(at);
        self.open().await;
    }

    pub fn ctx(&self) -> &Arc<Ctx> {
        &self.opened.as_ref().unwrap().ctx
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn database(&self, name: &str) -> DatabaseId {
        let file = self.path().join(format!("{name}.db"));
        rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
        let input: DatabaseInput =
            serde_json::from_value(json!({"name": name, "engine": "sqlite", "settings": {"path": file.display().to_string()}})).unwrap();
        databases::create(self.ctx(), &Actor::system(), input).await.unwrap().id
    }

    /// Makes a schedule; `more` is laid over its fields.
    pub async fn schedule(&self, database: DatabaseId, name: &str, more: Value) -> ScheduleView {
        self.try_schedule(database, name, more).await.unwrap()
    }

    pub async fn try_schedule(&self, database: DatabaseId, name: &str, more: Value) -> dbsnap::error::Result<ScheduleView> {
        schedules::create(self.ctx(), &Actor::system(), input(database, name, more)).await
    }

    /// Sets the clock and looks once.
    pub async fn tick(&self, at: Moment) {
        self.clock.set(at);
        schedules::tick(self.ctx()).await.unwrap();
    }

    /// Takes the next job as a worker does.
    pub async fn claim(&self) -> Option<(Job, Lease)> {
        let lease = Lease { token: uuid::Uuid::new_v4().to_string(), until: Moment::now().plus(60_000) };
        queue::claim(self.ctx(), &lease).await.unwrap().map(|(_, job)| (job, lease))
    }

    /// Ends a job as a worker does, with what follows from it.
    pub async fn end(&self, job: &Job, lease: &Lease, status: JobStatus) {
        let ctx = self.ctx();
        if let (JobKind::Backup, Some(id), JobStatus::Completed) = (job.kind, job.backup_id, status) {
            let mut backup = db::backups::get(&ctx.db, HOME, id).await.unwrap();
            db::backups::mark_running(&ctx.db, id, ctx.now()).await.unwrap();
            backup.finished_at = Some(ctx.now());
            db::backups::complete(&ctx.db, &backup).await.unwrap();
        }
        let error = (status == JobStatus::Failed).then_some("the server went away");
        let ended = queue::finish(ctx, job.id, lease, status, error).await.unwrap().expect("the lease is held");
        services::ended(ctx, HOME, &ended).await.unwrap();
        queue::mark_followed_up(ctx, job.id).await.unwrap();
    }

    /// Does all work that is due.
    pub async fn work(&self) -> usize {
        let mut done = 0;
        while let Some((job, lease)) = self.claim().await {
            self.end(&job, &lease, JobStatus::Completed).await;
            done += 1;
        }
        done
    }

    /// The whole history of a schedule, the first slot first.
    pub async fn runs(&self, schedule: &ScheduleView) -> Vec<ScheduleRun> {
        let mut runs = Vec::new();
        for page in 1.. {
            let found = db::schedule_runs::list(&self.ctx().db, schedule.schedule.id, PageRequest { page, limit: 200 }).await.unwrap();
            if found.items.is_empty() {
                break;
            }
            runs.extend(found.items);
        }
        runs.reverse();
        runs
    }

    /// Backup jobs that there have been.
    pub async fn backup_jobs(&self) -> u64 {
        let filter = JobFilter { kind: Some(JobKind::Backup), ..JobFilter::default() };
        db::jobs::list(&self.ctx().db, HOME, &filter, PageRequest::default()).await.unwrap().total
    }

    pub async fn next_due(&self) -> Moment {
        let enabled = db::schedules::all_enabled(&self.ctx().db).await.unwrap();
        enabled.iter().filter_map(|(_, schedule)| schedule.next_run_at).min().expect("a schedule is due some time")
    }
}

pub fn input(database: DatabaseId, name: &str, more: Value) -> ScheduleInput {
    let mut fields = json!({"name": name, "databaseId": database, "timeZone": "UTC"});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(fields).unwrap()
}

/// Slot and status of each run, to be compared.
pub fn told(runs: &[ScheduleRun]) -> Vec<String> {
    let shown = |run: &ScheduleRun| match run.slots {
        1 => format!("{} {}", run.slot.utc().format("%m-%d %H:%M"), run.status),
        slots => format!("{} {} x{slots}", run.slot.utc().format("%m-%d %H:%M"), run.status),
    };
    runs.iter().map(shown).collect()
}
