//! What keeps a run waiting: another run, a blackout, a load.

use std::time::{Duration, Instant};

use dbsnap::{
    domain::{job::JobStatus, permissions::Actor},
    services::{
        databases,
        schedules::{self, ScheduleView},
    },
};
use mongodb::bson::doc;
use serde_json::json;

use super::{World, moment, told};
use crate::support::mongo_script::{Reply, Script};

#[tokio::test]
async fn a_slot_is_left_out_while_the_run_before_has_not_ended() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "@hourly"})).await;
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    let (job, lease) = world.claim().await.unwrap();
    world.tick(moment("2026-11-20T14:00:01Z")).await;
    assert!(world.claim().await.is_none());
    world.end(&job, &lease, JobStatus::Completed).await;
    world.tick(moment("2026-11-20T15:00:01Z")).await;
    assert_eq!(world.work().await, 1);
    let runs = world.runs(&schedule).await;
    assert_eq!(told(&runs), ["11-20 13:00 completed", "11-20 14:00 skipped", "11-20 15:00 completed"]);
    assert_eq!(runs[1].reason.as_deref(), Some("the run of 2026-11-20 13:00 UTC had not ended"));
}

#[tokio::test]
async fn a_queueing_schedule_keeps_one_slot_waiting_and_no_more() {
    let mut world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "@hourly", "overlap": "queue"})).await;
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    let (job, lease) = world.claim().await.unwrap();
    world.tick(moment("2026-11-20T14:00:01Z")).await;
    world.tick(moment("2026-11-20T15:00:01Z")).await;
    assert!(world.claim().await.is_none());
    // What waits survives the process.
    world.restart(moment("2026-11-20T15:10:00Z")).await;
    world.tick(moment("2026-11-20T15:10:00Z")).await;
    assert!(world.claim().await.is_none());
    world.end(&job, &lease, JobStatus::Failed).await;
    world.tick(moment("2026-11-20T15:20:00Z")).await;
    assert_eq!(world.work().await, 1);
    assert_eq!(told(&world.runs(&schedule).await), ["11-20 13:00 failed", "11-20 14:00 completed", "11-20 15:00 skipped"]);
}

#[tokio::test]
async fn nothing_starts_in_a_blackout_and_one_run_waits_for_its_end() {
    let mut world = World::at(moment("2026-11-20T05:30:00Z")).await;
    let database = world.database("shop").await;
    let more =
        json!({"cron": "0 */2 * * *", "timeZone": "Europe/Berlin", "blackouts": [{"from": "08:00", "to": "18:00", "days": ["friday"]}]});
    let schedule = world.schedule(database, "not in office hours", more).await;
    for hour in 7..17 {
        world.tick(moment(&format!("2026-11-20T{hour:02}:00:01Z"))).await;
        assert!(world.claim().await.is_none(), "it is {hour}:00 UTC, office hours in Berlin");
    }
    // The process is away when the blackout ends.
    world.restart(moment("2026-11-20T17:30:00Z")).await;
    world.tick(moment("2026-11-20T17:30:00Z")).await;
    assert_eq!(world.work().await, 1);
    let runs = world.runs(&schedule).await;
    let first = ["11-20 07:00 completed", "11-20 09:00 skipped", "11-20 11:00 skipped", "11-20 13:00 skipped", "11-20 15:00 skipped"];
    assert_eq!(told(&runs)[..5], first);
    assert!(runs[1].reason.as_deref().unwrap().contains("still waited"), "{:?}", runs[1].reason);
}

#[tokio::test]
async fn a_high_load_is_waited_out_up_to_a_set_time_and_what_is_not_known_holds_nothing_up() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (one, two) = (world.database("one").await, world.database("two").await);
    // Any machine that runs this is busier than that.
    let busy = world.schedule(one, "idle only", json!({"cron": "@hourly", "load": {"maxHostLoad": 1e-9, "latestAfterMinutes": 20}})).await;
    let unknown = world.schedule(two, "quiet only", json!({"cron": "@hourly", "load": {"maxActiveConnections": 1}})).await;
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    assert_eq!(world.work().await, 1, "a SQLite file has no connections to count");
    assert_eq!(told(&world.runs(&unknown).await), ["11-20 13:00 completed"]);
    let runs = world.runs(&busy).await;
    assert_eq!(told(&runs), ["11-20 13:00 waiting"]);
    assert!(runs[0].reason.as_deref().unwrap().contains("load was"), "{:?}", runs[0].reason);
    world.tick(moment("2026-11-20T13:19:59Z")).await;
    assert_eq!(world.work().await, 0);
    world.tick(moment("2026-11-20T13:20:30Z")).await;
    assert_eq!(world.work().await, 1, "it starts then whatever the load is");
}

