//! Nobody can write the catalogue for longer than a lease: it is compacted, or another program holds it.

use std::time::Duration;

use dbsnap::{
    db,
    domain::job::{JobKind, JobStatus, LogLevel},
    jobs::Timing,
};

use super::{Bench, HOME, quick};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_outlive_a_catalogue_that_is_locked_for_longer_than_their_lease() {
    let bench = Bench::new().await;
    let timing = Timing { lease: Duration::from_millis(1500), heartbeat: Duration::from_millis(100), ..quick() };
    let jobs = bench.start(timing).await;
    let mut running = Vec::new();
    for _ in 0..2 {
        let id = bench.queue(JobKind::Diff, "wait for cancel", 1).await;
        bench.wait_begun(id).await;
        running.push(id);
    }
    // One after the other: who comes first after a lock is a matter of chance.
    for _ in 0..2 {
        let catalogue = rusqlite::Connection::open(bench.ctx().db.path()).unwrap();
        catalogue.execute_batch("BEGIN EXCLUSIVE").unwrap();
        // The lock itself is what is tested: it lasts more than two leases.
        tokio::time::sleep(Duration::from_millis(4000)).await;
        catalogue.execute_batch("COMMIT").unwrap();
        drop(catalogue);
        // A job that comes now is claimed with a lease that was long waited for.
        let late = bench.queue(JobKind::Diff, "succeed", 1).await;
        bench.wait(late, JobStatus::Completed).await;
    }
    for id in running {
        let job = bench.job(id).await;
        assert_eq!((job.status, job.attempt, job.error), (JobStatus::Running, 1, None));
        db::jobs::request_cancel(&bench.ctx().db, HOME, id).await.unwrap();
        bench.wait(id, JobStatus::Cancelled).await;
        assert_eq!(bench.settled(id), [JobStatus::Cancelled], "nobody else has ended it");
        let log = bench.log(id).await;
        assert!(log.iter().all(|(level, line)| *level != LogLevel::Error && !line.contains("interrupted")), "{log:?}");
    }
    jobs.shutdown().await;
}
