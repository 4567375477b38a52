//! Chains: each success of a schedule starts what runs after it, once; and what is left behind is never left in silence.

use dbsnap::{
    db,
    domain::{
        filter::JobFilter,
        ids::ScheduleId,
        job::{Job, JobKind, JobStatus},
        page::PageRequest,
        permissions::Actor,
        schedule::RunStatus,
    },
    error::Kind,
    services::{
        self, databases, jobs,
        schedules::{self, Removal},
    },
};
use serde_json::json;

use super::{HOME, World, moment, told};

/// Takes everything that may start, and ends it well.
async fn work_of(world: &World) -> Vec<Option<ScheduleId>> {
    let mut of = Vec::new();
    while let Some((job, lease)) = world.claim().await {
        world.end(&job, &lease, JobStatus::Completed).await;
        of.push(job.schedule_id);
    }
    of.sort();
    of
}

#[tokio::test]
async fn every_child_runs_once_after_a_parent_that_failed_and_was_retried_by_hand() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (one, two, three) = (world.database("one").await, world.database("two").await, world.database("three").await);
    let parent = world.schedule(one, "parent", json!({"cron": "@daily"})).await;
    let first = world.schedule(two, "first", json!({"afterScheduleId": parent.schedule.id})).await;
    let second = world.schedule(three, "second", json!({"afterScheduleId": parent.schedule.id})).await;
    world.tick(moment("2026-11-21T00:00:01Z")).await;
    let (job, lease) = world.claim().await.unwrap();
    world.end(&job, &lease, JobStatus::Failed).await;
    world.tick(moment("2026-11-21T00:00:10Z")).await;
    assert!(world.claim().await.is_none(), "a failure starts nothing");

    world.clock.set(moment("2026-11-21T08:00:00Z"));
    let again = jobs::retry(world.ctx(), &Actor::system(), job.id).await.unwrap();
    let (job, lease) = world.claim().await.unwrap();
    assert_eq!(job.id, again.id);
    world.end(&job, &lease, JobStatus::Completed).await;
    // What follows may be seen to twice, and a look at the clock may come in between.
    let ended = db::jobs::get(&world.ctx().db, HOME, job.id).await.unwrap();
    world.tick(moment("2026-11-21T08:00:05Z")).await;
    services::ended(world.ctx(), HOME, &ended).await.unwrap();
    world.tick(moment("2026-11-21T08:00:10Z")).await;
    let mut both = vec![Some(first.schedule.id), Some(second.schedule.id)];
    both.sort();
    assert_eq!(work_of(&world).await, both);
    world.tick(moment("2026-11-21T08:00:20Z")).await;
    assert!(world.claim().await.is_none());
    assert_eq!(told(&world.runs(&first).await), ["11-21 08:00 completed"]);

    // The next night everything goes as ever.
    world.tick(moment("2026-11-22T00:00:01Z")).await;
    assert_eq!(work_of(&world).await, [Some(parent.schedule.id)]);
    world.tick(moment("2026-11-22T00:00:06Z")).await;
    assert_eq!(work_of(&world).await, both);
    assert_eq!(world.runs(&second).await.len(), 2);
}

#[tokio::test]
async fn a_chain_waits_for_a_lower_load_from_the_end_of_what_it_comes_after() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (one, two) = (world.database("one").await, world.database("two").await);
    let parent = world.schedule(one, "parent", json!({"cron": "@daily"})).await;
    let load = json!({"maxHostLoad": 1e-9, "latestAfterMinutes": 20});
    let child = world.schedule(two, "child", json!({"afterScheduleId": parent.schedule.id, "load": load})).await;
    world.tick(moment("2026-11-21T00:00:01Z")).await;
    // The parent takes three hours.
    world.clock.set(moment("2026-11-21T03:00:00Z"));
    work_of(&world).await;
    world.tick(moment("2026-11-21T03:00:05Z")).await;
    assert_eq!(told(&world.runs(&child).await), ["11-21 00:00 waiting"], "the load is not passed over because the parent was slow");
    world.tick(moment("2026-11-21T03:20:30Z")).await;
    assert_eq!(work_of(&world).await, [Some(child.schedule.id)]);
}

