//! The product with workers at a time that the tests set, and a real database that is backed up.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use dbsnap::{
    app::{self, Opened},
    config::Config,
    db::{
        self,
        retention::{Claim, Judgement},
    },
    domain::{
        backup::Backup,
        database::Settings,
        filter::BackupFilter,
        ids::{BackupId, DatabaseId, OrganizationId, PolicyId, RestoreId, ScheduleId, StoreId},
        job::{Job, JobStatus},
        page::PageRequest,
        permissions::Actor,
        restore::{Restore, RestorePlan, RestoreStatus},
        retention::{GroupPlan, Policy},
        store::StoreConfig,
        time::{Clock, Moment},
    },
    jobs::{self, Jobs},
    services::{self, Ctx, backup::BackupRequest, databases::DatabaseInput, retention::PolicyInput},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::web::site::make_shop;

pub const HOME: OrganizationId = OrganizationId::DEFAULT;
pub const DAY: i64 = 86_400_000;
/// 2026-11-01 12:00 UTC.
pub const START: Moment = Moment(1_793_534_400_000);

/// The product with workers, at a time of its own, and one SQLite database.
pub struct Bench {
    pub opened: Opened,
    _jobs: Jobs,
    pub folder: TempDir,
    pub database: DatabaseId,
}

impl Bench {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backups = folder.path().join("backups");
        Self::at(folder, backups).await
    }

    /// With its local store in `backups`.
    pub async fn at(folder: TempDir, backups: PathBuf) -> Self {
        let vars = [
            ("ENCRYPTION_KEY", "a passphrase of the retention tests, long enough".to_owned()),
            ("DATABASE_PATH", folder.path().join("data/dbsnap.db").display().to_string()),
            ("BACKUP_STORAGE_PATH", backups.display().to_string()),
            ("JOB_ATTEMPTS", "1".to_owned()),
        ];
        let config = Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value)), folder.path()).unwrap();
        let opened = app::open_at(config, Clock::simulated(START)).await.unwrap();
        let jobs = jobs::start(opened.ctx.clone()).await.unwrap();
        let path = folder.path().join("shop.db");
        make_shop(&path, 20);
        let settings: Settings = json!({ "path": path }).as_object().unwrap().clone();
        let input = DatabaseInput { name: "shop".into(), engine: "sqlite".into(), settings, ..DatabaseInput::default() };
        let database = services::databases::create(&opened.ctx, &Actor::system(), input).await.unwrap().id;
        Self { opened, _jobs: jobs, folder, database }
    }

    pub fn ctx(&self) -> &std::sync::Arc<Ctx> {
        &self.opened.ctx
    }

    pub fn day(&self, day: i64) {
        self.ctx().clock.set(START.plus(day * DAY));
    }

    /// A good backup on that day, and the end of everything that follows from it.
    pub async fn back_up(&self, day: i64) -> BackupId {
        self.day(day);
        let request: BackupRequest = serde_json::from_value(json!({ "databaseId": self.database })).unwrap();
        let backup = services::backup::start(self.ctx(), &Actor::system(), request).await.unwrap();
        let job = self.job(backup.job_id.unwrap()).await;
        // A backup takes time, and the clock goes on: here a minute for what takes a tenth of a second.
        while !self.job(job.id).await.status.is_over() {
            self.ctx().clock.set(self.ctx().now().plus(1000));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.job(job.id).await.status, JobStatus::Completed);
        self.settled().await;
        backup.id
    }

    pub async fn job(&self, id: dbsnap::domain::ids::JobId) -> Job {
        db::jobs::get(&self.ctx().db, HOME, id).await.unwrap()
    }

    pub async fn over(&self, job: &Job) -> Job {
        self.until(async || self.job(job.id).await.status.is_over()).await;
        self.job(job.id).await
    }

    /// Waits until no job is open and the ends of all were seen to.
    pub async fn settled(&self) {
        let db = &self.ctx().db;
        self.until(async || {
            let jobs = db::jobs::list(db, HOME, &Default::default(), PageRequest { page: 1, limit: 100 }).await.unwrap();
            jobs.items.iter().all(|job| job.status.is_over()) && db::jobs::to_follow_up(db, 10).await.unwrap().is_empty()
        })
        .await;
    }

    pub async fn until(&self, mut is: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !is().await {
            assert!(tokio::time::Instant::now() < deadline, "it did not happen within a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn policy(&self, policy: Policy) {
        let input = PolicyInput { name: format!("policy {}", uuid::Uuid::new_v4()), policy };
        let made = services::retention::create(self.ctx(), &Actor::system(), input).await.unwrap();
        let id = Some(made.policy.id);
        services::retention::set_manual(self.ctx(), &Actor::system(), self.database, id).await.unwrap();
    }

    /// A policy that applies to nothing yet.
    pub async fn named_policy(&self, name: &str, policy: Policy) -> PolicyId {
        let input = PolicyInput { name: name.into(), policy };
        services::retention::create(self.ctx(), &Actor::system(), input).await.unwrap().policy.id
    }

    /// A statement on the catalogue, as nobody but a test would send it.
    pub fn catalogue(&self, sql: &str) {
        rusqlite::Connection::open(self.ctx().db.path()).unwrap().execute_batch(sql).unwrap();
    }

    /// Takes a store away, or brings it back.
    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.folder.path().join(from), self.folder.path().join(to)).unwrap();
    }

    pub async fn log(&self, job: &Job) -> String {
        let lines = db::logs::list(&self.ctx().db, job.id, 0, None, 10_000).await.unwrap();
        lines.into_iter().map(|line| line.message + "\n").collect()
    }

    /// A further store, and a backup that was copied there.
    pub async fn copied(&self, name: &str) -> (StoreId, ScheduleId, BackupId) {
        let store = self.further_store(name).await;
        let schedule = self.schedule(&json!([{ "storeId": StoreId::LOCAL }, { "storeId": store }]), None);
        let backup = self.back_up(0).await;
        self.made_by(schedule, backup).await;
        (store, schedule, backup)
    }

    pub async fn preview(&self) -> Vec<GroupPlan> {
        services::retention::preview(self.ctx(), &Actor::system(), Some(self.database), None).await.unwrap()
    }

    pub async fn run(&self) -> Job {
        let job = services::retention::start(self.ctx(), &Actor::system(), Some(self.database)).await.unwrap();
        self.over(&job).await
    }

    pub async fn backups(&self) -> Vec<Backup> {
        let page = PageRequest { page: 1, limit: 100 };
        db::backups::list(&self.ctx().db, HOME, &BackupFilter::default(), page).await.unwrap().items
    }

    pub async fn ids(&self) -> BTreeSet<BackupId> {
        self.backups().await.into_iter().map(|backup| backup.id).collect()
    }

    pub async fn get(&self, id: BackupId) -> Backup {
        db::backups::get(&self.ctx().db, HOME, id).await.unwrap()
    }

    pub async fn claim(&self, id: BackupId) -> Claim {
        let group = self.preview().await[0].group;
        let judgement = Judgement { now: self.ctx().now(), limit_days: 365, draft: None };
        db::retention::claim(&self.ctx().db, HOME, group, id, &judgement).await.unwrap()
    }

    /// The audit trail's events of one kind.
    pub async fn audited(&self, action: &str) -> Vec<Value> {
        let page = PageRequest { page: 1, limit: 100 };
        let events = services::audit::list(self.ctx(), &Actor::system(), page).await.unwrap().items;
        events.into_iter().filter(|event| event.action == action).map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    pub fn stored(&self, store: &str) -> BTreeSet<String> {
        files(self.folder.path().join(store))
    }

    /// A second store, as a folder beside.
    pub async fn further_store(&self, name: &str) -> StoreId {
        let settings: Settings = json!({ "path": self.folder.path().join(name) }).as_object().unwrap().clone();
        let store = StoreConfig {
            id: StoreId::new(),
            organization_id: HOME,
            name: name.into(),
            kind: "local".into(),
            settings,
            created_at: START,
            updated_at: START,
        };
        db::stores::insert(&self.ctx().db, &store).await.unwrap();
        store.id
    }

    /// A schedule of the database with these destinations, each with its policy.
    pub fn schedule(&self, destinations: &Value, policy: Option<String>) -> ScheduleId {
        let id = ScheduleId::new();
        let catalogue = rusqlite::Connection::open(self.ctx().db.path()).unwrap();
        let sql = "INSERT INTO schedules (id, organization_id, database_id, name, enabled, cron, time_zone, retention_policy_id, details, created_at, updated_at)
                   VALUES (?1, ?2, ?3, ?4, TRUE, '@daily', 'UTC', ?5, ?6, 0, 0)";
        let details = json!({ "destinations": destinations }).to_string();
        let values = rusqlite::params![id.to_string(), HOME.to_string(), self.database.to_string(), id.to_string(), policy, details];
        catalogue.execute(sql, values).unwrap();
        id
    }

    /// What a schedule's backup is after its job: the backup belongs to it, and what follows is seen to.
    pub async fn made_by(&self, schedule: ScheduleId, backup: BackupId) {
        let catalogue = rusqlite::Connection::open(self.ctx().db.path()).unwrap();
        catalogue.execute("UPDATE backups SET schedule_id = ?1 WHERE id = ?2", [schedule.to_string(), backup.to_string()]).unwrap();
        let job = self.job(self.get(backup).await.job_id.unwrap()).await;
        let job = Job { schedule_id: Some(schedule), ..job };
        services::ended(self.ctx(), HOME, &job).await.unwrap();
        services::ended(self.ctx(), HOME, &job).await.unwrap();
        self.settled().await;
    }
}

