//! Many dead letters at once, and letters about what is gone.

use dbsnap::{
    db,
    domain::{
        ids::{JobId, OrganizationId},
        job::{Job, JobKind, JobStatus},
        permissions::{Actor, Role},
        time::Moment,
    },
    error::Kind,
    services::{
        databases::{self, DatabaseInput},
        jobs::{
            self,
            dead::{self, Which},
        },
        schedules::Removal,
    },
};
use serde_json::json;

use super::{Bench, HOME, new_job};

/// A job that has failed for good.
async fn letter(bench: &Bench, job: Job) -> JobId {
    let (db, id) = (&bench.ctx().db, bench.queue_job(job).await);
    let lease = db::jobs::Lease { token: format!("worker of {id}"), until: Moment::now().plus(60_000) };
    let claimed = db::jobs::claim(db, &lease, Moment::now().plus(1000), db::jobs::Room { backups: 9, upkeep: 9 }).await.unwrap().unwrap().1;
    assert_eq!(claimed.id, id);
    db::jobs::finish(db, id, &lease.token, JobStatus::Failed, Some("broken"), Moment::now()).await.unwrap().unwrap();
    id
}

async fn database(bench: &Bench, name: &str) -> dbsnap::domain::ids::DatabaseId {
    let input: DatabaseInput =
        serde_json::from_value(json!({"name": name, "engine": "sqlite", "settings": {"path": format!("/nowhere/{name}.db")}})).unwrap();
    databases::create(bench.ctx(), &Actor::system(), input).await.unwrap().id
}

fn all() -> Which {
    Which { all: true, ..Which::default() }
}

#[tokio::test]
async fn a_thousand_letters_are_retried_and_dropped_by_kind_and_database() {
    let bench = Bench::new().await;
    let actor = Actor::system();
    let (one, two) = (database(&bench, "one").await, database(&bench, "two").await);
    // Made as they are found later: failed, dead, with attempts used up.
    for number in 0..1000 {
        let kind = if number % 4 == 0 { JobKind::Verify } else { JobKind::Backup };
        let job = Job { database_id: Some(if number % 2 == 0 { one } else { two }), ..new_job(kind, "fail", 1) };
        db::jobs::enqueue(&bench.ctx().db, HOME, &job).await.unwrap();
    }
    let catalogue = rusqlite::Connection::open(bench.ctx().db.path()).unwrap();
    catalogue.execute("UPDATE jobs SET status = 'failed', dead = TRUE, finished_at = created_at, attempt = 1", []).unwrap();
    assert_eq!(dead::count(bench.ctx(), &actor).await.unwrap(), 1000);

    let some = Which { kind: Some(JobKind::Verify), database_id: Some(one), ..all() };
    assert_eq!(dead::drop_each(bench.ctx(), &actor, some.clone()).await.unwrap().done.len(), 250);
    assert!(dead::drop_each(bench.ctx(), &actor, some).await.unwrap().done.is_empty(), "they were dropped");
    let of_two = Which { database_id: Some(two), ..all() };
    let outcome = dead::retry_each(bench.ctx(), &actor, of_two).await.unwrap();
    assert_eq!((outcome.done.len(), outcome.refused.len()), (500, 0));
    let twice = dead::retry_each(bench.ctx(), &actor, Which { ids: outcome.done.clone(), ..Which::default() }).await.unwrap();
    assert_eq!((twice.done.len(), twice.refused.len()), (0, 500), "a form that is sent twice queues nothing twice");
    assert_eq!(dead::retry_each(bench.ctx(), &actor, all()).await.unwrap().done.len(), 250);
    assert_eq!(dead::count(bench.ctx(), &actor).await.unwrap(), 0);
    let queued: i64 = catalogue.query_row("SELECT COUNT(*) FROM jobs WHERE status = 'queued'", [], |row| row.get(0)).unwrap();
    assert_eq!(queued, 750);
    let alone = Which { kind: Some(JobKind::Backup), ..Which::default() };
    assert_eq!(dead::drop_each(bench.ctx(), &actor, alone).await.unwrap_err().kind, Kind::Validation, "a kind alone is no choice");
}

#[tokio::test]
async fn a_letter_about_what_is_gone_says_so_and_stays() {
    let bench = Bench::new().await;
    let actor = Actor::system();
    let gone = database(&bench, "gone").await;
    let of_database = letter(&bench, Job { database_id: Some(gone), ..new_job(JobKind::Backup, "fail", 1) }).await;
    databases::delete(bench.ctx(), &actor, gone, Removal::default()).await.unwrap();
    let backup = dbsnap::domain::ids::BackupId::new();
    let of_backup = letter(&bench, Job { backup_id: Some(backup), ..new_job(JobKind::Verify, "fail", 1) }).await;
    let fine = letter(&bench, new_job(JobKind::Maintenance, "fail", 1)).await;
    for (id, words) in [(of_database, "its database was removed"), (of_backup, "its backup was deleted")] {
        let error = jobs::retry(bench.ctx(), &actor, id).await.unwrap_err();
        assert!(error.kind == Kind::Conflict && error.to_string().contains(words) && error.hint.is_some(), "{error}");
    }
    let outcome = dead::retry_each(bench.ctx(), &actor, all()).await.unwrap();
    assert_eq!(outcome.done, [fine], "the others do not suffer");
    assert_eq!(outcome.refused.len(), 2);
    assert!(bench.job(of_database).await.dead && bench.job(of_backup).await.dead, "they stay on the list");
    assert_eq!(dead::drop_each(bench.ctx(), &actor, all()).await.unwrap().done.len(), 2, "and can be dropped");
}

#[tokio::test]
async fn a_retry_takes_the_permission_of_the_work_and_reaches_no_other_organization() {
    let bench = Bench::new().await;
    let operator = Actor { role: Role::Operator, ..Actor::system() };
    let retention = letter(&bench, new_job(JobKind::Retention, "fail", 1)).await;
    let maintenance = letter(&bench, new_job(JobKind::Maintenance, "fail", 1)).await;
    let deep = Job { payload: json!({"deep": true}), ..new_job(JobKind::Verify, "fail", 1) };
    let deep = letter(&bench, deep).await;
    for id in [retention, maintenance] {
        assert_eq!(jobs::retry(bench.ctx(), &operator, id).await.unwrap_err().kind, Kind::Forbidden);
    }
    let outcome = dead::retry_each(bench.ctx(), &operator, all()).await.unwrap();
    assert_eq!(outcome.done, [deep], "an operator may restore");
    assert_eq!(outcome.refused.iter().map(|refused| refused.id).collect::<Vec<_>>(), [retention, maintenance]);

    let stranger = Actor { organization_id: OrganizationId::new(), ..Actor::system() };
    assert_eq!(dead::count(bench.ctx(), &stranger).await.unwrap(), 0);
    assert!(dead::drop_each(bench.ctx(), &stranger, all()).await.unwrap().done.is_empty());
    let named = dead::retry_each(bench.ctx(), &stranger, Which { ids: vec![retention], ..Which::default() }).await.unwrap();
    assert!(named.done.is_empty() && named.refused[0].reason.contains("does not exist"), "{named:?}");
    assert!(bench.job(retention).await.dead);
}
