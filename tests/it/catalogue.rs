//! The embedded catalogue: every table's reads and writes, the queue's claims, and long histories.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use dbsnap::{
    db::{
        self, Db,
        jobs::{Lease, Room},
        logs::NewLine,
    },
    domain::{
        artifact::{Artifact, ArtifactKind, DumpFormat, TableCount},
        backup::{Backup, BackupOptions, BackupStatus, BackupType, VerifyState},
        compression::Compression,
        database::Database,
        events::Progress,
        filter::{BackupFilter, DatabaseFilter, JobFilter},
        ids::*,
        job::{Job, JobKind, JobStatus, LogLevel},
        page::PageRequest,
        restore::{Restore, RestorePlan, RestoreStatus},
        store::StoreConfig,
        time::Moment,
    },
    error::Kind,
};
use serde_json::json;
use tempfile::TempDir;

const HOME: OrganizationId = OrganizationId::DEFAULT;

fn elsewhere() -> OrganizationId {
    OrganizationId::new()
}

async fn open() -> (TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&folder.path().join("data/dbsnap.db")).await.unwrap();
    (folder, db)
}

fn settings(value: serde_json::Value) -> dbsnap::domain::database::Settings {
    value.as_object().unwrap().clone()
}

async fn store(db: &Db) -> StoreConfig {
    let now = Moment::now();
    let store = StoreConfig {
        id: StoreId::LOCAL,
        organization_id: HOME,
        name: "Local".into(),
        kind: "local".into(),
        settings: settings(json!({"path": "/backups"})),
        created_at: now,
        updated_at: now,
    };
    db::stores::insert(db, &store).await.unwrap();
    store
}

async fn database(db: &Db, name: &str) -> Database {
    let now = Moment::now();
    let database = Database {
        id: DatabaseId::new(),
        project_id: ProjectId::DEFAULT,
        name: name.into(),
        engine: "sqlite".into(),
        settings: settings(json!({"path": "/data/shop 🦀.db"})),
        store_id: StoreId::LOCAL,
        backup_options: BackupOptions::default(),
        created_at: now,
        updated_at: now,
    };
    db::databases::insert(db, &database).await.unwrap();
    database
}

fn backup(database: &Database, created_at: Moment) -> Backup {
    Backup {
        id: BackupId::new(),
        database_id: Some(database.id),
        database_name: database.name.clone(),
        engine: database.engine.clone(),
        kind: BackupType::Manual,
        status: BackupStatus::Queued,
        store_id: database.store_id,
        job_id: None,
        schedule_id: None,
        pinned: false,
        verify_state: VerifyState::Unverified,
        verified_at: None,
        created_at,
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
    }
}

fn artifact(backup: &Backup) -> Artifact {
    Artifact {
        id: ArtifactId::new(),
        backup_id: backup.id,
        kind: ArtifactKind::Dump,
        format: DumpFormat::SqliteFile,
        store_id: backup.store_id,
        key: format!("shop/{}.dump.zst", backup.id),
        plain_size: 10_000_000_000,
        stored_size: 4_000,
        plain_sha256: "aa".into(),
        stored_sha256: "bb".into(),
        compression: Compression::Zstd(3),
        key_id: Some("3f2a1b0c".into()),
        created_at: Moment::now(),
    }
}