fn files(folder: PathBuf) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path));
        } else {
            found.insert(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// The names of a backup's files.
pub fn names(backup: &Backup) -> BTreeSet<String> {
    let keys = backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key));
    keys.map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
}

pub fn daily(keep: u32) -> Policy {
    serde_json::from_value(json!({ "mode": "standard", "keepDaily": keep })).unwrap()
}

pub fn restore_of(backup: BackupId) -> Restore {
    Restore {
        id: RestoreId::new(),
        backup_id: Some(backup),
        upload_id: None,
        source_label: "shop".into(),
        database_id: None,
        target_label: "elsewhere".into(),
        engine: "sqlite".into(),
        plan: RestorePlan::default(),
        status: RestoreStatus::Queued,
        job_id: None,
        safety_backup_id: None,
        created_at: START,
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
        tables: Vec::new(),
        applied: None,
    }
}

/// A verification that nobody has begun.
pub fn verification() -> Job {
    Job {
        id: dbsnap::domain::ids::JobId::new(),
        kind: dbsnap::domain::job::JobKind::Verify,
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
        max_attempts: 1,
        run_after: START,
        cancel_requested: false,
        progress: None,
        error: None,
        dead: false,
        report: None,
        created_at: START,
        started_at: None,
        finished_at: None,
    }
}