#[tokio::test]
async fn what_runs_after_a_removed_schedule_is_named_or_switched_off_with_a_word() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (one, two) = (world.database("one").await, world.database("two").await);
    let parent = world.schedule(one, "parent", json!({"cron": "@daily"})).await;
    let child = world.schedule(two, "child", json!({"afterScheduleId": parent.schedule.id})).await;
    let same = world.schedule(one, "same database", json!({"afterScheduleId": parent.schedule.id})).await;
    let off = world.schedule(two, "off", json!({"afterScheduleId": parent.schedule.id, "enabled": false})).await;
    let (ctx, actor) = (world.ctx(), Actor::system());
    for error in [
        schedules::delete(ctx, &actor, parent.schedule.id, Removal::default()).await.unwrap_err(),
        databases::delete(ctx, &actor, one, Removal::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, Kind::Conflict);
        assert!(error.to_string().contains("'child' runs after 'parent'"), "{error}");
    }
    assert!(schedules::get(ctx, &actor, parent.schedule.id).await.is_ok(), "nothing was removed");

    databases::delete(ctx, &actor, one, Removal { disable_dependents: true }).await.unwrap();
    assert_eq!(schedules::get(ctx, &actor, same.schedule.id).await.unwrap_err().kind, Kind::NotFound, "it goes with its database");
    let left = schedules::get(ctx, &actor, child.schedule.id).await.unwrap();
    assert!(!left.schedule.enabled && left.schedule.is_stranded());
    let last = left.last_run.unwrap();
    assert_eq!(last.status, RunStatus::Missed);
    assert!(last.reason.unwrap().contains("'parent', was removed"));
    assert!(world.runs(&off).await.is_empty(), "nobody waits for one that was off");
    world.tick(moment("2026-11-20T12:00:05Z")).await;
    let notices = services::notices::list(ctx, &actor, PageRequest::default()).await.unwrap().items;
    assert_eq!(notices.len(), 1, "people are told, once: {notices:?}");
    assert_eq!(notices[0].title, "two is no longer backed up by 'child'");
    assert!(notices[0].what.contains("never runs again"), "{notices:?}");

    let refused = schedules::set_enabled(ctx, &actor, child.schedule.id, true).await.unwrap_err();
    assert!(refused.kind == Kind::Conflict && refused.to_string().contains("no start"), "{refused}");
    let mended = super::input(two, "child", json!({"cron": "@hourly"}));
    assert!(schedules::update(ctx, &actor, child.schedule.id, mended).await.unwrap().schedule.next_run_at.is_some());
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_waits_for_the_run_that_goes_on() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "@hourly", "overlap": "queue"})).await;
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    let (dead, lease) = world.claim().await.unwrap();
    world.tick(moment("2026-11-20T14:00:01Z")).await;
    assert!(world.claim().await.is_none(), "14:00 waits for 13:00");
    world.end(&dead, &lease, JobStatus::Failed).await;
    world.tick(moment("2026-11-20T14:00:10Z")).await;
    let (running, lease) = world.claim().await.unwrap();
    jobs::retry(world.ctx(), &Actor::system(), dead.id).await.unwrap();
    assert_eq!(jobs::retry(world.ctx(), &Actor::system(), dead.id).await.unwrap_err().kind, Kind::Conflict, "a second click");
    assert!(world.claim().await.is_none(), "two backups of one database at once");
    world.end(&running, &lease, JobStatus::Completed).await;
    let (again, lease) = world.claim().await.unwrap();
    assert_eq!(again.backup_id, dead.backup_id);
    world.end(&again, &lease, JobStatus::Failed).await;
    world.tick(moment("2026-11-20T15:00:01Z")).await;
    assert_eq!(world.work().await, 1);
    assert_eq!(told(&world.runs(&schedule).await), ["11-20 13:00 failed", "11-20 14:00 completed", "11-20 15:00 completed"]);
    let filter = JobFilter { kind: Some(JobKind::Backup), dead: Some(true), ..JobFilter::default() };
    let letters: Vec<Job> = db::jobs::list(&world.ctx().db, HOME, &filter, PageRequest::default()).await.unwrap().items;
    assert_eq!(letters.iter().map(|job| job.id).collect::<Vec<_>>(), [again.id], "the first letter was answered");
}
