//! The queue with a long history behind it and a long line before it: every look at it that workers, pages and figures take
//! again and again stays short.

use std::time::{Duration, Instant};

use dbsnap::{
    db::{self, jobs::Lease},
    domain::{filter::JobFilter, job::JobStatus, page::PageRequest, time::Moment},
};
use rusqlite::Connection;

use super::{Bench, HOME, ROOM};

/// Best of a few on a debug build. Reading or sorting the whole table takes several times as long.
const BOUND: Duration = Duration::from_millis(40);

/// 100,000 jobs that are over, 1 of 400 of them a dead letter, and 5,000 that are due.
const HISTORY: &str = "
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 104999)
    INSERT INTO jobs (id, organization_id, kind, status, database_id, exclusive_key, payload, attempt, max_attempts, run_after,
        cancel_requested, created_at, finished_at, dead)
    SELECT printf('%08x-0000-7000-8000-000000000000', i), '00000000-0000-0000-0000-000000000001', 'backup',
        CASE WHEN i >= 100000 THEN 'queued' WHEN i % 20 = 0 THEN 'failed' ELSE 'completed' END,
        printf('%08x-0000-7000-8000-000000000001', i % 100), printf('database:%d', i), '{}', 1, 3, i, FALSE, i, i,
        i < 100000 AND i % 400 = 0
    FROM n";

#[tokio::test]
async fn behind_a_hundred_thousand_jobs_no_look_at_the_queue_takes_long() {
    let bench = Bench::new().await;
    let db = &bench.ctx().db;
    Connection::open(&bench.ctx().config.database_path).unwrap().execute_batch(HISTORY).unwrap();
    let database_id = Some("00000014-0000-7000-8000-000000000001".parse().unwrap());
    let filters = [
        ("the dead letters", JobFilter { dead: Some(true), ..JobFilter::default() }),
        ("those of a database", JobFilter { database_id, ..JobFilter::default() }),
        ("the failed ones", JobFilter { status: Some(JobStatus::Failed), ..JobFilter::default() }),
        ("the failed ones of a database", JobFilter { database_id, status: Some(JobStatus::Failed), ..JobFilter::default() }),
    ];
    let mut best: std::collections::BTreeMap<&str, Duration> = Default::default();
    for round in 0..5 {
        let mut begun = Instant::now();
        let mut looked = |what| {
            let took = begun.elapsed();
            best.entry(what).and_modify(|least| *least = took.min(*least)).or_insert(took);
            begun = Instant::now();
        };
        let lease = Lease { token: format!("worker {round}"), until: Moment::now().plus(60_000) };
        let (_, claimed) = db::jobs::claim(db, &lease, Moment::now(), ROOM).await.unwrap().unwrap();
        looked("a claim");
        assert!(db::jobs::any_may_start(db, Moment::now(), ROOM).await.unwrap());
        looked("whether one may start");
        assert!(db::jobs::heartbeat(db, claimed.id, &lease, None).await.unwrap().held);
        looked("a heartbeat");
        let none = db::jobs::take_over(db, &lease, Some(Moment(0)), vec!["of one that lives".into()]).await.unwrap();
        assert_eq!(none.len(), 0);
        looked("the sweep");
        assert_eq!(db::jobs::to_follow_up(db, 200).await.unwrap().len(), 0);
        looked("what is to be followed up");
        assert_eq!(db::jobs::depth(db, HOME, Moment::now()).await.unwrap()[0].due, 4_999 - round);
        looked("the depth");
        assert_eq!(db::jobs::dead_letters(db, HOME, None, None, 1_000).await.unwrap().len(), 250);
        looked("all dead letters");
        for (what, filter) in &filters {
            assert!(db::jobs::list(db, HOME, filter, PageRequest::default()).await.unwrap().total > 0);
            looked(*what);
        }
    }
    println!("{best:#?}");
    let slow: Vec<_> = best.into_iter().filter(|(_, took)| *took > BOUND).collect();
    assert!(slow.is_empty(), "{slow:?}");
}
