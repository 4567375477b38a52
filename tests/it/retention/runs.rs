//! Runs on real backups of a real database: they delete exactly what the preview says.

use std::collections::BTreeSet;

use dbsnap::{
    db::{self, retention::Claim},
    domain::{
        backup::{BackupStatus, VerifyState},
        ids::BackupId,
        job::{Job, JobStatus},
        permissions::Actor,
        restore::{Restore, RestoreStatus},
        retention::{Action, Policy, RetentionMode},
    },
    error::Kind,
    services,
};
use serde_json::json;

use super::bench::{Bench, DAY, HOME, START, daily, names, restore_of, verification};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_deletes_exactly_what_the_preview_says_and_leaves_a_trail() {
    let bench = Bench::new().await;
    let mut made = Vec::new();
    for day in 0..5 {
        made.push(bench.back_up(day).await);
    }
    services::backup::pin(bench.ctx(), &Actor::system(), made[0], true).await.unwrap();
    bench.policy(daily(2)).await;

    let preview = bench.preview().await;
    let planned = &preview[0];
    assert_eq!((preview.len(), planned.kept, planned.deleted), (1, 3, 2));
    let kept = planned.backups.iter().filter(|backup| backup.action == Action::Keep);
    let kept: BTreeSet<BackupId> = kept.map(|backup| backup.id).collect();
    assert_eq!(kept, BTreeSet::from([made[0], made[3], made[4]]));
    assert_eq!(bench.ids().await.len(), 5, "a preview deletes nothing");

    let job = bench.run().await;
    assert_eq!(job.status, JobStatus::Completed, "{:?}", job.error);
    assert_eq!(bench.ids().await, kept);
    let mut expected = BTreeSet::new();
    for id in &kept {
        expected.extend(names(&bench.get(*id).await));
    }
    assert_eq!(bench.stored("backups"), expected, "the files are those of the kept backups");

    let trail = bench.audited("retention.delete").await;
    let audited: BTreeSet<&str> = trail.iter().map(|event| event["subject"].as_str().unwrap()).collect();
    assert_eq!(audited, [made[1].to_string(), made[2].to_string()].iter().map(String::as_str).collect());
    assert!(trail.iter().all(|event| event["details"]["reasons"][0] == "no rule keeps it"), "{trail:?}");
    let report = job.report.unwrap();
    assert_eq!((&report["deletedCount"], &report["kept"]), (&json!(2), &json!(3)), "{report}");

    let again = bench.run().await;
    assert_eq!(again.report.unwrap()["deletedCount"], 0, "a second run has nothing to do");
    assert_eq!(bench.ids().await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_good_backup_retention_runs_by_itself() {
    let bench = Bench::new().await;
    bench.policy(daily(2)).await;
    let mut made = Vec::new();
    for day in 0..4 {
        made.push(bench.back_up(day).await);
    }
    assert_eq!(bench.ids().await, BTreeSet::from([made[2], made[3]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_plan_and_deletion_is_seen() {
    let bench = Bench::new().await;
    let (old, middle, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    bench.policy(daily(1)).await;
    let db = &bench.ctx().db;
    let spared = async |id: BackupId, why: &str| {
        let claim = bench.claim(id).await;
        assert!(matches!(&claim, Claim::Keep { reasons } if reasons.iter().any(|reason| reason.contains(why))), "{why}: {claim:?}");
        assert_eq!(bench.get(id).await.status, BackupStatus::Completed);
    };
    assert_eq!(bench.preview().await[0].deleted, 2);

    db::backups::set_pinned(db, HOME, old, true, START).await.unwrap();
    spared(old, "pinned").await;
    db::backups::set_pinned(db, HOME, old, false, START).await.unwrap();

    let restore = restore_of(old);
    db::restores::insert(db, HOME, &restore).await.unwrap();
    spared(old, "a restore reads it").await;
    let ended = Restore { status: RestoreStatus::Failed, finished_at: Some(START), ..restore };
    db::restores::finish(db, &ended).await.unwrap();

    let work = Job { backup_id: Some(old), run_after: START.plus(100 * DAY), ..verification() };
    db::jobs::enqueue(db, HOME, &work).await.unwrap();
    spared(old, "a job works on it").await;
    db::jobs::request_cancel(db, HOME, work.id).await.unwrap();

    // The newest turns out to be damaged: the one before it is the last good one now.
    db::backups::set_verified(db, new, VerifyState::Corrupt, START).await.unwrap();
    spared(middle, "the newest good backup").await;
    spared(middle, "the last good backup of the database").await;
    db::backups::set_verified(db, new, VerifyState::Verified, START).await.unwrap();

    bench.policy(daily(30)).await;
    spared(old, "daily 3 of 30").await;
    bench.policy(daily(1)).await;

    assert!(matches!(bench.claim(old).await, Claim::Delete { .. }), "nothing holds it any more");
    assert_eq!(bench.claim(old).await, Claim::Keep { reasons: vec!["it is gone, or not where it was any more".into()] });
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_to_use_a_backup_that_is_being_deleted() {
    let bench = Bench::new().await;
    let (old, _) = (bench.back_up(0).await, bench.back_up(1).await);
    bench.policy(daily(1)).await;
    assert!(matches!(bench.claim(old).await, Claim::Delete { .. }));
    let (ctx, actor) = (bench.ctx(), Actor::system());
    assert_eq!(bench.get(old).await.status, BackupStatus::Deleting);
    for error in [
        db::restores::insert(&ctx.db, HOME, &restore_of(old)).await.unwrap_err(),
        services::backup::pin(ctx, &actor, old, true).await.unwrap_err(),
        services::backup::verify(ctx, &actor, old, Default::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, Kind::Conflict, "{error}");
    }
    // The process ended right there: the next run finishes it.
    assert_eq!(bench.run().await.status, JobStatus::Completed);
    assert!(!bench.ids().await.contains(&old));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_for_all_spares_pins_and_the_last_good_one_however_late_it_is() {
    let bench = Bench::new().await;
    let (pinned, old, last) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    db::backups::set_pinned(&bench.ctx().db, HOME, pinned, true, START).await.unwrap();
    bench.day(300);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([pinned, old, last]), "without a policy all are kept up to the limit");
    // Ten years of a wrong clock, or of a machine that was off.
    bench.day(3650);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([pinned, last]));
    bench.day(-3650);
    services::retention::daily(bench.ctx()).await.unwrap();
    bench.settled().await;
    assert_eq!(bench.ids().await, BTreeSet::from([pinned, last]));
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_of_size_and_age_go_by_the_bytes_and_days_of_real_backups() {
    let bench = Bench::new().await;
    let (old, middle, new) = (bench.back_up(0).await, bench.back_up(1).await, bench.back_up(2).await);
    let size = bench.get(new).await.stored_size() + bench.get(middle).await.stored_size();
    let draft = Policy { mode: RetentionMode::Size, max_total_bytes: Some(size), ..daily(1) };
    let preview = async |draft: Policy| {
        let plans = services::retention::preview(bench.ctx(), &Actor::system(), Some(bench.database), Some(draft)).await.unwrap();
        let deleted = plans[0].backups.iter().filter(|backup| backup.action == Action::Delete);
        deleted.map(|backup| backup.id).collect::<Vec<_>>()
    };
    assert_eq!(preview(draft.clone()).await, [old]);
    assert_eq!(preview(Policy { max_total_bytes: Some(size - 1), ..draft }).await, [middle, old]);
    bench.day(3);
    let age = Policy { mode: RetentionMode::Age, max_age_days: Some(2), ..daily(1) };
    assert_eq!(preview(age).await, [old], "it ended two days and some milliseconds before");
    assert_eq!(bench.ids().await.len(), 3, "drafts delete nothing");
}
