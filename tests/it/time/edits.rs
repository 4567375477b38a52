//! Changes, removals and clicks at the worst moments; clocks that run away; more schedules than one second holds.

use std::{collections::HashSet, time::Duration};

use dbsnap::{
    domain::{permissions::Actor, schedule::RunStatus},
    error::Kind,
    services::{
        databases,
        schedules::{self, Removal},
    },
};
use futures_util::future::join_all;
use serde_json::json;

use super::{World, input, moment, told};

#[tokio::test]
async fn another_time_or_zone_between_two_looks_runs_each_slot_once() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "nightly", json!({"cron": "30 2 * * *", "timeZone": "Europe/Berlin"})).await;
    let (ctx, actor, id) = (world.ctx(), Actor::system(), schedule.schedule.id);
    let change = async |more| schedules::update(ctx, &actor, id, input(database, "nightly", more)).await.unwrap();
    // At the very moment of the slot, before anybody has looked: the slot is taken as it was.
    world.clock.set(moment("2026-11-21T01:30:00Z"));
    change(json!({"cron": "30 2 * * *", "timeZone": "Europe/London"})).await;
    world.tick(moment("2026-11-21T01:30:01Z")).await;
    assert_eq!(world.work().await, 1);
    // 02:30 in London comes an hour later than in Berlin: that is another slot.
    world.tick(moment("2026-11-21T02:30:01Z")).await;
    assert_eq!(world.work().await, 1);
    // A new time that is due at the moment of the change itself is not: a change is for what comes.
    world.clock.set(moment("2026-11-21T03:00:00Z"));
    let changed = change(json!({"cron": "*/30 * * * *"})).await;
    assert_eq!(changed.schedule.next_run_at, Some(moment("2026-11-21T03:30:00Z")));
    // There and back within one slot.
    world.clock.set(moment("2026-11-21T03:30:00Z"));
    change(json!({"cron": "0 12 * * *"})).await;
    change(json!({"cron": "*/30 * * * *"})).await;
    for second in ["00", "05", "10"] {
        world.tick(moment(&format!("2026-11-21T03:30:{second}Z"))).await;
    }
    assert_eq!(world.work().await, 1);
    let expected = ["11-21 01:30 completed", "11-21 02:30 completed", "11-21 03:30 completed"];
    assert_eq!(told(&world.runs(&schedule).await), expected);
}

#[tokio::test]
async fn what_waits_goes_with_its_database_and_holds_up_nothing() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (gone, stays) = (world.database("gone").await, world.database("stays").await);
    let quiet = json!({"cron": "@hourly", "blackouts": [{"from": "12:30", "to": "14:30"}]});
    world.schedule(gone, "in a blackout", quiet).await;
    world.schedule(gone, "for a lower load", json!({"cron": "@hourly", "load": {"maxHostLoad": 1e-9}})).await;
    let other = world.schedule(stays, "other", json!({"cron": "@hourly"})).await;
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    assert_eq!(world.work().await, 1);
    databases::delete(world.ctx(), &Actor::system(), gone, Removal::default()).await.unwrap();
    for at in ["13:01:00", "14:00:01", "14:30:01"] {
        world.tick(moment(&format!("2026-11-20T{at}Z"))).await;
    }
    assert_eq!(world.work().await, 1);
    assert_eq!(told(&world.runs(&other).await), ["11-20 13:00 completed", "11-20 14:00 completed"]);
}

#[tokio::test]
async fn off_and_on_again_before_anybody_looked_loses_no_slot_and_repeats_none() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "@hourly"})).await;
    let (ctx, actor, id) = (world.ctx(), Actor::system(), schedule.schedule.id);
    world.clock.set(moment("2026-11-20T13:00:02Z"));
    for enabled in [false, true, false, true] {
        schedules::set_enabled(ctx, &actor, id, enabled).await.unwrap();
    }
    world.tick(moment("2026-11-20T13:00:05Z")).await;
    assert_eq!(world.work().await, 1);
    // Off for good: the slot that was due says so.
    world.clock.set(moment("2026-11-20T14:00:02Z"));
    schedules::set_enabled(ctx, &actor, id, false).await.unwrap();
    world.tick(moment("2026-11-20T14:00:05Z")).await;
    assert_eq!(world.work().await, 0);
    assert_eq!(told(&world.runs(&schedule).await), ["11-20 13:00 completed", "11-20 14:00 skipped"]);
}

#[tokio::test]
async fn a_clock_that_runs_years_ahead_and_comes_back_stops_no_minutely_schedule() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "each minute", json!({"cron": "* * * * *", "timeZone": "Europe/Berlin"})).await;
    world.tick(moment("2026-11-20T12:01:01Z")).await;
    assert_eq!(world.work().await, 1);
    // More than a million slots at once.
    world.tick(moment("2028-12-12T00:00:30Z")).await;
    world.work().await;
    let told_missed = world.runs(&schedule).await.into_iter().find(|run| run.status == RunStatus::Missed).unwrap();
    assert!(told_missed.slots > 1_000_000, "{told_missed:?}");
    world.tick(moment("2026-11-20T12:01:30Z")).await;
    for minute in 2..5 {
        world.tick(moment(&format!("2026-11-20T12:{minute:02}:01Z"))).await;
        assert_eq!(world.work().await, 1, "12:{minute:02}");
    }
    let counted = world.runs(&schedule).await.into_iter().find(|run| run.status == RunStatus::Missed).unwrap();
    assert_eq!(counted.slots, told_missed.slots - 3, "what came after all is no longer counted as missed");
}

