//! What goes on by itself: leases that are late but not lost, work that was complete before its process ended, faults in the
//! loops that should go on, and a cancel that comes late.

use std::time::{Duration, Instant};

use dbsnap::{
    db::{self, jobs::Lease},
    domain::{
        ids::JobId,
        job::{Job, JobKind, JobLimits, JobStatus},
        permissions::Actor,
        time::Moment,
    },
    error::Kind,
    jobs::Timing,
    services::jobs,
};
use rusqlite::Connection;
use serde_json::json;

use super::{Bench, HOME, ROOM, new_job, quick};

/// Starts a job as a worker of another process that vanishes at once.
async fn vanished(bench: &Bench, job: Job) -> JobId {
    // The bench's own workers leave it alone: its time has not come for them.
    let later = Moment::now().plus(3_600_000);
    let id = bench.queue_job(Job { priority: 100, run_after: later, ..job }).await;
    let lease = Lease { token: "of a worker that is gone".into(), until: Moment(0) };
    let claimed = db::jobs::claim(&bench.ctx().db, &lease, later, ROOM).await.unwrap().unwrap();
    assert_eq!(claimed.1.id, id);
    id
}

#[tokio::test]
async fn a_job_whose_worker_lives_is_not_taken_away_however_late_its_heartbeats_are() {
    let bench = Bench::new().await;
    // As after a sleep of the machine or a step of its clock: every lease has ended before its first renewal.
    let late = Timing { lease: Duration::ZERO, heartbeat: Duration::from_secs(3600), ..quick() };
    let workers = bench.start(late).await;
    let restore = bench.queue(JobKind::Restore, "wait for cancel", 1).await;
    bench.wait_begun(restore).await;
    let gone = vanished(&bench, new_job(JobKind::Verify, "succeed", 1)).await;
    bench.wait(gone, JobStatus::Interrupted).await;
    assert_eq!(bench.job(restore).await.status, JobStatus::Running, "the same look did not take it");
    jobs::cancel(bench.ctx(), &Actor::system(), restore).await.unwrap();
    bench.wait(restore, JobStatus::Cancelled).await;
    workers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_lease_is_kept_while_work_that_was_dropped_does_not_end() {
    let bench = Bench::new().await;
    let lease = Duration::from_secs(2);
    let timing = Timing { lease, stall: Duration::from_millis(100), patience: Duration::from_secs(4), ..quick() };
    let workers = bench.start(Timing { patience: Duration::from_millis(3500), ..timing }).await;
    let id = bench.queue(JobKind::Restore, "block", 1).await;
    bench.wait_begun(id).await;
    let catalogue = Connection::open(&bench.ctx().config.database_path).unwrap();
    let begun = Instant::now();
    while bench.job(id).await.status == JobStatus::Running {
        let ended = "SELECT COUNT(*) FROM jobs WHERE status = 'running' AND lease_until < ?1";
        let ended: u32 = catalogue.query_row(ended, [Moment::now().0], |row| row.get(0)).unwrap();
        assert_eq!(ended, 0, "after {:?} another process would take it for abandoned", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > lease * 2, "it was waited for");
    assert_eq!(bench.job(id).await.status, JobStatus::Failed);
    workers.shutdown().await;
}

#[tokio::test]
async fn work_that_was_complete_when_its_process_ended_completes_its_job() {
    let bench = Bench::new().await;
    let complete = |kind| Job { payload: json!({"do": "fail", "rows": "completed"}), ..new_job(kind, "", 1) };
    let restore = vanished(&bench, complete(JobKind::Restore)).await;
    let workers = bench.start(quick()).await;
    let at_start = bench.job(restore).await;
    assert_eq!((at_start.status, at_start.error, at_start.dead), (JobStatus::Completed, None, false));
    let backup = vanished(&bench, complete(JobKind::Backup)).await;
    bench.wait(backup, JobStatus::Completed).await;
    // Its time was up, or a cancel came, after the rows were written.
    let failing = bench.queue_job(complete(JobKind::Backup)).await;
    bench.wait(failing, JobStatus::Completed).await;
    workers.shutdown().await;
    assert_eq!([restore, backup, failing].map(|id| bench.settled(id)), [const { Vec::new() }; 3], "nothing says otherwise");
    let ended = bench.work.ended.lock().unwrap().clone();
    assert_eq!(ended, [restore, backup, failing], "what follows from a success follows");
    assert!(bench.log(restore).await.iter().any(|(_, line)| line.contains("so is the job")));
}

#[tokio::test]
async fn a_fault_in_what_follows_from_one_job_ends_neither_the_start_nor_the_loops() {
    let bench = Bench::new().await;
    let poison = Job { payload: json!({"do": "succeed", "then": "panic"}), ..new_job(JobKind::Verify, "", 1) };
    let at_start = vanished(&bench, poison.clone()).await;
    let workers = bench.start(quick()).await;
    assert_eq!(bench.job(at_start).await.status, JobStatus::Interrupted);
    let running = bench.queue_job(Job { id: JobId::new(), ..poison }).await;
    bench.wait(running, JobStatus::Completed).await;
    for _ in 0..2 {
        // The loop has met both of them before it gets here, and goes on.
        let gone = vanished(&bench, new_job(JobKind::Verify, "succeed", 1)).await;
        bench.wait(gone, JobStatus::Interrupted).await;
        let begun = Instant::now();
        while !bench.work.ended.lock().unwrap().contains(&gone) {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing follows from the job's end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let loops = bench.ctx().loops.list();
    assert_eq!(loops.iter().map(|one| one.name).collect::<Vec<_>>(), ["deliver", "sweep", "upkeep", "watch", "workers"]);
    assert!(loops.iter().all(|one| one.silence < one.allowed), "{loops:?}");
    workers.shutdown().await;
    assert_eq!(bench.ctx().loops.list(), [], "those that were asked to end are not missed");
}

#[tokio::test]
async fn upkeep_leaves_a_worker_for_what_somebody_waits_for() {
    let bench = Bench::new().await;
    let workers = bench.start(quick()).await;
    let mut upkeep = Vec::new();
    for kind in [JobKind::Copy, JobKind::Verify, JobKind::Retention, JobKind::Copy] {
        upkeep.push(bench.queue(kind, "wait for cancel", 1).await);
    }
    for id in &upkeep[..2] {
        bench.wait_begun(*id).await;
    }
    // There are three workers at most, and four slow jobs were there first.
    let backup = bench.queue(JobKind::Backup, "succeed", 1).await;
    bench.wait(backup, JobStatus::Completed).await;
    let restore = bench.queue(JobKind::Restore, "succeed", 1).await;
    bench.wait(restore, JobStatus::Completed).await;
    for id in upkeep {
        jobs::cancel(bench.ctx(), &Actor::system(), id).await.unwrap();
        bench.wait(id, JobStatus::Cancelled).await;
    }
    workers.shutdown().await;
}

#[tokio::test]
async fn a_cancel_that_comes_while_an_attempt_is_settled_does_not_wait_for_the_next_one() {
    let bench = Bench::new().await;
    *bench.work.late_cancel.lock().unwrap() = Some(bench.ctx().db.clone());
    let workers = bench.start(quick()).await;
    let limits = JobLimits { retry_base_seconds: Some(3600), ..JobLimits::default() };
    let id = bench.queue_job(Job { limits, ..new_job(JobKind::Backup, "always time out", 3) }).await;
    let cancelled = bench.wait(id, JobStatus::Cancelled).await;
    assert!(cancelled.finished_at.is_some());
    workers.shutdown().await;
    assert_eq!(*bench.work.ended.lock().unwrap(), [id], "what follows from its end follows");
}

#[tokio::test]
async fn of_two_retries_of_a_job_at_once_one_is_queued_and_the_other_told() {
    let bench = Bench::new().await;
    let workers = bench.start(quick()).await;
    let id = bench.queue(JobKind::Verify, "fail", 1).await;
    bench.wait(id, JobStatus::Failed).await;
    workers.shutdown().await;
    let actor = Actor::system();
    let (first, second) = tokio::join!(jobs::retry(bench.ctx(), &actor, id), jobs::retry(bench.ctx(), &actor, id));
    let (queued, refused) = if first.is_ok() { (first, second) } else { (second, first) };
    let (queued, refused) = (queued.unwrap(), refused.unwrap_err());
    assert_eq!(refused.kind, Kind::Conflict, "{refused}");
    assert!(refused.to_string().contains("not over"), "{refused}");
    assert!(!bench.job(id).await.dead);
    // Once that one is over too it may be asked for again.
    jobs::cancel(bench.ctx(), &actor, queued.id).await.unwrap();
    jobs::retry(bench.ctx(), &actor, id).await.unwrap();
    let all = jobs::list(bench.ctx(), &actor, &Default::default(), Default::default()).await.unwrap();
    assert_eq!(all.total, 3);
    assert_eq!(db::jobs::get(&bench.ctx().db, HOME, queued.id).await.unwrap().status, JobStatus::Cancelled);
}
