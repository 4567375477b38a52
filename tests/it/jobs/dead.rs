//! Dead letters and priorities: what is out of attempts waits for a person, who retries or drops it.

use dbsnap::{
    db,
    domain::{
        filter::JobFilter,
        ids::JobId,
        job::{Job, JobKind, JobStatus},
        page::PageRequest,
        permissions::{Actor, Role},
    },
    error::Kind,
    services::jobs::{
        self,
        dead::{self, Which},
    },
};

use super::{Bench, HOME, ROOM, new_job, quick};

async fn dead_letters(bench: &Bench) -> Vec<JobId> {
    let filter = JobFilter { dead: Some(true), ..JobFilter::default() };
    let page = jobs::list(bench.ctx(), &Actor::system(), &filter, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|job| job.id).collect()
}

fn these(ids: &[JobId]) -> Which {
    Which { ids: ids.to_vec(), ..Which::default() }
}

#[tokio::test]
async fn what_is_out_of_attempts_is_a_dead_letter_until_it_is_retried_or_dropped() {
    let bench = Bench::new().await;
    let actor = Actor::system();
    let workers = bench.start(quick()).await;
    let job = Job { priority: 7, ..new_job(JobKind::Backup, "fail", 3) };
    let retried = bench.queue_job(job).await;
    let dropped = bench.queue(JobKind::Backup, "fail", 1).await;
    let good = bench.queue(JobKind::Backup, "succeed", 1).await;
    for (id, status) in [(retried, JobStatus::Failed), (dropped, JobStatus::Failed), (good, JobStatus::Completed)] {
        bench.wait(id, status).await;
    }
    workers.shutdown().await;
    let mut listed = dead_letters(&bench).await;
    listed.sort();
    let mut expected = vec![retried, dropped];
    expected.sort();
    assert_eq!(listed, expected, "and not what went well");

    let outcome = dead::retry_each(bench.ctx(), &actor, these(&[retried])).await.unwrap();
    assert_eq!((outcome.done, outcome.refused.len()), (vec![retried], 0));
    assert_eq!(dead_letters(&bench).await, [dropped]);
    let filter = JobFilter { status: Some(JobStatus::Queued), ..JobFilter::default() };
    let again = jobs::list(bench.ctx(), &actor, &filter, PageRequest::default()).await.unwrap().items.remove(0);
    assert_eq!((again.attempt, again.max_attempts, again.priority), (0, 3, 7), "as the first one was asked for");

    let outcome = dead::drop_each(bench.ctx(), &actor, these(&[dropped, retried, good])).await.unwrap();
    assert_eq!(outcome.done, [dropped]);
    assert_eq!(outcome.refused.iter().map(|refused| refused.id).collect::<Vec<_>>(), [retried, good], "they are no dead letters");
    assert_eq!(dead_letters(&bench).await, []);
    assert_eq!(bench.job(dropped).await.status, JobStatus::Failed, "it stays in the history");
    assert!(!bench.log(dropped).await.is_empty(), "with its log");
}

#[tokio::test]
async fn all_dead_letters_of_a_kind_are_retried_at_once_and_a_restore_is_left_to_a_person() {
    let bench = Bench::new().await;
    let actor = Actor::system();
    let workers = bench.start(quick()).await;
    let backups = [bench.queue(JobKind::Backup, "fail", 1).await, bench.queue(JobKind::Backup, "fail", 1).await];
    let restore = bench.queue(JobKind::Restore, "fail", 1).await;
    for id in [backups[0], backups[1], restore] {
        bench.wait(id, JobStatus::Failed).await;
    }
    workers.shutdown().await;
    let all = |kind| Which { all: true, kind, ..Which::default() };
    let outcome = dead::retry_each(bench.ctx(), &actor, all(Some(JobKind::Backup))).await.unwrap();
    assert_eq!(outcome.done.len(), 2);
    let outcome = dead::retry_each(bench.ctx(), &actor, all(None)).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.refused[0].id), (0, restore));
    assert!(outcome.refused[0].reason.contains("start a new restore"), "{}", outcome.refused[0].reason);
    assert_eq!(dead::drop_each(bench.ctx(), &actor, all(None)).await.unwrap().done, [restore]);

    for unclear in [Which::default(), Which { all: true, ids: vec![restore], ..Which::default() }] {
        assert_eq!(dead::drop_each(bench.ctx(), &actor, unclear).await.unwrap_err().kind, Kind::Validation);
    }
    let viewer = Actor { role: Role::Viewer, ..Actor::system() };
    assert_eq!(dead::retry_each(bench.ctx(), &viewer, all(None)).await.unwrap_err().kind, Kind::Forbidden);
    assert_eq!(dead::drop_each(bench.ctx(), &viewer, all(None)).await.unwrap_err().kind, Kind::Forbidden);
}

#[tokio::test]
async fn a_waiting_job_can_be_put_before_those_that_have_waited_longer() {
    let bench = Bench::new().await;
    let actor = Actor::system();
    let first = bench.queue(JobKind::Verify, "succeed", 1).await;
    let last = bench.queue(JobKind::Verify, "succeed", 1).await;
    jobs::set_priority(bench.ctx(), &actor, last, 10).await.unwrap();
    for wrong in [-101, 101] {
        assert_eq!(jobs::set_priority(bench.ctx(), &actor, last, wrong).await.unwrap_err().kind, Kind::Validation);
    }
    let lease = db::jobs::Lease { token: "one".into(), until: dbsnap::domain::time::Moment(i64::MAX) };
    let claimed = db::jobs::claim(&bench.ctx().db, &lease, dbsnap::domain::time::Moment::now(), ROOM).await.unwrap().unwrap().1;
    assert_eq!(claimed.id, last);
    let late = jobs::set_priority(bench.ctx(), &actor, last, 0).await.unwrap_err();
    assert_eq!((late.kind, db::jobs::get(&bench.ctx().db, HOME, first).await.unwrap().priority), (Kind::Conflict, 0));
}