#[tokio::test]
async fn a_run_that_waits_is_left_out_when_its_schedule_is_switched_off() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "waits", json!({"cron": "@hourly", "blackouts": [{"from": "12:30", "to": "14:30"}]})).await;
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    schedules::set_enabled(world.ctx(), &Actor::system(), schedule.schedule.id, false).await.unwrap();
    world.tick(moment("2026-11-20T14:30:01Z")).await;
    assert_eq!(world.work().await, 0);
    assert_eq!(told(&world.runs(&schedule).await), ["11-20 13:00 skipped"]);
}

/// A MongoDB server of these words stands for the database of the schedule `name`.
async fn mongodb(world: &World, name: &str, script: &Script) -> ScheduleView {
    let settings = json!({"hosts": script.address(), "database": "shop", "tlsMode": "off", "connectTimeout": 5});
    let input = serde_json::from_value(json!({"name": name, "engine": "mongodb", "settings": settings})).unwrap();
    let database = databases::create(world.ctx(), &Actor::system(), input).await.unwrap().id;
    let more = json!({"cron": "@hourly", "load": {"maxActiveConnections": 3, "latestAfterMinutes": 20}});
    world.schedule(database, name, more).await
}

fn connections(active: i32, awaiting: i32) -> Reply {
    Reply::Answer(doc! { "connections": { "current": 20, "active": active, "awaitingTopologyChanges": awaiting } })
}

#[tokio::test(flavor = "multi_thread")]
async fn active_connections_of_mongodb_are_waited_out_and_drivers_that_only_listen_are_none() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let script = Script::standalone();
    let schedule = mongodb(&world, "quiet only", &script).await;
    // Four do something besides the one that asks.
    script.on("serverStatus", |_| connections(7, 2));
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    assert_eq!(world.work().await, 0);
    let runs = world.runs(&schedule).await;
    assert_eq!(told(&runs), ["11-20 13:00 waiting"]);
    assert_eq!(runs[0].reason.as_deref(), Some("the database had 4 active connections, and it starts below 3"));
    script.on("serverStatus", |_| connections(12, 9));
    world.tick(moment("2026-11-20T13:01:00Z")).await;
    assert_eq!(world.work().await, 1, "two do something, nine only listen");

    script.on("serverStatus", |_| connections(100, 0));
    world.tick(moment("2026-11-20T14:00:01Z")).await;
    world.tick(moment("2026-11-20T14:19:59Z")).await;
    assert_eq!(world.work().await, 0);
    world.tick(moment("2026-11-20T14:20:30Z")).await;
    assert_eq!(world.work().await, 1, "at its latest time it starts whatever the load is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_does_not_tell_its_connections_holds_up_neither_its_own_run_nor_another() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let scripts: Vec<_> = (0..5).map(|_| Script::standalone()).collect();
    scripts[0].on("serverStatus", |_| Reply::Error(13, "Unauthorized", "not authorized on admin to execute command"));
    scripts[1].on("serverStatus", |_| Reply::Answer(doc! { "version": "7.0.5" }));
    scripts[2].on("serverStatus", |_| Reply::HangUp);
    scripts[3].on("serverStatus", |_| Reply::Silence);
    scripts[4].on("serverStatus", |_| Reply::Silence);
    for (number, script) in scripts.iter().enumerate() {
        mongodb(&world, &format!("server {number}"), script).await;
    }
    let began = Instant::now();
    world.tick(moment("2026-11-20T13:00:01Z")).await;
    assert!(began.elapsed() < Duration::from_secs(18), "silent servers are asked at once, ten seconds each: {:?}", began.elapsed());
    assert_eq!(world.work().await, 5, "each starts at once: a backup is worth more than a condition");
    assert!(scripts.iter().all(|script| !script.received("serverStatus").is_empty()), "each was asked");
}
