//! What becomes of slots: on time, late, changed, switched off, chained.

use dbsnap::{
    db,
    domain::{
        backup::BackupType,
        filter::ScheduleFilter,
        job::JobStatus,
        page::PageRequest,
        permissions::{Actor, Role},
        schedule::RunStatus,
    },
    services::schedules::{self, Removal},
};
use serde_json::{Value, json};

use super::{HOME, World, input, moment, told};

#[tokio::test]
async fn a_slot_runs_once_with_what_the_schedule_says() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let more = json!({"cron": "30 2 * * *", "timeZone": "Europe/Berlin", "attempts": 7, "priority": 5,
        "limits": {"timeoutSeconds": 900, "child": {"nice": 10}}, "options": {"artifacts": ["snapshot"]}});
    let schedule = world.schedule(database, "nightly", more).await;
    assert_eq!(schedule.schedule.next_run_at, Some(moment("2026-11-21T01:30:00Z")));
    world.tick(moment("2026-11-21T01:29:59Z")).await;
    assert!(world.claim().await.is_none(), "not before its time");
    for second in ["02", "07", "12"] {
        world.tick(moment(&format!("2026-11-21T01:30:{second}Z"))).await;
    }
    let (job, lease) = world.claim().await.unwrap();
    assert!(world.claim().await.is_none(), "once");
    assert_eq!((job.max_attempts, job.priority, job.limits.timeout_seconds, job.limits.child.nice), (7, 5, Some(900), Some(10)));
    let backup = db::backups::get(&world.ctx().db, HOME, job.backup_id.unwrap()).await.unwrap();
    assert_eq!((backup.kind, backup.schedule_id), (BackupType::Daily, Some(schedule.schedule.id)));
    assert_eq!(serde_json::to_value(&backup.options.artifacts).unwrap(), json!(["snapshot"]));
    world.end(&job, &lease, JobStatus::Failed).await;
    let runs = world.runs(&schedule).await;
    assert_eq!(told(&runs), ["11-21 01:30 failed"]);
    assert_eq!(runs[0].reason.as_deref(), Some("the server went away"));
    let shown = schedules::get(world.ctx(), &Actor::system(), schedule.schedule.id).await.unwrap();
    assert_eq!(shown.schedule.next_run_at, Some(moment("2026-11-22T01:30:00Z")));
    assert_eq!(shown.last_run.unwrap().status, RunStatus::Failed);
}

#[tokio::test]
async fn what_passed_while_the_process_was_down_is_caught_up_once_or_missed() {
    let mut world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (one, two) = (world.database("one").await, world.database("two").await);
    let caught_up = world.schedule(one, "caught up", json!({"cron": "0 * * * *"})).await;
    let missed = world.schedule(two, "missed", json!({"cron": "0 * * * *", "catchUp": false})).await;
    world.restart(moment("2026-11-20T17:20:00Z")).await;
    world.tick(moment("2026-11-20T17:20:00Z")).await;
    assert_eq!(world.work().await, 1);
    assert_eq!(told(&world.runs(&caught_up).await), ["11-20 16:00 missed x4", "11-20 17:00 completed"]);
    assert_eq!(told(&world.runs(&missed).await), ["11-20 17:00 missed x5"]);
    // A slot that is due just now stands for those before it.
    world.restart(moment("2026-11-20T20:00:04Z")).await;
    world.tick(moment("2026-11-20T20:00:04Z")).await;
    assert_eq!(world.work().await, 2);
    assert_eq!(told(&world.runs(&caught_up).await)[2..], ["11-20 19:00 missed x2", "11-20 20:00 completed"]);
    assert!(db::schedule_runs::untold(&world.ctx().db).await.unwrap().is_empty(), "people were told of all of them");
}

#[tokio::test]
async fn a_clock_that_is_set_back_runs_no_slot_again_and_one_set_far_ahead_loses_nothing_later() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "0 * * * *"})).await;
    for at in ["13:00:02", "14:00:02", "12:30:00", "13:00:05", "14:00:05", "15:00:01"] {
        world.tick(moment(&format!("2026-11-20T{at}Z"))).await;
        world.work().await;
    }
    assert_eq!(told(&world.runs(&schedule).await), ["11-20 13:00 completed", "11-20 14:00 completed", "11-20 15:00 completed"]);
    // For a moment it is ten years later.
    world.tick(moment("2036-11-20T15:30:00Z")).await;
    world.tick(moment("2026-11-20T15:31:00Z")).await;
    assert_eq!(world.work().await, 1, "what was caught up then does not wait for ten years");
    world.tick(moment("2026-11-20T16:00:01Z")).await;
    assert_eq!(world.work().await, 1, "16:00 runs although the clock was past it once");
}

