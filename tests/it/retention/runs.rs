//! Retention on real backups of a real database, with a clock that the tests set.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use dbsnap::{
    app::{self, Opened},
    config::Config,
    db::{
        self,
        retention::{Claim, Judgement},
    },
    domain::{
        backup::{Backup, BackupStatus, VerifyState},
        database::Settings,
        filter::BackupFilter,
        ids::{BackupId, DatabaseId, OrganizationId, RestoreId, ScheduleId, StoreId},
        job::{Job, JobStatus},
        page::PageRequest,
        permissions::Actor,
        restore::{Restore, RestorePlan, RestoreStatus},
        retention::{Action, GroupPlan, Policy, RetentionMode},
        store::StoreConfig,
        time::{Clock, Moment},
    },
    error::Kind,
    jobs::{self, Jobs},
    services::{self, Ctx, backup::BackupRequest, databases::DatabaseInput, retention::PolicyInput},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{support::disk::Disk, web::site::make_shop};

const HOME: OrganizationId = OrganizationId::DEFAULT;
const DAY: i64 = 86_400_000;
/// 2026-11-01 12:00 UTC.
const START: Moment = Moment(1_793_534_400_000);

/// The product with workers, at a time of its own, and one SQLite database.
struct Bench {
    opened: Opened,
    _jobs: Jobs,
    folder: TempDir,
    database: DatabaseId,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backups = folder.path().join("backups");
        Self::at(folder, backups).await
    }

    /// With its local store in `backups`.
    async fn at(folder: TempDir, backups: PathBuf) -> Self {
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

    fn ctx(&self) -> &std::sync::Arc<Ctx> {
        &self.opened.ctx
    }

    fn day(&self, day: i64) {
        self.ctx().clock.set(START.plus(day * DAY));
    }

    /// A good backup on that day, and the end of everything that follows from it.
    async fn back_up(&self, day: i64) -> BackupId {
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

    async fn job(&self, id: dbsnap::domain::ids::JobId) -> Job {
        db::jobs::get(&self.ctx().db, HOME, id).await.unwrap()
    }

    async fn over(&self, job: &Job) -> Job {
        self.until(async || self.job(job.id).await.status.is_over()).await;
        self.job(job.id).await
    }

    /// Waits until no job is open and the ends of all were seen to.
    async fn settled(&self) {
        let db = &self.ctx().db;
        self.until(async || {
            let jobs = db::jobs::list(db, HOME, &Default::default(), PageRequest { page: 1, limit: 100 }).await.unwrap();
            jobs.items.iter().all(|job| job.status.is_over()) && db::jobs::to_follow_up(db, 10).await.unwrap().is_empty()
        })
        .await;
    }

    async fn until(&self, mut is: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !is().await {
            assert!(tokio::time::Instant::now() < deadline, "it did not happen within a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn policy(&self, policy: Policy) {
        let input = PolicyInput { name: format!("policy {}", uuid::Uuid::new_v4()), policy };
        let made = services::retention::create(self.ctx(), &Actor::system(), input).await.unwrap();
        let id = Some(made.policy.id);
        services::retention::set_manual(self.ctx(), &Actor::system(), self.database, id).await.unwrap();
    }

    async fn preview(&self) -> Vec<GroupPlan> {
        services::retention::preview(self.ctx(), &Actor::system(), Some(self.database), None).await.unwrap()
    }

    async fn run(&self) -> Job {
        let job = services::retention::start(self.ctx(), &Actor::system(), Some(self.database)).await.unwrap();
        self.over(&job).await
    }

    async fn backups(&self) -> Vec<Backup> {
        let page = PageRequest { page: 1, limit: 100 };
        db::backups::list(&self.ctx().db, HOME, &BackupFilter::default(), page).await.unwrap().items
    }

    async fn ids(&self) -> BTreeSet<BackupId> {
        self.backups().await.into_iter().map(|backup| backup.id).collect()
    }

    async fn get(&self, id: BackupId) -> Backup {
        db::backups::get(&self.ctx().db, HOME, id).await.unwrap()
    }

    async fn claim(&self, id: BackupId) -> Claim {
        let group = self.preview().await[0].group;
        let judgement = Judgement { now: self.ctx().now(), limit_days: 365, draft: None };
        db::retention::claim(&self.ctx().db, HOME, group, id, &judgement).await.unwrap()
    }

    /// The audit trail's events of one kind.
    async fn audited(&self, action: &str) -> Vec<Value> {
        let page = PageRequest { page: 1, limit: 100 };
        let events = services::audit::list(self.ctx(), &Actor::system(), page).await.unwrap().items;
        events.into_iter().filter(|event| event.action == action).map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    fn stored(&self, store: &str) -> BTreeSet<String> {
        files(self.folder.path().join(store))
    }

    /// A second store, as a folder beside.
    async fn further_store(&self, name: &str) -> StoreId {
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
    fn schedule(&self, destinations: &Value, policy: Option<String>) -> ScheduleId {
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
    async fn made_by(&self, schedule: ScheduleId, backup: BackupId) {
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
fn names(backup: &Backup) -> BTreeSet<String> {
    let keys = backup.manifest_key.iter().chain(backup.artifacts.iter().map(|artifact| &artifact.key));
    keys.map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
}

fn daily(keep: u32) -> Policy {
    serde_json::from_value(json!({ "mode": "standard", "keepDaily": keep })).unwrap()
}

fn restore_of(backup: BackupId) -> Restore {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_run_deletes_exactly_what_the_preview_says_and_leaves_a_trail() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for day in 0..5 {
        made.push(bench.back_up(day).await);
    }
    services::backup::pin(bench.ctx(), &Actor::system(), made[0], true).await.unwrap();
    bench.policy(daily(2)).await;

    let preview = bench.preview().await;
    let planned = &preview[0];
    assert_eq!((preview.len(), planned.kept, planned.deleted), (1, 3, 2));
    let kept = planned.backups.iter().filter(|backup| backup.action == Action::Keep);
    let kept: BTreeSet<BackupId> = kept.map(|backup| backup.id).collect();
    assert_eq!(kept, BTreeSet::from([made[0], made[3], made[4]]));
    assert_eq!(bench.ids().await.len(), 5, "a preview deletes nothing");

    let job = bench.run().await;
    assert_eq!(job.status, JobStatus::Completed, "{:?}", job.error);
    assert_eq!(bench.ids().await, kept);
    let mut expected = BTreeSet::new();
    for id in &kept {
        expected.extend(names(&bench.get(*id).await));
    }
    assert_eq!(bench.stored("backups"), expected, "the files are those of the kept backups");

    let trail = bench.audited("retention.delete").await;
    let audited: BTreeSet<&str> = trail.iter().map(|event| event["subject"].as_str().unwrap()).collect();
    assert_eq!(audited, [made[1].to_string(), made[2].to_string()].iter().map(String::as_str).collect());
    assert!(trail.iter().all(|event| event["details"]["reasons"][0] == "no rule keeps it"), "{trail:?}");
    let report = job.report.unwrap();
    assert_eq!((&report["deletedCount"], &report["kept"]), (&json!(2), &json!(3)), "{report}");

    let again = bench.run().await;
    assert_eq!(again.report.unwrap()["deletedCount"], 0, "a second run has nothing to do");
    assert_eq!(bench.ids().await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_good_backup_retention_runs_by_itself() {
    let bench = Bench::new().await;
    bench.policy(daily(2)).await;
    let mut made = Vec::new();
    for day in 0..4 {
        made.push(bench.back_up(day).await);
    }
    assert_eq!(bench.ids().await, BTreeSet::from([made[2], made[3]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_plan_and_deletion_is_seen() {
    let bench = Bench::new().await;
    let (old, middle, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    bench.policy(daily(1)).await;
    let db = &bench.ctx().db;
    let spared = async |id: BackupId, why: &str| {
        let claim = bench.claim(id).await;
        assert!(matches!(&claim, Claim::Keep { reasons } if reasons.iter().any(|reason| reason.contains(why))), "{why}: {claim:?}");
        assert_eq!(bench.get(id).await.status, BackupStatus::Completed);
    };
    assert_eq!(bench.preview().await[0].deleted, 2);

    db::backups::set_pinned(db, HOME, old, true).await.unwrap();
    spared(old, "pinned").await;
    db::backups::set_pinned(db, HOME, old, false).await.unwrap();

    let restore = restore_of(old);
    db::restores::insert(db, HOME, &restore).await.unwrap();
    spared(old, "a restore reads it").await;
    let ended = Restore { status: RestoreStatus::Failed, finished_at: Some(START), ..restore };
    db::restores::finish(db, &ended).await.unwrap();

    let work = Job { backup_id: Some(old), run_after: START.plus(100 * DAY), ..verification() };
    db::jobs::enqueue(db, HOME, &work).await.unwrap();
    spared(old, "a job works on it").await;
    db::jobs::request_cancel(db, HOME, work.id).await.unwrap();

    // The newest turns out to be damaged: the one before it is the last good one now.
    db::backups::set_verified(db, new, VerifyState::Corrupt, START).await.unwrap();
    spared(middle, "the newest good backup").await;
    spared(middle, "the last good backup of the database").await;
    db::backups::set_verified(db, new, VerifyState::Verified, START).await.unwrap();

    bench.policy(daily(30)).await;
    spared(old, "daily 3 of 30").await;
    bench.policy(daily(1)).await;

    assert!(matches!(bench.claim(old).await, Claim::Delete { .. }), "nothing holds it any more");
    assert_eq!(bench.claim(old).await, Claim::Keep { reasons: vec!["it is gone, or not where it was any more".into()] });
}

fn verification() -> Job {
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

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_to_use_a_backup_that_is_being_deleted() {
    let bench = Bench::new().await;
    let (old, _) = (bench.back_up(0).await, bench.back_up(1).await);
    bench.policy(daily(1)).await;
    assert!(matches!(bench.claim(old).await, Claim::Delete { .. }));
    let (ctx, actor) = (bench.ctx(), Actor::system());
    assert_eq!(bench.get(old).await.status, BackupStatus::Deleting);
    for error in [
        db::restores::insert(&ctx.db, HOME, &restore_of(old)).await.unwrap_err(),
        services::backup::pin(ctx, &actor, old, true).await.unwrap_err(),
        services::backup::verify(ctx, &actor, old, Default::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, Kind::Conflict, "{error}");
    }
    // The process ended right there: the next run finishes it.
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert!(!bench.ids().await.contains(&old));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_keeps_the_rows_and_is_tried_again() {
    let disk = Disk::new("64m");
    let bench = Bench::at(tempfile::tempdir().unwrap(), disk.path().join("backups")).await;
    let (old, middle, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    bench.policy(daily(1)).await;
    disk.make_read_only();
    let failed = bench.run().await;
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.error.unwrap().contains("2 of 2 deletions failed"));
    assert_eq!(failed.report.unwrap()["failed"].as_array().unwrap().len(), 2);
    assert_eq!(bench.ids().await, BTreeSet::from([old, middle, new]));
    assert_eq!(bench.get(old).await.status, BackupStatus::Completed, "nothing of it was removed: it is still a backup");
    assert_eq!(bench.audited("retention.delete.failed").await.len(), 2);

    // The process ends when half of one is gone: it stays marked, whatever the policy says by then.
    disk.make_writable();
    assert!(matches!(bench.claim(middle).await, Claim::Delete { .. }));
    std::fs::remove_file(disk.path().join("backups").join(bench.get(middle).await.manifest_key.unwrap())).unwrap();
    disk.make_read_only();
    bench.policy(daily(30)).await;
    assert_eq!(bench.run().await.status, JobStatus::Failed);
    assert_eq!(bench.get(middle).await.status, BackupStatus::Deleting);
    disk.make_writable();
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert_eq!(bench.ids().await, BTreeSet::from([old, new]), "and the other is kept by the policy of now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_volume_is_not_mounted_loses_no_row() {
    let bench = Bench::new().await;
    let (old, new) = (bench.back_up(0).await, bench.back_up(1).await);
    bench.policy(daily(1)).await;
    let away = |from: &str, to: &str| std::fs::rename(bench.folder.path().join(from), bench.folder.path().join(to)).unwrap();
    away("backups", "unmounted");
    // First nothing is there, then another, empty folder.
    std::fs::write(bench.folder.path().join("backups"), "in the way").unwrap();
    assert_eq!(bench.run().await.status, JobStatus::Failed);
    std::fs::remove_file(bench.folder.path().join("backups")).unwrap();
    let failed = bench.run().await;
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.error.unwrap().contains("is the volume mounted?"));
    assert_eq!(bench.get(old).await.status, BackupStatus::Completed);
    std::fs::remove_dir_all(bench.folder.path().join("backups")).unwrap();
    away("unmounted", "backups");
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert_eq!(bench.ids().await, BTreeSet::from([new]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_for_all_spares_pins_and_the_last_good_one_however_late_it_is() {
    let bench = Bench::new().await;
    let (pinned, old, last) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    db::backups::set_pinned(&bench.ctx().db, HOME, pinned, true).await.unwrap();
    bench.day(300);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([pinned, old, last]), "without a policy all are kept up to the limit");
    // Ten years of a wrong clock, or of a machine that was off.
    bench.day(3650);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([pinned, last]));
    bench.day(-3650);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([pinned, last]));
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_schedule_deletes_nothing_of_what_it_made() {
    let bench = Bench::new().await;
    let input = PolicyInput { name: "strict".into(), policy: daily(1) };
    let strict = services::retention::create(bench.ctx(), &Actor::system(), input).await.unwrap().policy.id;
    let schedule = bench.schedule(&json!([]), Some(strict.to_string()));
    let (a, b) = (bench.back_up(0).await, bench.back_up(1).await);
    let catalogue = rusqlite::Connection::open(bench.ctx().db.path()).unwrap();
    catalogue.execute("UPDATE backups SET schedule_id = ?1", [schedule.to_string()]).unwrap();
    assert_eq!(bench.preview().await[0].deleted, 1, "while it is there its policy applies");
    let used = services::retention::delete(bench.ctx(), &Actor::system(), strict).await.unwrap_err();
    assert_eq!(used.kind, Kind::Conflict);
    assert!(used.to_string().contains(&schedule.to_string()), "{used}");
    catalogue.execute("DELETE FROM schedules", []).unwrap();
    bench.policy(daily(1)).await;
    assert_eq!(bench.preview().await[0].deleted, 0);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([a, b]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_part_never_takes_the_place_of_a_whole_one() {
    let bench = Bench::new().await;
    let (whole, part) = (bench.back_up(0).await, bench.back_up(0).await);
    let catalogue = rusqlite::Connection::open(bench.ctx().db.path()).unwrap();
    catalogue.execute("UPDATE backups SET partial = TRUE WHERE id = ?1", [part.to_string()]).unwrap();
    bench.policy(daily(1)).await;
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([whole, part]), "both are the newest of their kind that day");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_installation_has_made_is_left_alone() {
    let bench = Bench::new().await;
    let (theirs, old, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    let catalogue = rusqlite::Connection::open(bench.ctx().db.path()).unwrap();
    catalogue.execute("UPDATE backups SET instance_id = 'another' WHERE id = ?1", [theirs.to_string()]).unwrap();
    bench.policy(daily(1)).await;
    bench.day(4000);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([theirs, new]));
    assert!(!bench.ids().await.contains(&old));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_read_back_kept_by_their_own_policy_and_read_when_the_first_store_is_lost() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    let make = async |name: &str, keep| {
        let input = PolicyInput { name: name.into(), policy: daily(keep) };
        services::retention::create(bench.ctx(), &Actor::system(), input).await.unwrap().policy.id
    };
    let (short, long) = (make("short", 1).await, make("long", 2).await);
    let destinations = json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive, "retentionPolicyId": long }]);
    let schedule = bench.schedule(&destinations, Some(short.to_string()));
    let mut made = Vec::new();
    for day in 0..3 {
        let id = bench.back_up(day).await;
        bench.made_by(schedule, id).await;
        made.push(id);
    }
    let (second, third) = (bench.get(made[1]).await, bench.get(made[2]).await);
    assert_eq!(bench.ids().await, BTreeSet::from([made[1], made[2]]), "the oldest is in no store any more");
    assert_eq!(bench.stored("backups"), names(&third), "here one day is kept");
    assert_eq!(bench.stored("archive"), names(&second).union(&names(&third)).cloned().collect(), "and there two");
    assert_eq!(second.store_id, archive, "what is deleted here lives on there");
    assert!(second.artifacts.iter().all(|artifact| artifact.store_id == archive));
    let copies = services::copies::list(bench.ctx(), &Actor::system(), made[2]).await.unwrap();
    assert_eq!(copies.iter().map(|copy| copy.status.as_str()).collect::<Vec<_>>(), ["complete"]);

    // The first store is lost.
    std::fs::remove_dir_all(bench.folder.path().join("backups")).unwrap();
    std::fs::create_dir(bench.folder.path().join("backups")).unwrap();
    let job = services::backup::verify(bench.ctx(), &Actor::system(), made[2], Default::default()).await.unwrap();
    let job = bench.over(&job).await;
    assert_eq!(job.status, JobStatus::Completed, "{:?}", job.error);
    let kind = dbsnap::domain::artifact::ArtifactKind::Dump;
    assert!(services::backup::download(bench.ctx(), &Actor::system(), made[2], kind, true).await.is_ok());

    services::backup::delete(bench.ctx(), &Actor::system(), made[2]).await.unwrap();
    assert_eq!(bench.stored("archive"), names(&second), "a backup is deleted from every store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_still_has_to_be_copied_is_not_deleted_before() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    let first = bench.back_up(0).await;
    let destinations = json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive }]);
    let input = PolicyInput { name: "short".into(), policy: daily(1) };
    let short = services::retention::create(bench.ctx(), &Actor::system(), input).await.unwrap().policy.id;
    let schedule = bench.schedule(&destinations, Some(short.to_string()));
    // The further store is a file: nothing can be written there.
    std::fs::write(bench.folder.path().join("archive"), "in the way").unwrap();
    bench.made_by(schedule, first).await;
    let second = bench.back_up(1).await;
    bench.made_by(schedule, second).await;
    let planned = bench.preview().await;
    let reasons = &planned[0].backups.iter().find(|backup| backup.id == first).unwrap().reasons;
    assert_eq!(reasons[..], ["it still has to be copied to another store"]);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([first, second]));

    // It is tried again each day.
    std::fs::remove_file(bench.folder.path().join("archive")).unwrap();
    bench.day(2);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    services::retention::start(bench.ctx(), &Actor::system(), None).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.stored("archive"), names(&bench.get(second).await), "the copy was made, and went by its policy");
    assert_eq!(bench.ids().await, BTreeSet::from([second]));
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_of_size_and_age_go_by_the_bytes_and_days_of_real_backups() {
    let bench = Bench::new().await;
    let (old, middle, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    let size = bench.get(new).await.stored_size() + bench.get(middle).await.stored_size();
    let draft = Policy { mode: RetentionMode::Size, max_total_bytes: Some(size), ..daily(1) };
    let preview = async |draft: Policy| {
        let plans = services::retention::preview(bench.ctx(), &Actor::system(), Some(bench.database), Some(draft)).await.unwrap();
        let deleted = plans[0].backups.iter().filter(|backup| backup.action == Action::Delete);
        deleted.map(|backup| backup.id).collect::<Vec<_>>()
    };
    assert_eq!(preview(draft.clone()).await, [old]);
    assert_eq!(preview(Policy { max_total_bytes: Some(size - 1), ..draft }).await, [middle, old]);
    bench.day(3);
    let age = Policy { mode: RetentionMode::Age, max_age_days: Some(2), ..daily(1) };
    assert_eq!(preview(age).await, [old], "it ended two days and some milliseconds before");
    assert_eq!(bench.ids().await.len(), 3, "drafts delete nothing");
}
