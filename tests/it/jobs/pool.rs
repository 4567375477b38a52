//! The pool of workers: as many as the queue asks for.

use std::time::{Duration, Instant};

use dbsnap::{
    domain::{
        job::{Job, JobKind, JobStatus},
        permissions::Actor,
        time::Moment,
    },
    jobs::Timing,
    services::{
        jobs::{self, state},
        workers::WorkerState,
    },
};

use super::{Bench, new_job, quick};

async fn workers(bench: &Bench, what: &str, expect: usize) {
    let begun = Instant::now();
    while bench.ctx().workers.count() != expect {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", bench.ctx().workers.list());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_pool_grows_while_jobs_wait_and_shrinks_when_they_are_done() {
    let bench = Bench::new().await;
    // Nothing but a queued job wakes anybody.
    let workers_of = bench.start(Timing { poll: Duration::from_secs(3600), ..quick() }).await;
    workers(&bench, "the fewest at the start", 1).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.queue(JobKind::Diff, "wait for cancel", 1).await);
    }
    for id in &ids[..3] {
        bench.wait_begun(*id).await;
    }
    workers(&bench, "the most", 3).await;
    let state = state::queue(bench.ctx(), &Actor::system()).await.unwrap();
    assert_eq!((state.due, state.running, state.min, state.max), (2, 3, 1, 3));
    assert_eq!(state.depth.iter().map(|depth| (depth.kind, depth.due, depth.running)).collect::<Vec<_>>(), [(JobKind::Diff, 2, 3)]);
    assert!(state.workers.iter().all(|worker| worker.state == WorkerState::Running), "{:?}", state.workers);
    let mut at_work: Vec<_> = state.workers.iter().filter_map(|worker| worker.job_id).collect();
    at_work.sort();
    assert_eq!(at_work, ids[..3], "each says what it runs");
    for id in &ids {
        jobs::cancel(bench.ctx(), &Actor::system(), *id).await.unwrap();
        bench.wait(*id, JobStatus::Cancelled).await;
    }
    workers_of.shutdown().await;
    assert_eq!(bench.ctx().workers.count(), 0, "a shutdown ends them all");

    let workers_of = bench.start(quick()).await;
    let held: Vec<_> =
        [bench.queue(JobKind::Diff, "wait for cancel", 1).await, bench.queue(JobKind::Diff, "wait for cancel", 1).await].into();
    for id in &held {
        bench.wait_begun(*id).await;
    }
    for id in held {
        jobs::cancel(bench.ctx(), &Actor::system(), id).await.unwrap();
    }
    workers(&bench, "the fewest after some time without work", 1).await;
    workers_of.shutdown().await;
}

#[tokio::test]
async fn jobs_that_could_not_start_ask_for_no_worker() {
    let bench = Bench::new().await;
    let workers_of = bench.start(quick()).await;
    let same = |script| Job { exclusive_key: Some("one database".into()), ..new_job(JobKind::Verify, script, 1) };
    let running = bench.queue_job(same("wait for cancel")).await;
    bench.wait_begun(running).await;
    let blocked = bench.queue_job(same("succeed")).await;
    bench.queue_job(Job { run_after: Moment::now().plus(3_600_000), ..new_job(JobKind::Verify, "succeed", 1) }).await;
    // The pool looks at the queue every 50 ms here.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(bench.ctx().workers.count(), 1);
    let state = state::queue(bench.ctx(), &Actor::system()).await.unwrap();
    assert_eq!((state.due, state.waiting, state.running), (1, 1, 1));
    jobs::cancel(bench.ctx(), &Actor::system(), running).await.unwrap();
    bench.wait(blocked, JobStatus::Completed).await;
    workers_of.shutdown().await;
}