#[tokio::test]
async fn many_looks_at_once_and_many_clicks_at_once_start_one_run() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "@hourly"})).await;
    for hour in 13..23 {
        world.clock.set(moment(&format!("2026-11-20T{hour}:00:01Z")));
        for look in join_all((0..8).map(|_| schedules::tick(world.ctx()))).await {
            look.unwrap();
        }
        assert_eq!(world.work().await, 1);
    }
    assert_eq!(world.runs(&schedule).await.len(), 10);
    // The clock goes on meanwhile: each click has a moment of its own.
    let actor = Actor::system();
    let clicks = join_all((0..8).map(|_| schedules::run_now(world.ctx(), &actor, schedule.schedule.id)));
    let time_passes = async {
        for millisecond in 0.. {
            world.clock.set(moment("2026-11-20T23:30:00Z").plus(millisecond));
            tokio::task::yield_now().await;
        }
    };
    let clicks = tokio::select! {
        clicks = clicks => clicks,
        () = time_passes => unreachable!("time does not end"),
    };
    assert_eq!(clicks.iter().filter(|click| click.is_ok()).count(), 1, "{clicks:?}");
    assert!(clicks.iter().filter_map(|click| click.as_ref().err()).all(|error| error.kind == Kind::Conflict), "{clicks:?}");
    assert_eq!(world.work().await, 1);
}

#[tokio::test]
async fn a_catalogue_that_somebody_else_writes_to_delays_a_look_and_loses_no_slot() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "@hourly"})).await;
    for hour in 13..16 {
        let mut other = rusqlite::Connection::open(world.ctx().db.path()).unwrap();
        let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        world.clock.set(moment(&format!("2026-11-20T{hour}:00:01Z")));
        let held = tokio::time::timeout(Duration::from_millis(300), schedules::tick(world.ctx())).await;
        assert!(held.is_err(), "the look waits for the lock");
        lock.rollback().unwrap();
        world.tick(moment(&format!("2026-11-20T{hour}:00:06Z"))).await;
        assert_eq!(world.work().await, 1);
    }
    let expected = ["11-20 13:00 completed", "11-20 14:00 completed", "11-20 15:00 completed"];
    assert_eq!(told(&world.runs(&schedule).await), expected);
}

#[tokio::test]
async fn blackouts_that_leave_no_time_are_refused_however_they_are_written() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    for blackouts in [
        json!([{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "24:00"}]),
        json!([{"from": "18:00", "to": "07:00"}, {"from": "06:00", "to": "19:00"}]),
        json!([{"from": "00:00", "to": "24:00", "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]}]),
    ] {
        let error = world.try_schedule(database, "never", json!({"cron": "@hourly", "blackouts": blackouts})).await.unwrap_err();
        assert!(error.to_string().contains("no time"), "{blackouts}: {error}");
    }
    // All week but one minute: the run of Monday waits until that minute.
    let most = json!([{"from": "00:00", "to": "24:00", "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]},
        {"from": "00:00", "to": "23:59", "days": ["sunday"]}]);
    let schedule = world.schedule(database, "hardly ever", json!({"cron": "0 12 * * 1", "blackouts": most})).await;
    world.tick(moment("2026-11-23T12:00:01Z")).await;
    world.tick(moment("2026-11-29T23:58:59Z")).await;
    assert_eq!(world.work().await, 0);
    world.tick(moment("2026-11-29T23:59:01Z")).await;
    assert_eq!(world.work().await, 1);
    assert_eq!(told(&world.runs(&schedule).await), ["11-23 12:00 completed"]);
}

#[tokio::test]
async fn a_thousand_schedules_in_one_second_all_run_once() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let mut made = Vec::new();
    for number in 0..20 {
        let database = world.database(&format!("db{number}")).await;
        for nth in 0..50 {
            made.push(world.schedule(database, &format!("{number}-{nth}"), json!({"cron": "0 13 * * *"})).await);
        }
    }
    world.tick(moment("2026-11-20T13:00:00Z")).await;
    world.tick(moment("2026-11-20T13:00:05Z")).await;
    assert_eq!(world.backup_jobs().await, 1000);
    let mut jobs = HashSet::new();
    for schedule in &made {
        let runs = world.runs(schedule).await;
        assert_eq!(told(&runs), ["11-20 13:00 queued"], "{}", schedule.schedule.name);
        assert!(jobs.insert(runs[0].job_id), "one job for two schedules");
    }
}
