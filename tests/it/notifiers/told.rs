//! What is told, to whom and when, in simulated time over a real catalogue, delivered to real sinks.

use std::sync::Arc;

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
        ids::{BackupId, DatabaseId, JobId, OrganizationId, ProjectId, StoreId},
        job::{Job, JobKind, JobStatus},
        notice::{DeliveryStatus, NoticeEvent, NotifyRules, Severity},
        page::PageRequest,
        permissions::Actor,
        time::{Clock, Moment},
    },
    services::{
        self, Ctx,
        notices::{
            self, deliver,
            notifiers::{self, NotifierInput},
            watch,
        },
        schedules, system,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sink::Sink;
use crate::support::disk::Disk;

const HOME: OrganizationId = OrganizationId::DEFAULT;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A product in simulated time, with a webhook that is told everything.
struct Bench {
    _folder: TempDir,
    opened: Opened,
    sink: Sink,
    database: DatabaseId,
}

impl Bench {
    async fn new() -> Self {
        Self::over(&[]).await
    }

    /// With further settings.
    async fn over(more: &[(&str, &str)]) -> Self {
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
        let bench = Self { sink: Sink::start(|_| (200, String::new())).await, opened, database: DatabaseId::new(), _folder: folder };
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

    fn ctx(&self) -> &Arc<Ctx> {
        &self.opened.ctx
    }

    async fn notifier(&self, name: &str, sink: &Sink, rules: NotifyRules) -> dbsnap::domain::ids::NotifierId {
        self.notifier_at(name, &sink.base(), rules).await
    }

    async fn notifier_at(&self, name: &str, base: &str, rules: NotifyRules) -> dbsnap::domain::ids::NotifierId {
        let settings = json!({"url": format!("{base}/hook")}).as_object().unwrap().clone();
        let input = NotifierInput { name: name.into(), kind: "webhook".into(), settings, enabled: None, rules };
        notifiers::create(self.ctx(), &Actor::system(), input).await.unwrap().id
    }

    async fn set(&self, settings: Value) {
        system::settings_put(self.ctx(), &Actor::system(), settings.as_object().unwrap().clone(), None).await.unwrap();
    }

    fn pass(&self, milliseconds: i64) {
        self.ctx().clock.set(self.ctx().now().plus(milliseconds));
    }

    /// A backup that ends like this, followed up twice, as after a crash. `rows` are in its one table.
    async fn backup(&self, rows: Option<u64>, error: &str) -> BackupId {
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
    async fn told(&self) -> Vec<Value> {
        deliver::send_due(self.ctx()).await.unwrap();
        self.sink.taken().iter().map(super::sink::Received::json).collect()
    }

    async fn titles(&self) -> Vec<String> {
        self.told().await.iter().map(|notice| notice["title"].as_str().unwrap().to_owned()).collect()
    }
}

fn fact<'a>(notice: &'a Value, name: &str) -> Option<&'a str> {
    notice["facts"].as_array().unwrap().iter().find(|fact| fact[0] == name).map(|fact| fact[1].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_failed_why_and_what_to_do_and_its_end_is_told() {
    let bench = Bench::new().await;
    bench.backup(Some(100), "").await;
    assert_eq!(bench.titles().await, ["Backup of shop succeeded"]);
    bench.pass(DAY);
    bench.backup(None, "pg_dump cannot reach db.internal:5432 (check that the server runs)").await;
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "followed up twice, told once: {told:?}");
    let notice = &told[0];
    assert_eq!((notice["title"].as_str(), notice["severity"].as_str()), (Some("Backup of shop failed"), Some("error")));
    assert_eq!(notice["what"], "pg_dump cannot reach db.internal:5432.");
    assert!(notice["nextStep"].as_str().unwrap().starts_with("Check that the server runs. Then run the backup again"), "{notice}");
    assert!(notice["link"].as_str().unwrap().starts_with("https://dbsnap.example.org/jobs/"), "{notice}");
    assert_eq!(fact(notice, "Last good backup"), Some("2026-11-02 04:00 CET, 24 hours ago"));
    assert_eq!(fact(notice, "When"), Some("2026-11-03 04:00 CET"));
    assert_eq!(notices::alerts(bench.ctx(), &Actor::system()).await.unwrap().len(), 1);

    bench.pass(HOUR);
    bench.backup(Some(100), "").await;
    let told = bench.told().await;
    assert_eq!(told[0]["title"], "Backup of shop works again");
    assert!(told[0]["what"].as_str().unwrap().contains("After 1 failure"), "{told:?}");
    assert!(notices::alerts(bench.ctx(), &Actor::system()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_failure_again_is_held_back_and_counted_and_the_recovery_passes() {
    let bench = Bench::new().await;
    for _ in 0..4 {
        bench.backup(None, "disk full").await;
        bench.pass(10 * MINUTE);
    }
    assert_eq!(bench.titles().await, ["Backup of shop failed"], "three are held back");
    bench.pass(2 * HOUR);
    bench.backup(None, "disk full").await;
    let told = bench.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(fact(&told[0], "Not told singly before this"), Some("3 more like it"), "{told:?}");
    assert_eq!(fact(&told[0], "Failures in a row"), Some("5"));
    bench.pass(MINUTE);
    bench.backup(Some(1), "").await;
    assert_eq!(bench.titles().await, ["Backup of shop works again", "Backup of shop succeeded"]);
    bench.pass(MINUTE);
    bench.backup(None, "disk full").await;
    assert_eq!(bench.titles().await, ["Backup of shop failed"], "what fails after a recovery is news");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_is_away_is_tried_again_with_growing_waits_and_then_given_up() {
    let bench = Bench::new().await;
    let id = notifiers::list(bench.ctx(), &Actor::system()).await.unwrap()[0].id;
    for _ in 0..6 {
        bench.sink.answer(500, "away");
    }
    bench.backup(None, "disk full").await;
    let mut waits = Vec::new();
    for _ in 0..5 {
        let began = bench.ctx().now();
        while deliver::send_due(bench.ctx()).await.unwrap() == 0 {
            bench.pass(10_000);
        }
        waits.push(bench.ctx().now().since(began) / 1000);
    }
    assert_eq!(waits, [0, 30, 120, 600, 3600], "seconds");
    bench.pass(DAY);
    assert_eq!(deliver::send_due(bench.ctx()).await.unwrap(), 0, "given up");
    let log = notifiers::deliveries(bench.ctx(), &Actor::system(), id, PageRequest::default()).await.unwrap();
    assert_eq!((log.items[0].status, log.items[0].attempt), (DeliveryStatus::Failed, 5));
    assert!(log.items[0].error.as_deref().unwrap().contains("500: away"), "{:?}", log.items[0].error);
    assert_eq!(bench.sink.taken().len(), 5);

    bench.sink.taken();
    bench.backup(None, "disk full").await;
    bench.sink.answer(401, "who are you");
    // What is left of the scripted answers: one 500, then 401, which is not tried again.
    let mut sent = 0;
    for _ in 0..200 {
        sent += deliver::send_due(bench.ctx()).await.unwrap();
        bench.pass(MINUTE);
    }
    assert_eq!(sent, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_hangs_holds_up_no_other() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    bench.notifier_at("a silent one", &silent, NotifyRules::default()).await;
    bench.backup(None, "disk full").await;
    let (sender, mut done) = tokio::sync::mpsc::channel(2);
    while let Some(claimed) = deliver::claim(bench.ctx()).await.unwrap() {
        let (ctx, sender) = (Arc::clone(bench.ctx()), sender.clone());
        tokio::spawn(async move { sender.send(deliver::send(&ctx, claimed).await).await });
    }
    done.recv().await.unwrap().unwrap();
    assert_eq!(bench.sink.taken().len(), 1, "the one that answers has its message while the other hangs");
    // More for the silent one waits behind what hangs; the other one goes on.
    bench.pass(30_000);
    bench.backup(Some(1), "").await;
    let claimed = deliver::claim(bench.ctx()).await.unwrap().unwrap();
    deliver::send(bench.ctx(), claimed).await.unwrap();
    assert_eq!(bench.sink.taken()[0].json()["title"], "Backup of shop works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_sizes_off_their_usual_are_told_in_both_directions() {
    let bench = Bench::new().await;
    bench.set(json!({"groupMinutes": 0})).await;
    for rows in [1000, 1010, 990, 1005] {
        bench.backup(Some(rows), "").await;
        bench.pass(HOUR);
    }
    assert!(bench.titles().await.iter().all(|title| title == "Backup of shop succeeded"));
    bench.backup(Some(400), "").await;
    let told = bench.told().await;
    assert_eq!(told[0]["title"], "The row count of shop's backup dropped by 60 %");
    assert_eq!((fact(&told[0], "Now"), fact(&told[0], "Usual")), (Some("400"), Some("1,005")));
    bench.pass(HOUR);
    bench.backup(Some(2000), "").await;
    assert!(bench.titles().await.contains(&"The row count of shop's backup jumped by 100 %".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_mans_alert_is_told_once_again_after_a_day_and_resolved() {
    let bench = Bench::new().await;
    bench.set(json!({"deadManHours": 26})).await;
    bench.backup(Some(1), "").await;
    bench.told().await;
    let mut told = Vec::new();
    for hour in 0..80 {
        watch::watch(bench.ctx()).await.unwrap();
        told.extend(bench.titles().await.into_iter().map(|title| (hour, title)));
        bench.pass(HOUR);
    }
    let expected =
        [(27, "No good backup of shop for 27 hours"), (51, "No good backup of shop for 2 days"), (75, "No good backup of shop for 3 days")];
    assert_eq!(told, expected.map(|(hour, title)| (hour, title.to_owned())));
    bench.backup(Some(1), "").await;
    watch::watch(bench.ctx()).await.unwrap();
    assert!(bench.titles().await.contains(&"shop has a good backup again".to_owned()));
    watch::watch(bench.ctx()).await.unwrap();
    assert!(bench.titles().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_once_and_its_end_too() {
    let bench = Bench::new().await;
    let place = bench.ctx().config.backup_storage_path.clone();
    let aside = place.with_extension("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, "a file where the folder was").unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local cannot be reached"]);
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    bench.pass(MINUTE);
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local can be reached again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_hears_only_of_what_it_asked_for() {
    let bench = Bench::new().await;
    let (grave, other) = (Sink::start(|_| (200, String::new())).await, Sink::start(|_| (200, String::new())).await);
    bench.notifier("grave", &grave, NotifyRules { least_severity: Severity::Error, ..NotifyRules::default() }).await;
    bench.notifier("other", &other, NotifyRules { database_ids: vec![DatabaseId::new()], ..NotifyRules::default() }).await;
    bench.backup(None, "disk full").await;
    bench.pass(HOUR);
    bench.backup(Some(1), "").await;
    bench.told().await;
    let titles: Vec<_> = grave.taken().iter().map(|received| received.json()["title"].clone()).collect();
    assert_eq!(titles, ["Backup of shop failed", "Backup of shop works again"], "whoever was told of the trouble is told of its end");
    assert!(other.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_is_told_and_its_end_too() {
    let disk = Disk::new("1M");
    let bench = Bench::over(&[("BACKUP_STORAGE_PATH", disk.path().to_str().unwrap())]).await;
    std::fs::write(disk.path().join("of somebody else"), vec![1; 900_000]).unwrap();
    bench.set(json!({"diskFreePercent": 20})).await;
    watch::watch(bench.ctx()).await.unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["title"].as_str().unwrap().starts_with("The store Local is running out of space: "), "{told:?}");
    assert!(fact(&told[0], "Free").is_some() && !told[0]["nextStep"].as_str().unwrap().is_empty());
    std::fs::remove_file(disk.path().join("of somebody else")).unwrap();
    watch::watch(bench.ctx()).await.unwrap();
    assert_eq!(bench.titles().await, ["The store Local has room again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_setting_the_dead_man_counts_two_slots_of_the_schedule_and_missed_slots_are_told() {
    let bench = Bench::new().await;
    let input =
        json!({"name": "nightly", "databaseId": bench.database, "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "catchUp": false});
    let schedule = schedules::create(bench.ctx(), &Actor::system(), serde_json::from_value(input).unwrap()).await.unwrap();
    bench.backup(Some(1), "").await;
    bench.told().await;
    let mut told = Vec::new();
    for hour in 0..60 {
        watch::watch(bench.ctx()).await.unwrap();
        told.extend(bench.titles().await.into_iter().map(|title| (hour, title)));
        bench.pass(HOUR);
    }
    // Made at 04:00 in Berlin; due at 02:30 of the next two nights, and an hour to run.
    assert_eq!(told, [(48, "No good backup of shop for 2 days".to_owned())]);

    schedules::tick(bench.ctx()).await.unwrap();
    schedules::tick(bench.ctx()).await.unwrap();
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["title"], "2 backups of shop missed");
    assert_eq!(fact(&told[0], "Schedule"), Some(schedule.schedule.name.as_str()));
    assert!(told[0]["what"].as_str().unwrap().contains("02:30"), "{}", told[0]["what"]);
}
