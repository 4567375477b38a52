//! What keeps a run waiting: another run, a blackout, a load.

use dbsnap::{domain::job::JobStatus, domain::permissions::Actor, services::schedules};
use serde_json::json;

use super::{World, moment, told};

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