#[tokio::test]
async fn a_change_takes_effect_at_once_and_loses_no_slot_that_was_due() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "hourly", json!({"cron": "0 * * * *"})).await;
    let (ctx, actor, id) = (world.ctx(), Actor::system(), schedule.schedule.id);
    // 13:00 has come, and nobody has looked yet.
    world.clock.set(moment("2026-11-20T13:00:03Z"));
    let changed = schedules::update(ctx, &actor, id, input(database, "half past", json!({"cron": "30 * * * *"}))).await.unwrap();
    assert_eq!(changed.schedule.next_run_at, Some(moment("2026-11-20T13:30:00Z")));
    world.tick(moment("2026-11-20T13:00:05Z")).await;
    assert_eq!(world.work().await, 1);
    // Another name does not move its time.
    world.clock.set(moment("2026-11-20T13:10:00Z"));
    schedules::update(ctx, &actor, id, input(database, "renamed", json!({"cron": "30 * * * *"}))).await.unwrap();
    world.tick(moment("2026-11-20T13:30:01Z")).await;
    assert_eq!(world.work().await, 1);
    // Switched off for two hours: nothing is caught up.
    schedules::set_enabled(ctx, &actor, id, false).await.unwrap();
    world.tick(moment("2026-11-20T15:40:00Z")).await;
    let on = schedules::set_enabled(ctx, &actor, id, true).await.unwrap();
    assert_eq!(on.schedule.next_run_at, Some(moment("2026-11-20T16:30:00Z")));
    world.tick(moment("2026-11-20T16:30:01Z")).await;
    assert_eq!(world.work().await, 1);
    let history = ["11-20 13:00 completed", "11-20 13:30 completed", "11-20 16:30 completed"];
    assert_eq!(told(&world.runs(&schedule).await), history);
    schedules::delete(ctx, &actor, id, Removal::default()).await.unwrap();
    assert_eq!(db::schedules::list(&ctx.db, HOME, &ScheduleFilter::default(), PageRequest::default()).await.unwrap().total, 0);
    assert_eq!(world.backup_jobs().await, 3);
    let backups = db::backups::list(&ctx.db, HOME, &Default::default(), PageRequest::default()).await.unwrap();
    assert_eq!(backups.total, 3, "its backups stay");
}

#[tokio::test]
async fn a_chain_runs_after_each_success_and_after_nothing_else() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let (one, two) = (world.database("one").await, world.database("two").await);
    let first = world.schedule(one, "first", json!({"cron": "@weekly"})).await;
    let second = world.schedule(two, "second", json!({"afterScheduleId": first.schedule.id})).await;
    assert_eq!((second.after_schedule_name.as_deref(), second.schedule.next_run_at), (Some("first"), None));
    world.tick(moment("2026-11-22T00:00:01Z")).await;
    let (job, lease) = world.claim().await.unwrap();
    world.end(&job, &lease, JobStatus::Failed).await;
    world.tick(moment("2026-11-22T00:00:10Z")).await;
    assert!(world.claim().await.is_none(), "a failure starts nothing");
    world.tick(moment("2026-11-29T00:00:01Z")).await;
    let (job, lease) = world.claim().await.unwrap();
    world.end(&job, &lease, JobStatus::Completed).await;
    // What follows from a job's end may be seen to twice.
    let ended = db::jobs::get(&world.ctx().db, HOME, job.id).await.unwrap();
    dbsnap::services::ended(world.ctx(), HOME, &ended).await.unwrap();
    world.tick(moment("2026-11-29T00:00:10Z")).await;
    let (job, lease) = world.claim().await.unwrap();
    assert_eq!((job.schedule_id, job.database_id), (Some(second.schedule.id), Some(two)));
    assert_eq!(db::backups::get(&world.ctx().db, HOME, job.backup_id.unwrap()).await.unwrap().kind, BackupType::Weekly);
    world.end(&job, &lease, JobStatus::Completed).await;
    world.tick(moment("2026-11-29T00:00:20Z")).await;
    assert!(world.claim().await.is_none());
    assert_eq!(told(&world.runs(&second).await), ["11-29 00:00 completed"]);
    // No way back to itself, and no end while another one hangs on it.
    let (ctx, actor) = (world.ctx(), Actor::system());
    let circle = input(one, "first", json!({"afterScheduleId": second.schedule.id}));
    let error = schedules::update(ctx, &actor, first.schedule.id, circle).await.unwrap_err();
    assert!(error.to_string().contains("run after itself"), "{error}");
    let error = schedules::delete(ctx, &actor, first.schedule.id, Removal::default()).await.unwrap_err();
    assert!(error.kind.code() == "CONFLICT" && error.to_string().contains("second"), "{error}");
}