fn job(kind: JobKind, exclusive_key: Option<&str>, max_attempts: u32) -> Job {
    let now = Moment::now();
    Job {
        id: JobId::new(),
        kind,
        status: JobStatus::Queued,
        database_id: None,
        backup_id: None,
        restore_id: None,
        diff_id: None,
        schedule_id: None,
        priority: 0,
        limits: Default::default(),
        exclusive_key: exclusive_key.map(str::to_owned),
        payload: json!({}),
        attempt: 0,
        max_attempts,
        run_after: now,
        cancel_requested: false,
        progress: None,
        error: None,
        dead: false,
        report: None,
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

const ROOM: Room = Room { backups: 3, upkeep: 3 };

fn lease(token: &str) -> Lease {
    Lease { token: token.into(), until: Moment(Moment::now().0 + 30_000) }
}

#[tokio::test]
async fn a_database_is_read_back_as_it_was_saved_and_only_by_its_organization() {
    let (_folder, db) = open().await;
    store(&db).await;
    let mut shop = database(&db, "Shop \"50%\" 🦀\nline").await;

    let read = db::databases::get(&db, HOME, shop.id).await.unwrap();
    assert_eq!((read.name.as_str(), &read.settings, &read.backup_options), (shop.name.as_str(), &shop.settings, &shop.backup_options));
    assert_eq!(db::databases::get(&db, elsewhere(), shop.id).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(db::databases::delete(&db, elsewhere(), shop.id, false, Moment::now()).await.unwrap_err().kind, Kind::NotFound);
    assert!(db::databases::find_by_name(&db, HOME, &shop.name).await.unwrap().is_some());

    let found = |q: &str| DatabaseFilter { q: Some(q.to_owned()), ..DatabaseFilter::default() };
    assert_eq!(db::databases::list(&db, HOME, &found("shop"), PageRequest::default()).await.unwrap().total, 1);
    assert_eq!(db::databases::list(&db, HOME, &found("50%"), PageRequest::default()).await.unwrap().total, 1);
    assert_eq!(db::databases::list(&db, HOME, &found("5_%"), PageRequest::default()).await.unwrap().total, 0, "% and _ are plain text");

    shop.name = "renamed".into();
    db::databases::update(&db, &shop).await.unwrap();
    let mut twin = shop.clone();
    twin.id = DatabaseId::new();
    let refused = db::databases::insert(&db, &twin).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);
    assert!(refused.to_string().contains("another one has the same name"), "{refused}");
    db::databases::delete(&db, HOME, shop.id, false, Moment::now()).await.unwrap();
    assert_eq!(db::databases::get(&db, HOME, shop.id).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_store_in_use_cannot_be_removed() {
    let (_folder, db) = open().await;
    let local = store(&db).await;
    let shop = database(&db, "shop").await;
    assert_eq!(db::stores::delete(&db, HOME, local.id).await.unwrap_err().kind, Kind::Conflict);
    db::databases::delete(&db, HOME, shop.id, false, Moment::now()).await.unwrap();
    db::stores::delete(&db, HOME, local.id).await.unwrap();
    assert!(db::stores::list(&db, HOME).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_completes_once_with_all_its_artifacts_and_then_stays_completed() {
    let (_folder, db) = open().await;
    store(&db).await;
    let shop = database(&db, "shop").await;
    let mut made = backup(&shop, Moment::now());
    db::backups::insert(&db, HOME, &made).await.unwrap();
    assert_eq!(db::backups::complete(&db, &made).await.unwrap_err().kind, Kind::Conflict, "it does not run yet");

    db::backups::mark_running(&db, made.id, Moment::now()).await.unwrap();
    assert_eq!(db::backups::unfinished(&db).await.unwrap().len(), 1);
    made.manifest_key = Some("shop/x.manifest.json".into());
    made.tables = vec![TableCount { schema: None, name: "orders".into(), rows: 7 }];
    made.artifacts = vec![artifact(&made)];
    made.finished_at = Some(Moment::now());
    db::backups::complete(&db, &made).await.unwrap();

    assert!(!db::backups::finish(&db, made.id, BackupStatus::Failed, Some("late"), Moment::now()).await.unwrap());
    assert_eq!(db::backups::mark_running(&db, made.id, Moment::now()).await.unwrap_err().kind, Kind::Conflict);
    let read = db::backups::get(&db, HOME, made.id).await.unwrap();
    assert_eq!((read.status, read.rows(), read.plain_size()), (BackupStatus::Completed, 7, 10_000_000_000));
    assert_eq!(read.artifacts[0].compression, Compression::Zstd(3));
    assert_eq!(db::backups::keys_in_store(&db, shop.store_id).await.unwrap().len(), 2);
    assert!(db::backups::unfinished(&db).await.unwrap().is_empty());

    db::databases::delete(&db, HOME, shop.id, false, Moment::now()).await.unwrap();
    assert_eq!(db::backups::get(&db, HOME, made.id).await.unwrap().database_id, None, "a backup outlives its database");
    db::backups::delete(&db, HOME, made.id).await.unwrap();
    assert!(!db::backups::exists(&db, made.id).await.unwrap());
    assert!(db::backups::keys_in_store(&db, shop.store_id).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_good_backup_is_neither_failed_nor_corrupt() {
    let (_folder, db) = open().await;
    store(&db).await;
    let shop = database(&db, "shop").await;
    let mut ids = Vec::new();
    for (age, status) in [(3, BackupStatus::Completed), (2, BackupStatus::Completed), (1, BackupStatus::Failed)] {
        let mut made = backup(&shop, Moment(Moment::now().0 - age * 1000));
        made.status = status;
        db::backups::insert(&db, HOME, &made).await.unwrap();
        ids.push(made.id);
    }
    let last_good = async || db::backups::last_good(&db, HOME, shop.id).await.unwrap().unwrap().id;
    assert_eq!(last_good().await, ids[1]);
    db::backups::set_verified(&db, ids[1], VerifyState::Corrupt, Moment::now()).await.unwrap();
    assert_eq!(last_good().await, ids[0]);
    assert_eq!(db::backups::last(&db, HOME, shop.id).await.unwrap().unwrap().id, ids[2]);
}

#[tokio::test]
async fn ten_thousand_backups_are_paged_and_filtered_quickly() {
    let (_folder, db) = open().await;
    store(&db).await;
    let databases = [database(&db, "shop").await, database(&db, "blog").await];
    let source = db.path().to_owned();
    let start = 1_700_000_000_000_i64;
    // Row by row through the API every commit would be synced: the history is written in one go.
    let rows: Vec<_> = (0..10_000_usize).map(|n| (n, backup(&databases[n % 2], Moment(start + n as i64)))).collect();
    tokio::task::spawn_blocking(move || {
        let mut file = rusqlite::Connection::open(source).unwrap();
        let all = file.transaction().unwrap();
        for (n, row) in rows {
            all.execute(
                "INSERT INTO backups (id, organization_id, database_id, database_name, engine, type, status, store_id, pinned, verify_state,
                     created_at, warnings, options, tables)
                 VALUES (?1, ?2, ?3, ?4, 'sqlite', 'manual', ?5, ?6, FALSE, 'unverified', ?7, '[]', '{}', '[]')",
                rusqlite::params![
                    row.id.to_string(),
                    HOME.to_string(),
                    row.database_id.map(|id| id.to_string()),
                    row.database_name,
                    if n % 10 == 0 { "failed" } else { "completed" },
                    row.store_id.to_string(),
                    row.created_at.0
                ],
            )
            .unwrap();
        }
        all.commit().unwrap();
    })
    .await
    .unwrap();

    let begun = Instant::now();
    let last = db::backups::list(&db, HOME, &BackupFilter::default(), PageRequest { page: 200, limit: 50 }).await.unwrap();
    assert_eq!((last.total, last.items.len(), last.items[49].created_at), (10_000, 50, Moment(start)));
    let failed = BackupFilter { status: Some(BackupStatus::Failed), database_id: Some(databases[0].id), ..Default::default() };
    assert_eq!(db::backups::list(&db, HOME, &failed, PageRequest::default()).await.unwrap().total, 1_000);
    let span = BackupFilter { start: Some(Moment(start + 10)), end: Some(Moment(start + 19)), ..Default::default() };
    assert_eq!(db::backups::list(&db, HOME, &span, PageRequest::default()).await.unwrap().total, 10);
    let blog = BackupFilter { q: Some("BLO".into()), ..Default::default() };
    assert_eq!(db::backups::list(&db, HOME, &blog, PageRequest { page: 100, limit: 50 }).await.unwrap().items.len(), 50);
    assert!(begun.elapsed() < Duration::from_secs(2), "four pages took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_restore_is_read_back_and_ends_once() {
    let (_folder, db) = open().await;
    let mut restore = Restore {
        id: RestoreId::new(),
        backup_id: None,
        upload_id: Some(UploadId::new()),
        source_label: "dump.sql".into(),
        database_id: None,
        target_label: "app@db/shop".into(),
        engine: "postgresql".into(),
        plan: RestorePlan { tables: vec!["public.a".into()], ..Default::default() },
        applied: None,
        status: RestoreStatus::Queued,
        job_id: Some(JobId::new()),
        safety_backup_id: None,
        created_at: Moment::now(),
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
        tables: Vec::new(),
    };
    db::restores::insert(&db, HOME, &restore).await.unwrap();
    db::restores::mark_running(&db, restore.id, Moment::now()).await.unwrap();
    restore.status = RestoreStatus::Completed;
    restore.warnings = vec!["one".into()];
    assert!(db::restores::finish(&db, &restore).await.unwrap());
    restore.status = RestoreStatus::Failed;
    assert!(!db::restores::finish(&db, &restore).await.unwrap());
    let read = db::restores::get(&db, HOME, restore.id).await.unwrap();
    assert_eq!((read.status, read.plan, read.warnings), (RestoreStatus::Completed, restore.plan, restore.warnings));
    assert_eq!(db::restores::get(&db, elsewhere(), restore.id).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn settings_are_replaced_and_listed() {
    let (_folder, db) = open().await;
    assert_eq!(db::settings::get(&db, "a").await.unwrap(), None);
    db::settings::set(&db, "a", "1").await.unwrap();
    db::settings::set(&db, "a", "2").await.unwrap();
    db::settings::set(&db, "b", "").await.unwrap();
    assert_eq!(db::settings::all(&db).await.unwrap(), [("a".into(), "2".into()), ("b".into(), String::new())].into());
}

#[tokio::test]
async fn log_lines_are_numbered_and_read_from_where_a_reader_was() {
    let (_folder, db) = open().await;
    let [first, second] = [job(JobKind::Verify, None, 1), job(JobKind::Verify, None, 1)];
    for job in [&first, &second] {
        db::jobs::enqueue(&db, HOME, job).await.unwrap();
    }
    let line = |job: &Job, level, message: &str| NewLine { job_id: job.id, at: Moment::now(), level, message: message.into() };
    let stored = db::logs::append(
        &db,
        &[
            line(&first, LogLevel::Info, "begun"),
            line(&second, LogLevel::Info, "other"),
            line(&first, LogLevel::Warn, "hm"),
            line(&first, LogLevel::Error, "quotes \" ' \n 🦀"),
        ],
    )
    .await
    .unwrap();
    assert!(stored.windows(2).all(|pair| pair[0].seq < pair[1].seq));

    let messages = async |after, level, limit| -> Vec<String> {
        db::logs::list(&db, first.id, after, level, limit).await.unwrap().into_iter().map(|line| line.message).collect()
    };
    assert_eq!(messages(0, None, 100).await, ["begun", "hm", "quotes \" ' \n 🦀"]);
    assert_eq!(messages(stored[0].seq, None, 1).await, ["hm"]);
    assert_eq!(messages(0, Some(LogLevel::Error), 100).await.len(), 1);
}

#[tokio::test]
async fn many_workers_claim_each_job_once_and_no_key_twice_at_the_same_time() {
    let (_folder, db) = open().await;
    const JOBS: usize = 60;
    for n in 0..JOBS {
        db::jobs::enqueue(&db, HOME, &job(JobKind::Backup, Some(&format!("database:{}", n % 5)), 1)).await.unwrap();
    }
    let running: Arc<std::sync::Mutex<HashSet<String>>> = Arc::default();
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (db, running, most) = (db.clone(), running.clone(), most.clone());
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let lease = lease(&format!("worker-{worker}-{}", done.len()));
                    let Some((_, job)) = db::jobs::claim(&db, &lease, Moment::now(), ROOM).await.unwrap() else {
                        let queued = JobFilter { status: Some(JobStatus::Queued), ..Default::default() };
                        if db::jobs::list(&db, HOME, &queued, PageRequest::default()).await.unwrap().total == 0 {
                            return done;
                        }
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let key = job.exclusive_key.clone().unwrap();
                    {
                        let mut running = running.lock().unwrap();
                        assert!(running.insert(key.clone()), "{key} runs twice");
                        most.fetch_max(running.len(), std::sync::atomic::Ordering::SeqCst);
                    }
                    tokio::task::yield_now().await;
                    running.lock().unwrap().remove(&key);
                    assert!(
                        db::jobs::finish(&db, job.id, &lease.token, JobStatus::Completed, None, Moment::now()).await.unwrap().is_some()
                    );
                    done.push(job.id);
                }
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.unwrap());
    }
    assert_eq!(claimed.len(), JOBS);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), JOBS, "each once");
    assert!(most.load(std::sync::atomic::Ordering::SeqCst) <= 3, "at most three backups at a time");
}

#[tokio::test]
async fn a_job_is_claimed_when_it_is_due_and_the_longest_due_first() {
    let (_folder, db) = open().await;
    let now = Moment::now();
    let mut later = job(JobKind::Verify, None, 1);
    later.run_after = Moment(now.0 + 60_000);
    let mut earlier = job(JobKind::Verify, None, 1);
    earlier.run_after = Moment(now.0 - 60_000);
    let due = job(JobKind::Verify, None, 1);
    for job in [&later, &due, &earlier] {
        db::jobs::enqueue(&db, HOME, job).await.unwrap();
    }
    let claim = async |at| db::jobs::claim(&db, &lease("w"), at, ROOM).await.unwrap().map(|(_, job)| job.id);
    let now = Moment::now();
    assert_eq!([claim(now).await, claim(now).await, claim(now).await], [Some(earlier.id), Some(due.id), None]);
    assert_eq!(claim(later.run_after).await, Some(later.id));
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing_more() {
    let (_folder, db) = open().await;
    db::jobs::enqueue(&db, HOME, &job(JobKind::Restore, Some("database:1"), 2)).await.unwrap();
    let old = Lease { token: "old".into(), until: Moment(Moment::now().0 - 1) };
    let (_, claimed) = db::jobs::claim(&db, &old, Moment::now(), ROOM).await.unwrap().unwrap();
    assert_eq!((claimed.attempt, claimed.status), (1, JobStatus::Running));
    let progress = Progress { stage: "restoring".into(), bytes: 5, ..Default::default() };
    let beat = db::jobs::heartbeat(&db, claimed.id, &old, Some(&progress)).await.unwrap();
    assert!(beat.held && !beat.cancel_requested);
    db::jobs::heartbeat(&db, claimed.id, &old, None).await.unwrap();
    assert_eq!(db::jobs::get(&db, HOME, claimed.id).await.unwrap().progress, Some(progress));

    let taken = db::jobs::take_over(&db, &lease("new"), Some(Moment::now()), Vec::new()).await.unwrap();
    assert_eq!(taken.iter().map(|(_, job)| job.id).collect::<Vec<_>>(), [claimed.id]);
    assert!(
        db::jobs::take_over(&db, &lease("third"), Some(Moment::now()), Vec::new()).await.unwrap().is_empty(),
        "the lease is fresh again"
    );
    assert!(!db::jobs::heartbeat(&db, claimed.id, &lease("old"), None).await.unwrap().held);
    assert!(db::jobs::finish(&db, claimed.id, "old", JobStatus::Completed, None, Moment::now()).await.unwrap().is_none());
    assert!(db::jobs::requeue(&db, claimed.id, "old", Moment::now(), None, true, Moment::now()).await.unwrap().is_none());
    let back = db::jobs::requeue(&db, claimed.id, "new", Moment::now(), Some("interrupted"), true, Moment::now()).await.unwrap().unwrap();
    assert_eq!((back.status, back.attempt, back.error.as_deref()), (JobStatus::Queued, 1, Some("interrupted")));
}

#[tokio::test]
async fn a_cancel_settles_a_queued_job_asks_a_running_one_and_is_refused_for_one_that_is_over() {
    let (_folder, db) = open().await;
    let queued = job(JobKind::Backup, None, 1);
    db::jobs::enqueue(&db, HOME, &queued).await.unwrap();
    assert_eq!(db::jobs::request_cancel(&db, elsewhere(), queued.id).await.unwrap_err().kind, Kind::NotFound);
    let cancelled = db::jobs::request_cancel(&db, HOME, queued.id).await.unwrap();
    assert_eq!(cancelled.status, JobStatus::Cancelled);
    assert!(cancelled.finished_at.is_some());
    assert!(db::jobs::claim(&db, &lease("w"), Moment::now(), ROOM).await.unwrap().is_none());
    let refused = db::jobs::request_cancel(&db, HOME, queued.id).await.unwrap_err();
    assert_eq!((refused.kind, refused.context.contains("already cancelled")), (Kind::Conflict, true), "{refused}");

    let again = job(JobKind::Backup, None, 1);
    db::jobs::retry(&db, HOME, queued.id, &again, false).await.unwrap();
    let twice = db::jobs::retry(&db, HOME, queued.id, &job(JobKind::Backup, None, 1), false).await.unwrap_err();
    assert_eq!((twice.kind, twice.context.contains("its retry before this one is not over")), (Kind::Conflict, true), "{twice}");
    let (_, running) = db::jobs::claim(&db, &lease("w"), Moment::now(), ROOM).await.unwrap().unwrap();
    assert_eq!(db::jobs::request_cancel(&db, HOME, running.id).await.unwrap().status, JobStatus::Running);
    assert!(db::jobs::heartbeat(&db, running.id, &lease("w"), None).await.unwrap().cancel_requested);
    assert_eq!(running.id, again.id);
    assert_eq!(db::jobs::retry(&db, HOME, running.id, &job(JobKind::Backup, None, 1), false).await.unwrap_err().kind, Kind::Conflict);
    let late = db::jobs::requeue(&db, running.id, "w", Moment::now().plus(3_600_000), Some("timeout"), true, Moment(7)).await.unwrap();
    let late = late.unwrap();
    assert_eq!((late.status, late.finished_at), (JobStatus::Cancelled, Some(Moment(7))), "it does not wait for an hour first");
    let no_letter = db::jobs::retry(&db, HOME, queued.id, &job(JobKind::Backup, None, 1), true).await.unwrap_err();
    assert_eq!(no_letter.kind, Kind::Conflict, "a cancelled job is no dead letter");
}
