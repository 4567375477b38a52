//! Copies whose store is away or slow, and the way out of one that never comes back.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use dbsnap::{
    db,
    domain::{
        backup::{BackupOptions, BackupType},
        copy::HOLD_DAYS,
        database::Settings,
        ids::{BackupId, ScheduleId, StoreId},
        job::{Job, JobKind, JobStatus},
        page::PageRequest,
        permissions::Actor,
    },
    engines,
    error::Kind,
    services::{
        self,
        backup::produce::{Plan, produce},
        retention::PolicyInput,
        schedules::{self, ScheduleInput},
    },
    stores,
};
use serde_json::{Value, json};

use super::bench::{Bench, HOME, START, daily, names};
use crate::support::{
    doubles::{Misread, Reading},
    observer::{Seen, run_of},
};

impl Bench {
    /// A schedule with a second destination that is a file: nothing can be written there. Two backups wait for it.
    async fn with_a_dead_destination(&self) -> (StoreId, ScheduleId, [BackupId; 2]) {
        let archive = self.further_store("archive").await;
        std::fs::write(self.folder.path().join("archive"), "in the way").unwrap();
        let input = PolicyInput { name: "short".into(), policy: daily(1) };
        let short = services::retention::create(self.ctx(), &Actor::system(), input).await.unwrap().policy.id;
        let input = self.input(json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive }]), short.to_string());
        let schedule = schedules::create(self.ctx(), &Actor::system(), input).await.unwrap().schedule.id;
        let mut made = Vec::new();
        for day in 0..2 {
            made.push(self.back_up(day).await);
            self.made_by(schedule, made[day as usize]).await;
        }
        (archive, schedule, made.try_into().unwrap())
    }

    fn input(&self, destinations: Value, policy: String) -> ScheduleInput {
        serde_json::from_value(json!({ "name": "nightly", "databaseId": self.database, "cron": "@yearly",
            "destinations": destinations, "retentionPolicyId": policy }))
        .unwrap()
    }

    async fn copy_jobs(&self) -> Vec<Job> {
        let page = PageRequest { page: 1, limit: 100 };
        let jobs = db::jobs::list(&self.ctx().db, HOME, &Default::default(), page).await.unwrap();
        jobs.items.into_iter().filter(|job| job.kind == JobKind::Copy).collect()
    }

    async fn waiting(&self, id: BackupId) -> usize {
        services::copies::list(self.ctx(), &Actor::system(), id).await.unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_tries_every_copy_to_a_store_again_and_rests_after_a_refusal() {
    let bench = Bench::new().await;
    let (_, schedule, [first, _]) = bench.with_a_dead_destination().await;
    assert_eq!(bench.copy_jobs().await.len(), 2, "one for each backup, a day apart");
    // The next backup comes within the hour of the last refusal.
    let third = bench.back_up(1).await;
    bench.made_by(schedule, third).await;
    assert_eq!(bench.copy_jobs().await.len(), 2);
    bench.day(2);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    let jobs = bench.copy_jobs().await;
    assert_eq!(jobs.len(), 3, "one for three backups");
    assert!(jobs.iter().all(|job| job.status == JobStatus::Failed && job.error.as_ref().unwrap().contains("'archive'")));

    std::fs::remove_file(bench.folder.path().join("archive")).unwrap();
    bench.day(3);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.copy_jobs().await.len(), 4);
    bench.run().await;
    bench.settled().await;
    let kept = bench.backups().await;
    assert!(kept.iter().any(|backup| backup.id == third) && kept.iter().all(|backup| backup.id != first));
    let expected = kept.iter().flat_map(names).collect::<BTreeSet<_>>();
    assert_eq!(bench.stored("archive"), expected, "all were copied, and the older one went by the policy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_destination_is_left_by_taking_it_from_the_schedule() {
    let bench = Bench::new().await;
    let (archive, schedule, [first, second]) = bench.with_a_dead_destination().await;
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([first, second]), "both still have to be copied");
    assert_eq!(services::stores::delete(bench.ctx(), &Actor::system(), archive).await.unwrap_err().kind, Kind::Conflict);

    let policy = bench.preview().await[0].policy_id.unwrap();
    let input = bench.input(json!([{ "storeId": StoreId::LOCAL }]), policy.to_string());
    schedules::update(bench.ctx(), &Actor::system(), schedule, input).await.unwrap();
    assert_eq!((bench.waiting(first).await, bench.waiting(second).await), (0, 0), "nothing is to be copied any more");
    services::stores::delete(bench.ctx(), &Actor::system(), archive).await.unwrap();
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([second]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_deleted_by_hand_although_it_could_not_be_copied() {
    let bench = Bench::new().await;
    let (_, _, [first, second]) = bench.with_a_dead_destination().await;
    services::backup::delete(bench.ctx(), &Actor::system(), first).await.unwrap();
    assert_eq!(bench.ids().await, BTreeSet::from([second]));
    assert_eq!(bench.stored("backups"), names(&bench.get(second).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_waits_no_longer_than_a_week_for_its_copy() {
    let bench = Bench::new().await;
    let (_, _, [first, second]) = bench.with_a_dead_destination().await;
    bench.day(HOLD_DAYS - 1);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([first, second]));
    bench.day(HOLD_DAYS + 1);
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([second]), "the first store does not fill up for ever");
    assert_eq!(bench.stored("backups"), names(&bench.get(second).await));
}

fn open(folder: &Path) -> Arc<dyn stores::Store> {
    stores::find("local").unwrap().open(json!({ "path": folder }).as_object().unwrap()).unwrap()
}

/// The different byte counts that were told of a stage.
fn told(seen: &Seen, stage: &str) -> usize {
    let progress = seen.progress.lock().unwrap();
    progress.iter().filter(|progress| progress.stage.starts_with(stage)).map(|progress| progress.bytes).collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_flow_are_progress_while_a_slow_store_is_copied_from_and_read_back() {
    let bench = Bench::new().await;
    let connection = rusqlite::Connection::open(bench.folder.path().join("shop.db")).unwrap();
    let fill = "CREATE TABLE large (b BLOB); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                INSERT INTO large SELECT randomblob(4000) FROM n";
    connection.execute_batch(fill).unwrap();
    let backup = bench.get(bench.back_up(0).await).await;
    let artifact = &backup.artifacts[0];
    let slow =
        |folder: &str| Misread { inner: open(&bench.folder.path().join(folder)), reading: Reading::Slow(Duration::from_millis(220)) };
    let (from, to) = (slow("backups"), slow("elsewhere"));
    let seen = Arc::new(Seen::default());
    services::copies::transfer(artifact, &from, &to, "elsewhere", &run_of(seen.clone())).await.unwrap();
    assert!(artifact.stored_size > 5 * 256 * 1024, "{}", artifact.stored_size);
    for stage in ["copying to elsewhere", "reading back from elsewhere"] {
        assert!(told(&seen, stage) >= 5, "{stage}: {:?}", seen.progress.lock().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_flow_are_progress_while_a_backup_is_read_back_from_a_slow_store() {
    let bench = Bench::new().await;
    let source = bench.folder.path().join("large.db");
    let fill = "CREATE TABLE large (b BLOB); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                INSERT INTO large SELECT randomblob(4000) FROM n";
    rusqlite::Connection::open(&source).unwrap().execute_batch(fill).unwrap();
    let store = Misread { inner: open(&bench.folder.path().join("elsewhere")), reading: Reading::Slow(Duration::from_millis(220)) };
    let settings: Settings = json!({ "path": source }).as_object().unwrap().clone();
    let options = BackupOptions { encrypt: false, ..BackupOptions::default() };
    let plan = Plan {
        id: BackupId::new(),
        database: "large",
        kind: BackupType::Manual,
        schedule_id: None,
        engine: engines::find("sqlite").unwrap(),
        settings: &settings,
        options: &options,
        started_at: START,
        instance_id: "a test",
        store_id: StoreId::LOCAL,
        folder: None,
    };
    let seen = Arc::new(Seen::default());
    produce(&plan, &store, None, &run_of(seen.clone())).await.unwrap();
    assert!(told(&seen, "reading back") >= 5, "{:?}", seen.progress.lock().unwrap());
}
