//! The workers: what they do with work that succeeds, fails, hangs, panics, is cancelled, or loses its process.

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dbsnap::{
    app::{self, Opened},
    config::Config,
    db::{
        self,
        jobs::{Lease, Room},
    },
    domain::{
        events::{Event, Progress},
        ids::{JobId, OrganizationId},
        job::{Job, JobKind, JobLimits, JobStatus, LogLevel},
        permissions::Actor,
        run::Run,
        time::Moment,
    },
    error::{Error, Result},
    jobs::{self, Jobs, Timing, Work},
    services::{self, Ctx},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::broadcast;

mod dead;
mod healing;
mod letters;
mod limits;
mod pause;
mod pool;
mod queue;

const HOME: OrganizationId = OrganizationId::DEFAULT;
const ROOM: Room = Room { backups: 9, upkeep: 9 };

/// Work that does what the job's payload says, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    begun: Mutex<HashMap<JobId, u32>>,
    settled: Mutex<Vec<(JobId, JobStatus, Option<String>)>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    settle_failures: AtomicUsize,
    ended: Mutex<Vec<JobId>>,
    /// Where a cancel is asked for while an attempt is settled.
    late_cancel: Mutex<Option<db::Db>>,
}

#[async_trait]
impl Work for Scripted {
    async fn execute(&self, _: OrganizationId, job: &Job, run: Run) -> Result<()> {
        *self.begun.lock().unwrap().entry(job.id).or_default() += 1;
        let mode = std::fs::metadata(&run.scratch).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "the scratch folder is private");
        std::fs::write(run.scratch.join("spooled"), "x").unwrap();
        let running = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(running, Ordering::SeqCst);
        let done = self.play(job, &run).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        done
    }

    async fn settle(&self, _: OrganizationId, job: &Job, outcome: JobStatus, error: Option<&str>) -> Result<()> {
        if self.settle_failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::internal("the catalogue is busy"));
        }
        self.settled.lock().unwrap().push((job.id, outcome, error.map(str::to_owned)));
        let late = self.late_cancel.lock().unwrap().clone();
        if let Some(db) = late {
            db::jobs::request_cancel(&db, HOME, job.id).await.unwrap();
        }
        Ok(())
    }

    async fn completed(&self, _: OrganizationId, job: &Job) -> Result<bool> {
        Ok(job.payload["rows"] == "completed")
    }

    async fn ended(&self, _: OrganizationId, job: &Job) -> Result<()> {
        assert!(job.status.is_over());
        assert_ne!(job.payload["then"], "panic", "a fault on purpose");
        self.ended.lock().unwrap().push(job.id);
        Ok(())
    }
}

