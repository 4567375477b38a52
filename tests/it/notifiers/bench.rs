//! A product in simulated time over a real catalogue, and a sink that is told everything.

use std::{path::Path, sync::Arc};

use dbsnap::{
    app::{self, Opened},
    config::Config,
    db::{
        self,
        jobs::{Lease, Room},
    },
    domain::{
        backup::{Backup, BackupOptions, BackupStatus, BackupType, VerifyState},
        database::Database,
        ids::{BackupId, DatabaseId, JobId, NotifierId, OrganizationId, ProjectId, StoreId},
        job::{Job, JobKind, JobStatus},
        notice::{NoticeEvent, NotifyRules},
        permissions::Actor,
        time::{Clock, Moment},
    },
    services::{
        self, Ctx,
        notices::{
            deliver,
            notifiers::{self, NotifierInput},
        },
        system,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sink::{Received, Sink};

const HOME: OrganizationId = OrganizationId::DEFAULT;
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// A product in simulated time, with a webhook that is told everything.
pub struct Bench {
    folder: TempDir,
    opened: Opened,
    pub sink: Sink,
    pub database: DatabaseId,
}

impl Bench {
    pub async fn new() -> Self {
        Self::over(&[]).await
    }

    /// With further settings.
    pub async fn over(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let vars = [
            ("ENCRYPTION_KEY", "a key of the tests that is long enough"),
            ("BASE_URL", "https://dbsnap.example.org"),
            ("TZ", "Europe/Berlin"),
        ];
        let vars = vars.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::from_vars(vars, folder.path()).unwrap();
        let clock = Clock::simulated(
            "2026-11-02T03:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().map(|at| Moment(at.timestamp_millis())).unwrap(),
        );
        let opened = app::open_at(config, clock).await.unwrap();
        let bench = Self { sink: Sink::start(|_| (200, String::new())).await, opened, database: DatabaseId::new(), folder };
        let now = bench.ctx().now();
        let database = Database {
            id: bench.database,
            project_id: ProjectId::DEFAULT,
            name: "shop".into(),
            engine: "sqlite".into(),
            settings: json!({"path": "/nowhere/shop.db"}).as_object().unwrap().clone(),
            store_id: StoreId::LOCAL,
            backup_options: BackupOptions::default(),
            created_at: now,
            updated_at: now,
        };
        db::databases::insert(&bench.ctx().db, &database).await.unwrap();
        bench.notifier("all", &bench.sink, NotifyRules { events: NoticeEvent::ALL.to_vec(), ..NotifyRules::default() }).await;
        bench.set(json!({"diskFreePercent": 0})).await;
        bench
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn ctx(&self) -> &Arc<Ctx> {
        &self.opened.ctx
    }

    pub async fn notifier(&self, name: &str, sink: &Sink, rules: NotifyRules) -> NotifierId {
        self.notifier_at(name, &sink.base(), rules).await
    }

    pub async fn notifier_at(&self, name: &str, base: &str, rules: NotifyRules) -> NotifierId {
        let settings = json!({"url": format!("{base}/hook")}).as_object().unwrap().clone();
        let input = NotifierInput { name: name.into(), kind: "webhook".into(), settings, enabled: None, rules };
        notifiers::create(self.ctx(), &Actor::system(), input).await.unwrap().id
    }

    pub async fn set(&self, settings: Value) {
        system::settings_put(self.ctx(), &Actor::system(), settings.as_object().unwrap().clone(), None).await.unwrap();
    }

    pub fn pass(&self, milliseconds: i64) {
        self.ctx().clock.set(self.ctx().now().plus(milliseconds));
    }

    /// A backup that ends like this, followed up twice, as after a crash. `rows` are in its one table.
    pub async fn backup(&self, rows: Option<u64>, error: &str) -> BackupId {
        let (ctx, now) = (self.ctx(), self.ctx().now());
        let (id, job_id) = (BackupId::new(), JobId::new());
        let backup = Backup {
            id,
            database_id: Some(self.database),
            database_name: "shop".into(),
            engine: "sqlite".into(),
            kind: BackupType::Manual,
            status: BackupStatus::Queued,
            store_id: StoreId::LOCAL,
            job_id: Some(job_id),
            schedule_id: None,
            pinned: false,
            verify_state: VerifyState::Unverified,
            verified_at: None,
            created_at: now,
            started_at: None,
            finished_at: None,
            moment: None,
            server_version: None,
            tool_version: None,
            manifest_key: None,
            error: None,
            warnings: Vec::new(),
            options: BackupOptions::default(),
            tables: Vec::new(),
            partial: false,
            artifacts: Vec::new(),
        };
        db::backups::insert(&ctx.db, HOME, &backup).await.unwrap();
        self.enqueue(job_id, JobKind::Backup, Some(id)).await;
        let lease = Lease { token: job_id.to_string(), until: Moment::now().plus(HOUR) };
        let claimed = db::jobs::claim(&ctx.db, &lease, now, Room { backups: 9, upkeep: 9 }).await.unwrap().unwrap();
        assert_eq!(claimed.1.id, job_id);
        let status = match rows {
            Some(rows) => {
                let tables = serde_json::from_value(json!([{"name": "items", "rows": rows}])).unwrap();
                let done = Backup {
                    status: BackupStatus::Completed,
                    tables,
                    started_at: Some(now),
                    finished_at: Some(now),
                    moment: Some(now),
                    ..backup
                };
                db::backups::mark_running(&ctx.db, id, now).await.unwrap();
                db::backups::complete(&ctx.db, &done).await.unwrap();
                JobStatus::Completed
            }
            None => {
                db::backups::finish(&ctx.db, id, BackupStatus::Failed, Some(error), now).await.unwrap();
                JobStatus::Failed
            }
        };
        let error = rows.is_none().then_some(error);
        let job = db::jobs::finish(&ctx.db, job_id, &lease.token, status, error, now).await.unwrap().unwrap();
        services::ended(ctx, HOME, &job).await.unwrap();
        services::ended(ctx, HOME, &job).await.unwrap();
        id
    }

    async fn enqueue(&self, id: JobId, kind: JobKind, backup_id: Option<BackupId>) {
        let now = self.ctx().now();
        let job = Job {
            id,
            kind,
            status: JobStatus::Queued,
            database_id: Some(self.database),
            backup_id,
            restore_id: None,
            diff_id: None,
            schedule_id: None,
            priority: 0,
            limits: Default::default(),
            exclusive_key: None,
            payload: Value::Null,
            attempt: 0,
            max_attempts: 3,
            run_after: now,
            cancel_requested: false,
            progress: None,
            error: None,
            dead: false,
            report: None,
            created_at: now,
            started_at: None,
            finished_at: None,
        };
        db::jobs::enqueue(&self.ctx().db, HOME, &job).await.unwrap();
    }

    /// Delivers what is due, and returns the titles and messages that arrived.
    pub async fn told(&self) -> Vec<Value> {
        deliver::send_due(self.ctx()).await.unwrap();
        self.sink.taken().iter().map(Received::json).collect()
    }

    pub async fn titles(&self) -> Vec<String> {
        self.told().await.iter().map(|notice| notice["title"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn fact<'a>(notice: &'a Value, name: &str) -> Option<&'a str> {
    notice["facts"].as_array().unwrap().iter().find(|fact| fact[0] == name).map(|fact| fact[1].as_str().unwrap())
}