#[tokio::test]
async fn a_person_runs_it_now_and_not_twice_at_once() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let schedule = world.schedule(database, "off", json!({"cron": "@daily", "enabled": false})).await;
    let (ctx, actor, id) = (world.ctx(), Actor::system(), schedule.schedule.id);
    let run = schedules::run_now(ctx, &actor, id).await.unwrap();
    assert_eq!(run.status, RunStatus::Queued);
    assert_eq!(schedules::run_now(ctx, &actor, id).await.unwrap_err().kind.code(), "CONFLICT");
    assert_eq!(world.work().await, 1);
    assert_eq!(told(&world.runs(&schedule).await), ["11-20 12:00 completed"]);
    let viewer = Actor { role: Role::Viewer, ..actor };
    assert_eq!(schedules::run_now(ctx, &viewer, id).await.unwrap_err().kind.code(), "FORBIDDEN");
    assert_eq!(schedules::delete(ctx, &viewer, id, Removal::default()).await.unwrap_err().kind.code(), "FORBIDDEN");
}

#[tokio::test]
async fn what_is_not_a_schedule_is_refused_by_field() {
    let world = World::at(moment("2026-11-20T12:00:00Z")).await;
    let database = world.database("shop").await;
    let wrong: [(Value, &str, &str); 13] = [
        (json!({"cron": "0 0 30 2 *"}), "cron", "no month has such a day"),
        (json!({"cron": "@reboot"}), "cron", "no such name"),
        (json!({}), "cron", "either"),
        (json!({"cron": "@daily", "timeZone": "Mars/Olympus"}), "timeZone", "not a known time zone"),
        (json!({"cron": "@daily", "name": " "}), "name", "1 to 100"),
        (json!({"cron": "@daily", "attempts": 0}), "attempts", "1 to 20"),
        (json!({"cron": "@daily", "priority": 1000}), "priority", "-100 to 100"),
        (json!({"cron": "@daily", "limits": {"timeoutSeconds": 0}}), "limits.timeoutSeconds", "1 second"),
        (json!({"cron": "@daily", "blackouts": [{"from": "00:00", "to": "24:00"}]}), "blackouts", "no time"),
        (json!({"cron": "@daily", "load": {}}), "load", "no limit"),
        (json!({"cron": "@daily", "hooks": [{"stage": "before", "command": ["../../bin/sh"]}]}), "hooks.0", "without a path"),
        (json!({"cron": "@daily", "heartbeatUrl": "ftp://example.com"}), "heartbeatUrl", "http"),
        (
            json!({"cron": "@daily", "destinations": [{"storeId": "00000000-0000-0000-0000-0000000000ff"}]}),
            "destinations",
            "does not exist",
        ),
    ];
    for (more, field, words) in wrong {
        let error = world.try_schedule(database, "x", more.clone()).await.expect_err(&more.to_string());
        assert!(error.fields.iter().any(|(name, said)| name == field && said.contains(words)), "{more}: {error}");
    }
    let secret = json!({"cron": "@daily", "heartbeatUrl": "https://hc.example/ping/geheim"});
    let schedule = world.schedule(database, "with a heartbeat", secret).await;
    assert!(schedule.schedule.heartbeat);
    assert!(!serde_json::to_string(&schedule).unwrap().contains("geheim"), "the address is a secret");
    let sealed = db::schedules::heartbeat_url(&world.ctx().db, HOME, schedule.schedule.id).await.unwrap().unwrap();
    assert!(!sealed.contains("geheim"));
}