impl Scripted {
    async fn play(&self, job: &Job, run: &Run) -> Result<()> {
        match job.payload["do"].as_str().unwrap() {
            "succeed" => {
                for bytes in [0, 500, 1_000] {
                    run.progress(&Progress { stage: "dumping".into(), bytes, ..Progress::default() });
                }
                run.info("half way\nforged");
                Ok(())
            }
            "fail" => Err(Error::internal("wrong password").hint("check it")),
            "fail, then succeed" if job.attempt < 3 => Err(Error::internal("timeout").retryable()),
            "fail, then succeed" => Ok(()),
            "always time out" => Err(Error::internal("timeout").retryable()),
            "panic" => panic!("a fault on purpose"),
            "wait for cancel" => run.until_cancelled(std::future::pending()).await,
            "ignore cancel" => std::future::pending().await,
            "block" => {
                tokio::task::block_in_place(|| std::thread::sleep(Duration::from_secs(8)));
                Ok(())
            }
            "chatter" => {
                for n in 0..50_000 {
                    run.debug(format!("line {n}"));
                    if n % 256 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(())
            }
            other => panic!("unknown script '{other}'"),
        }
    }
}

struct Bench {
    _folder: TempDir,
    opened: Opened,
    work: Arc<Scripted>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vars = [
            ("ENCRYPTION_KEY", "a key of the tests that is long enough"),
            ("MAX_CONCURRENT_BACKUPS", "2"),
            ("MIN_WORKERS", "1"),
            ("MAX_WORKERS", "3"),
        ];
        let config = Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())), folder.path()).unwrap();
        Self { opened: app::open(config).await.unwrap(), _folder: folder, work: Arc::default() }
    }

    fn ctx(&self) -> &Arc<Ctx> {
        &self.opened.ctx
    }

    async fn start(&self, timing: Timing) -> Jobs {
        jobs::start_with(Arc::clone(self.ctx()), self.work.clone(), timing).await.unwrap()
    }

    async fn queue(&self, kind: JobKind, script: &str, max_attempts: u32) -> JobId {
        self.queue_job(new_job(kind, script, max_attempts)).await
    }

    async fn queue_job(&self, job: Job) -> JobId {
        db::jobs::enqueue(&self.ctx().db, HOME, &job).await.unwrap();
        self.ctx().queued.notify_one();
        job.id
    }

    async fn job(&self, id: JobId) -> Job {
        db::jobs::get(&self.ctx().db, HOME, id).await.unwrap()
    }

    async fn wait(&self, id: JobId, status: JobStatus) -> Job {
        let begun = Instant::now();
        loop {
            let job = self.job(id).await;
            if job.status == status {
                return job;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{status} expected, but it is {job:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Until the work itself has begun.
    async fn wait_begun(&self, id: JobId) {
        let begun = Instant::now();
        while !self.work.begun.lock().unwrap().contains_key(&id) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the job never began");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn settled(&self, id: JobId) -> Vec<JobStatus> {
        self.work.settled.lock().unwrap().iter().filter(|(job, ..)| *job == id).map(|(_, status, _)| *status).collect()
    }

    async fn log(&self, id: JobId) -> Vec<(LogLevel, String)> {
        let lines = db::logs::list(&self.ctx().db, id, 0, None, 100_000).await.unwrap();
        lines.into_iter().map(|line| (line.level, line.message)).collect()
    }

    fn scratch_is_empty(&self) -> bool {
        std::fs::read_dir(self.ctx().scratch_root()).map_or(true, |mut entries| entries.next().is_none())
    }
}

fn new_job(kind: JobKind, script: &str, max_attempts: u32) -> Job {
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
        exclusive_key: None,
        payload: json!({"do": script}),
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

fn quick() -> Timing {
    Timing {
        lease: Duration::from_secs(10),
        heartbeat: Duration::from_millis(50),
        sweep: Duration::from_millis(50),
        poll: Duration::from_millis(50),
        idle: Duration::from_millis(200),
        progress: Duration::from_millis(10),
        stall: Duration::from_secs(60),
        grace: Duration::from_millis(100),
        patience: Duration::from_millis(200),
        settle_again: Duration::from_millis(10),
        retry_base: Duration::from_millis(10),
    }
}

fn told(events: &mut broadcast::Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

#[tokio::test]
async fn work_that_succeeds_is_completed_logged_told_and_leaves_no_files() {
    let bench = Bench::new().await;
    let mut events = bench.ctx().events.subscribe();
    let jobs = bench.start(quick()).await;
    let id = bench.queue(JobKind::Verify, "succeed", 3).await;
    let done = bench.wait(id, JobStatus::Completed).await;
    assert_eq!((done.attempt, done.error, done.finished_at.is_some()), (1, None, true));
    let log = bench.log(id).await;
    assert_eq!(log, [(LogLevel::Info, "half way\nforged".to_owned()), (LogLevel::Info, "completed".to_owned())]);
    assert!(bench.settled(id).is_empty(), "only what did not complete is settled");
    assert!(bench.scratch_is_empty());
    jobs.shutdown().await;

    let told = told(&mut events);
    let states: Vec<_> = told.iter().filter_map(|event| if let Event::Job { status, .. } = event { Some(*status) } else { None }).collect();
    assert_eq!(states, [JobStatus::Running, JobStatus::Completed]);
    assert_eq!(told.iter().filter(|event| matches!(event, Event::Log { .. })).count(), 2);
    let last = told.iter().rev().find_map(|event| if let Event::Progress { progress, .. } = event { Some(progress.bytes) } else { None });
    assert_eq!(last, Some(1_000));
}

#[tokio::test]
async fn a_failure_that_lasts_is_not_tried_again() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let id = bench.queue(JobKind::Backup, "fail", 3).await;
    let failed = bench.wait(id, JobStatus::Failed).await;
    assert_eq!((failed.attempt, failed.error.as_deref()), (1, Some("wrong password (check it)")));
    assert_eq!(bench.settled(id), [JobStatus::Failed]);
    jobs.shutdown().await;
    let log = bench.log(id).await;
    assert_eq!(log, [(LogLevel::Error, "attempt 1 of 3 failed: wrong password (check it)".to_owned())]);
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_until_the_attempts_are_used_up() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let passing = bench.queue(JobKind::Backup, "fail, then succeed", 3).await;
    let lasting = bench.queue(JobKind::Backup, "always time out", 2).await;
    assert_eq!(bench.wait(passing, JobStatus::Completed).await.attempt, 3);
    assert_eq!(bench.settled(passing), [JobStatus::Failed, JobStatus::Failed], "each attempt is settled");
    assert_eq!(bench.wait(lasting, JobStatus::Failed).await.attempt, 2);
    jobs.shutdown().await;
    assert!(bench.scratch_is_empty());
}

#[tokio::test]
async fn a_panic_fails_its_job_and_no_other() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    // More panics than there are workers.
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(bench.queue(JobKind::Verify, "panic", 3).await);
    }
    for id in ids {
        let failed = bench.wait(id, JobStatus::Failed).await;
        assert_eq!(failed.attempt, 1, "a fault of the product does not pass by itself");
        assert!(failed.error.unwrap().contains("the job hit a fault in dbsnap: a fault on purpose"));
    }
    let next = bench.queue(JobKind::Verify, "succeed", 1).await;
    bench.wait(next, JobStatus::Completed).await;
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_cancel_reaches_queued_and_running_work() {
    let bench = Bench::new().await;
    let actor = Actor::system();
    let queued = bench.queue(JobKind::Verify, "succeed", 1).await;
    services::jobs::cancel(bench.ctx(), &actor, queued).await.unwrap();
    assert_eq!(bench.job(queued).await.status, JobStatus::Cancelled, "at once, without a worker");

    let jobs = bench.start(quick()).await;
    let running = bench.queue(JobKind::Verify, "wait for cancel", 3).await;
    bench.wait_begun(running).await;
    services::jobs::cancel(bench.ctx(), &actor, running).await.unwrap();
    let cancelled = bench.wait(running, JobStatus::Cancelled).await;
    assert_eq!(cancelled.attempt, 1, "what a person cancelled is not tried again");
    assert_eq!(bench.settled(running), [JobStatus::Cancelled]);

    // As another process would ask: in the catalogue only.
    let remote = bench.queue(JobKind::Verify, "wait for cancel", 3).await;
    bench.wait_begun(remote).await;
    db::jobs::request_cancel(&bench.ctx().db, HOME, remote).await.unwrap();
    bench.wait(remote, JobStatus::Cancelled).await;

    // Work that does not listen is dropped.
    let deaf = bench.queue(JobKind::Verify, "ignore cancel", 3).await;
    bench.wait_begun(deaf).await;
    services::jobs::cancel(bench.ctx(), &actor, deaf).await.unwrap();
    bench.wait(deaf, JobStatus::Cancelled).await;
    assert!(bench.ctx().running.lock().unwrap().is_empty());
    jobs.shutdown().await;
    assert!(bench.scratch_is_empty());
}

#[tokio::test]
async fn work_without_a_sign_of_life_is_ended() {
    let bench = Bench::new().await;
    let jobs = bench.start(Timing { stall: Duration::from_millis(100), ..quick() }).await;
    let id = bench.queue(JobKind::Backup, "wait for cancel", 1).await;
    let failed = bench.wait(id, JobStatus::Failed).await;
    let error = failed.error.unwrap();
    assert!(error.contains("no progress for") && error.contains("STALL_TIMEOUT_SECONDS"), "{error}");
    jobs.shutdown().await;
}

#[tokio::test]
async fn no_more_backups_run_at_once_than_are_allowed_but_other_work_goes_on() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(bench.queue(JobKind::Backup, "wait for cancel", 1).await);
    }
    let verify = bench.queue(JobKind::Verify, "succeed", 1).await;
    bench.wait(verify, JobStatus::Completed).await;
    let actor = Actor::system();
    for id in waiting {
        services::jobs::cancel(bench.ctx(), &actor, id).await.unwrap();
        bench.wait(id, JobStatus::Cancelled).await;
    }
    jobs.shutdown().await;
    assert!(bench.work.most_at_once.load(Ordering::SeqCst) <= 3, "two backups and one other");
}

#[tokio::test]
async fn what_the_previous_process_left_running_is_settled_and_tried_again() {
    let bench = Bench::new().await;
    let again = bench.queue(JobKind::Backup, "succeed", 2).await;
    let last = bench.queue(JobKind::Backup, "succeed", 1).await;
    let unwanted = bench.queue(JobKind::Backup, "succeed", 2).await;
    let lease = Lease { token: "gone".into(), until: Moment(Moment::now().0 + 60_000) };
    for _ in 0..3 {
        db::jobs::claim(&bench.ctx().db, &lease, Moment::now(), ROOM).await.unwrap().unwrap();
    }
    db::jobs::request_cancel(&bench.ctx().db, HOME, unwanted).await.unwrap();

    let jobs = bench.start(quick()).await;
    assert_eq!(bench.job(last).await.status, JobStatus::Interrupted, "no attempt was left");
    assert_eq!(bench.job(unwanted).await.status, JobStatus::Cancelled);
    assert_eq!(bench.wait(again, JobStatus::Completed).await.attempt, 2);
    assert_eq!(bench.settled(again), [JobStatus::Interrupted]);
    let log = bench.log(again).await;
    assert_eq!(log[0], (LogLevel::Warn, "attempt 1 of 2 was interrupted: dbsnap ended while the job ran".to_owned()));
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_worker_vanished_is_found_by_its_lease() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    // A worker of another process takes it and dies.
    let lost = bench.queue(JobKind::Verify, "ignore cancel", 1).await;
    bench.wait_begun(lost).await;
    let stolen = Lease { token: "another".into(), until: Moment(Moment::now().0 + 200) };
    db::jobs::take_over(&bench.ctx().db, &stolen, None, Vec::new()).await.unwrap();
    let ended = bench.wait(lost, JobStatus::Interrupted).await;
    assert_eq!(ended.error.as_deref(), Some("the job's worker vanished"));
    assert_eq!(bench.settled(lost), [JobStatus::Interrupted], "the worker that lost its lease settles nothing");
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_interrupts_work_after_the_grace_and_the_next_start_goes_on() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let id = bench.queue(JobKind::Backup, "wait for cancel", 2).await;
    bench.wait_begun(id).await;
    jobs.shutdown().await;
    let job = bench.job(id).await;
    assert_eq!((job.status, job.error.as_deref()), (JobStatus::Queued, Some("dbsnap was stopped while the job ran")));
    assert_eq!(bench.settled(id), [JobStatus::Interrupted]);
    let unclaimed = bench.queue(JobKind::Verify, "succeed", 1).await;
    assert_eq!(bench.job(unclaimed).await.status, JobStatus::Queued, "nobody claims after a shutdown");

    assert_eq!(job.attempt, 0, "a shutdown uses up no attempt");
    let jobs = bench.start(quick()).await;
    bench.wait(unclaimed, JobStatus::Completed).await;
    assert_eq!(bench.wait(id, JobStatus::Running).await.attempt, 1);
    jobs.shutdown().await;
    assert_eq!(bench.job(id).await.status, JobStatus::Queued);
    assert_eq!(bench.log(id).await.last().unwrap().1, "attempt 1 of 2 was ended by a shutdown, and does not count");
}

#[tokio::test]
async fn the_limits_of_the_job_itself_go_before_the_configured_ones() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let with = |script: &str, limits: JobLimits| Job { limits, ..new_job(JobKind::Backup, script, 1) };
    let slow = bench.queue_job(with("wait for cancel", JobLimits { timeout_seconds: Some(1), ..JobLimits::default() })).await;
    let quiet = bench.queue_job(with("wait for cancel", JobLimits { stall_timeout_seconds: Some(1), ..JobLimits::default() })).await;
    let [slow, quiet] =
        [bench.wait(slow, JobStatus::Failed).await, bench.wait(quiet, JobStatus::Failed).await].map(|job| job.error.unwrap());
    assert!(slow.contains("longer than its time limit of 1 second") && slow.contains("raise the schedule's timeout"), "{slow}");
    assert!(quiet.contains("no progress for 1 second") && quiet.contains("the schedule's stall timeout"), "{quiet}");

    let limits = JobLimits { retry_base_seconds: Some(600), ..JobLimits::default() };
    let patient = bench.queue_job(Job { limits, ..new_job(JobKind::Backup, "always time out", 2) }).await;
    let begun = Instant::now();
    let waits = loop {
        let job = bench.job(patient).await;
        if job.attempt == 1 && job.status == JobStatus::Queued {
            break job;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{job:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(waits.run_after.since(Moment::now()) > 590_000, "its own wait: {waits:?}");
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_stopped_restore_waits_for_a_person() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let id = bench.queue(JobKind::Restore, "wait for cancel", 1).await;
    bench.wait_begun(id).await;
    jobs.shutdown().await;
    let job = bench.job(id).await;
    assert_eq!((job.status, job.dead), (JobStatus::Interrupted, true));
}

#[tokio::test]
async fn settling_is_tried_again_and_never_keeps_a_job_open() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    bench.work.settle_failures.store(2, Ordering::SeqCst);
    let second_try = bench.queue(JobKind::Backup, "fail", 1).await;
    bench.wait(second_try, JobStatus::Failed).await;
    assert_eq!(bench.settled(second_try), [JobStatus::Failed]);
    bench.work.settle_failures.store(3, Ordering::SeqCst);
    let never = bench.queue(JobKind::Backup, "fail", 1).await;
    bench.wait(never, JobStatus::Failed).await;
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_tool_that_prints_without_end_cannot_fill_the_catalogue() {
    let bench = Bench::new().await;
    let jobs = bench.start(quick()).await;
    let id = bench.queue(JobKind::Backup, "chatter", 1).await;
    bench.wait(id, JobStatus::Completed).await;
    jobs.shutdown().await;
    let log = bench.log(id).await;
    assert!(log.len() <= 20_002, "{} lines", log.len());
    assert_eq!(log[0].1, "line 0");
    let [.., (_, note), (_, last)] = log.as_slice() else { panic!("too few lines") };
    assert!(note.contains("log lines were left out"), "{note}");
    assert_eq!(last, "completed");
}
