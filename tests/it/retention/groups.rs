//! What is judged together, and by which policy.

use std::collections::BTreeSet;

use dbsnap::{
    db,
    domain::{
        ids::StoreId,
        job::JobStatus,
        permissions::Actor,
        restore::{Restore, RestoreStatus},
    },
    error::Kind,
    services::{self, retention::PolicyInput},
};
use serde_json::json;

use super::bench::{Bench, HOME, daily, restore_of};

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
async fn what_lies_in_a_store_that_a_schedule_no_longer_writes_to_is_kept() {
    let bench = Bench::new().await;
    let archive = bench.further_store("archive").await;
    let (short, long) = (bench.named_policy("short", daily(1)).await, bench.named_policy("long", daily(9)).await);
    let destinations = json!([{ "storeId": StoreId::LOCAL }, { "storeId": archive, "retentionPolicyId": long }]);
    let schedule = bench.schedule(&destinations, Some(short.to_string()));
    let mut made = BTreeSet::new();
    for day in 0..3 {
        let id = bench.back_up(day).await;
        bench.made_by(schedule, id).await;
        made.insert(id);
    }
    assert_eq!(bench.ids().await, made, "the archive has all of them");
    // The archive is taken from the schedule: its short policy is none for what lies there.
    let details = json!({ "destinations": [{ "storeId": StoreId::LOCAL }] }).to_string();
    bench.catalogue(&format!("UPDATE schedules SET details = '{details}'"));
    let there = bench.preview().await.into_iter().find(|plan| plan.group.store_id == archive).unwrap();
    assert_eq!((there.policy_id, there.deleted, there.kept), (None, 0, 3));
    bench.run().await;
    assert_eq!(bench.ids().await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_a_restore_is_the_way_back_for_a_week_and_pushes_nothing_out() {
    let bench = Bench::new().await;
    let (wanted, first, second) = (bench.back_up(0).await, bench.back_up(0).await, bench.back_up(1).await);
    bench.catalogue(&format!("UPDATE backups SET type = 'safety' WHERE id IN ('{first}', '{second}')"));
    bench.policy(daily(1)).await;
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([wanted, first, second]), "the newest one is not what somebody was about to overwrite");
    let planned = bench.preview().await;
    let safety = planned.iter().find(|plan| plan.group.safety).unwrap();
    assert_eq!(safety.backups[1].reasons, ["the way back of a restore, for a week"]);
    // A week later the older one goes.
    bench.day(9);
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert_eq!(bench.ids().await, BTreeSet::from([wanted, second]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_and_back_takes_no_place_from_what_was_made_in_between() {
    let bench = Bench::new().await;
    bench.policy(daily(2)).await;
    let (a, b) = (bench.back_up(0).await, bench.back_up(1).await);
    // Ten years ahead one is made, then the clock is right again.
    let ahead = bench.back_up(300).await;
    assert_eq!(bench.ids().await, BTreeSet::from([b, ahead]), "a policy that counts makes no difference between a day and a year");
    let c = bench.back_up(2).await;
    assert_eq!(bench.ids().await, BTreeSet::from([b, c, ahead]), "what is dated in the future is kept and counts for nothing");
    let d = bench.back_up(3).await;
    assert_eq!(bench.ids().await, BTreeSet::from([c, d, ahead]));
    assert!(!bench.ids().await.contains(&a));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_backups_and_a_damaged_newest_one_take_no_place() {
    let bench = Bench::new().await;
    bench.policy(daily(2)).await;
    let (a, b, c) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    assert_eq!(bench.ids().await, BTreeSet::from([b, c]));
    db::backups::set_verified(&bench.ctx().db, c, dbsnap::domain::backup::VerifyState::Corrupt, bench.ctx().now()).await.unwrap();
    // Days on which nothing succeeds.
    bench.rename("shop.db", "away.db");
    for day in 3..6 {
        bench.day(day);
        let request = serde_json::from_value(json!({ "databaseId": bench.database })).unwrap();
        let failed = services::backup::start(bench.ctx(), &Actor::system(), request).await.unwrap();
        let job = bench.over(&bench.job(failed.job_id.unwrap()).await).await;
        assert_eq!(job.status, JobStatus::Failed);
    }
    bench.run().await;
    assert!(bench.ids().await.contains(&b), "the last good one stays, however many fail");
    assert!(!bench.ids().await.contains(&a));
    bench.rename("away.db", "shop.db");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_delete_each_backup_once() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for day in 0..4 {
        made.push(bench.back_up(day).await);
    }
    bench.policy(daily(1)).await;
    let start = async || services::retention::start(bench.ctx(), &Actor::system(), Some(bench.database)).await;
    let (one, two) = tokio::join!(start(), start());
    for job in [one.unwrap(), two.unwrap()] {
        assert_eq!(bench.over(&job).await.status, JobStatus::Completed);
    }
    assert_eq!(bench.ids().await, BTreeSet::from([made[3]]));
    assert_eq!(bench.audited("retention.delete").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_verification_waits_or_that_a_restore_reads_outlives_its_policy() {
    let bench = Bench::new().await;
    let (old, new) = (bench.back_up(0).await, bench.back_up(1).await);
    let restore = restore_of(old);
    db::restores::insert(&bench.ctx().db, HOME, &restore).await.unwrap();
    bench.policy(daily(1)).await;
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([old, new]));
    let ended = Restore { status: RestoreStatus::Failed, finished_at: Some(bench.ctx().now()), ..restore };
    db::restores::finish(&bench.ctx().db, &ended).await.unwrap();
    bench.run().await;
    assert_eq!(bench.ids().await, BTreeSet::from([new]));
}
