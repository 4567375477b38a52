//! What grows old goes, what must stay stays; upkeep is jobs with reports, and comes by itself once a day.

use std::sync::Arc;

use dbsnap::{
    app,
    config::Config,
    db::rotation::{self, Old},
    domain::{
        job::{Job, JobStatus},
        maintenance::MaintenanceTask,
        permissions::Actor,
        time::{Clock, Moment},
    },
    services::maintenance,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::web::site::Site;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn id(kind: u32, n: u32) -> String {
    format!("{kind:08x}-0000-7000-8000-{n:012x}")
}

/// Fills an idle site with history: what ends in `goes` is to go, what ends in `stays` is not. The settings are the defaults:
/// logs for 30 days, history for 90, audit for 730.
fn fill(site: &Site, database: &str) {
    let catalogue = site.catalogue();
    let ago = |days: i64| Moment::now().0 - days * DAY;
    let home = "(SELECT id FROM organizations)";
    for (n, status, days, dead) in [
        (1, "completed", 100, false),
        (2, "failed", 50, true),
        (3, "failed", 200, true),
        (4, "completed", 1, false),
        (6, "completed", 50, false),
    ] {
        let job = format!(
            "INSERT INTO jobs (id, organization_id, kind, status, payload, attempt, max_attempts, run_after, cancel_requested, created_at, finished_at, dead, followed_up)
             VALUES ('{}', {home}, 'verify', '{status}', '{{}}', 1, 1, 0, FALSE, {at}, {at}, {dead}, TRUE)",
            id(1, n),
            at = ago(days)
        );
        catalogue.execute(&job, []).unwrap();
        for line in 0..3 {
            let insert = "INSERT INTO execution_logs (job_id, at, level, message) VALUES (?1, ?2, 'info', ?3)";
            catalogue.execute(insert, rusqlite::params![id(1, n), ago(days), format!("line {line}")]).unwrap();
        }
    }
    for (n, status, days, database, pinned, key) in [
        (1, "failed", 200, Some(database), false, None),
        (2, "completed", 400, Some(database), false, Some("a")),
        (3, "failed", 300, Some(database), true, None),
        (4, "cancelled", 300, Some(database), false, Some("left")),
        (5, "interrupted", 50, Some(database), false, None),
        (6, "failed", 20, Some(database), false, None),
        (7, "failed", 200, None, false, None),
    ] {
        let insert = "INSERT INTO backups (id, organization_id, database_id, database_name, engine, type, status, store_id, pinned, verify_state,
                 created_at, manifest_key, warnings, options, tables)
             VALUES (?1, (SELECT id FROM organizations), ?2, 'shop', 'sqlite', 'daily', ?3, (SELECT id FROM stores), ?4, 'unverified', ?5, ?6, '[]', '{}', '[]')";
        catalogue.execute(insert, rusqlite::params![id(2, n), database, status, pinned, ago(days), key]).unwrap();
    }
    let schedule = "INSERT INTO schedules (id, organization_id, database_id, name, enabled, time_zone, details, created_at, updated_at)
         SELECT ?1, id, ?2, 'nightly', TRUE, 'UTC', '{}', 0, 0 FROM organizations";
    catalogue.execute(schedule, [&id(3, 1), database]).unwrap();
    for (n, status, days) in [(1, "completed", 300), (2, "waiting", 250), (3, "missed", 200), (4, "skipped", 150)] {
        let insert = "INSERT INTO schedule_runs (id, schedule_id, slot, first_slot, status, slots, not_before, created_at, told) VALUES (?1, ?2, ?3, ?3, ?4, 1, 0, ?3, TRUE)";
        catalogue.execute(insert, rusqlite::params![id(4, n), id(3, 1), ago(days), status]).unwrap();
    }
    let notifier = "INSERT INTO notifiers (id, organization_id, name, kind, settings, enabled, rules, created_at, updated_at)
         SELECT ?1, id, 'mail', 'email', '{}', FALSE, '{}', 0, 0 FROM organizations";
    catalogue.execute(notifier, [id(5, 1)]).unwrap();
    for (n, days, delivery) in [(1, 100, "delivered"), (2, 100, "queued"), (3, 10, "failed")] {
        let notice = "INSERT INTO notices (id, organization_id, event, severity, dedup_key, group_key, content, created_at)
             SELECT ?1, id, 'backup.failed', 'error', ?1, ?1, '{}', ?2 FROM organizations";
        catalogue.execute(notice, rusqlite::params![id(6, n), ago(days)]).unwrap();
        let insert = "INSERT INTO deliveries (id, notice_id, notifier_id, status, attempt, run_after, created_at) VALUES (?1, ?2, ?3, ?4, 1, 9e15, ?5)";
        catalogue.execute(insert, rusqlite::params![id(7, n), id(6, n), id(5, 1), delivery, ago(days)]).unwrap();
    }
    let (restores, diffs) = (
        "INSERT INTO restores (id, organization_id, source_label, target_label, engine, plan, status, created_at, finished_at, warnings, tables)
         SELECT ?1, id, 'shop', 'shop', 'sqlite', ?4, ?2, ?3, ?3, '[]', '[]' FROM organizations",
        "INSERT INTO diffs (id, organization_id, database_id, database_name, engine, before_database_id, before_label, after_database_id,
             after_label, options, status, created_at, finished_at, report_size)
         SELECT ?1, id, ?4, 'shop', 'sqlite', ?4, 'before', ?4, 'after', '{}', ?2, ?3, ?3, 7 FROM organizations",
    );
    // The fifth comparison is old, and a restore of its rows waits.
    let rows = json!({ "mode": "append", "rows": { "diffId": id(9, 5), "direction": "revert", "onConflict": "stop", "dryRun": false } })
        .to_string();
    for (n, status, days, plan) in [
        (1, "completed", 100, "{}"),
        (2, "running", 200, "{}"),
        (3, "failed", 95, "{}"),
        (4, "completed", 80, "{}"),
        (5, "queued", 100, rows.as_str()),
    ] {
        catalogue.execute(restores, rusqlite::params![id(10, n), status, ago(days), plan]).unwrap();
    }
    std::fs::create_dir_all(site.ctx.reports()).unwrap();
    for (n, status, days) in [(1, "completed", 100), (2, "running", 100), (3, "failed", 200), (4, "completed", 80), (5, "completed", 100)] {
        catalogue.execute(diffs, rusqlite::params![id(9, n), status, ago(days), database]).unwrap();
        std::fs::write(report(site, n), "a report").unwrap();
    }
    for (n, days) in [(1, 800), (2, 700)] {
        let insert = "INSERT INTO audit_events (id, organization_id, actor, action, subject, details, at)
             SELECT ?1, id, 'ada', 'login', 'x', '{}', ?2 FROM organizations";
        catalogue.execute(insert, rusqlite::params![id(8, n), ago(days)]).unwrap();
    }
}

/// Where the report of a comparison is.
fn report(site: &Site, n: u32) -> std::path::PathBuf {
    site.ctx.reports().join(format!("{}.report", id(9, n)))
}

fn left(site: &Site, table: &str, kind: u32) -> Vec<u32> {
    let catalogue = site.catalogue();
    let mut rows = catalogue.prepare(&format!("SELECT id FROM {table} WHERE id LIKE '{kind:08x}-%' ORDER BY id")).unwrap();
    let ids = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    ids.map(|id| u32::from_str_radix(&id.unwrap()[24..], 16).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_settings_keep_goes_and_the_rest_stays() {
    let mut site = Site::idle().await;
    let database = site.add_database("shop", 3).await;
    fill(&site, &database);
    let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": "cleanup"})).await.id();
    site.begin().await;
    let job = site.wait(&format!("/api/jobs/{job}")).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(left(&site, "jobs", 1), [2, 4, 6]);
    let lines = site.catalogue().query_row(
        "SELECT GROUP_CONCAT(DISTINCT substr(job_id, -1)) FROM execution_logs WHERE job_id LIKE '00000001-%'",
        [],
        |row| row.get::<_, String>(0),
    );
    assert_eq!(lines.unwrap(), "2,4", "a dead letter keeps its log");
    assert_eq!(left(&site, "backups", 2), [2, 3, 4, 5, 6], "only what did not succeed, left nothing and is old");
    assert_eq!(left(&site, "schedule_runs", 4), [2, 4], "what waits, and the newest");
    assert_eq!((left(&site, "notices", 6), left(&site, "deliveries", 7)), (vec![2, 3], vec![2, 3]), "what is yet to be told stays");
    assert_eq!(left(&site, "audit_events", 8), [2]);
    assert_eq!(left(&site, "restores", 10), [2, 4, 5], "what runs, waits or is young");
    assert_eq!(left(&site, "diffs", 9), [2, 4, 5], "and that of which rows are being restored");
    assert_eq!((1..=5).filter(|n| report(&site, *n).exists()).collect::<Vec<_>>(), [2, 4, 5]);
    let removed = json!({"logLines": 9, "jobs": 2, "scheduleRuns": 2, "deliveries": 1, "notices": 1, "failedBackups": 2, "auditEvents": 1,
        "restores": 2, "comparisons": 2});
    assert_eq!(job["report"]["removed"], removed);
    let words = job["report"]["words"].to_string();
    for told in ["9 log lines were removed.", "2 restores were removed.", "2 comparisons were removed."] {
        assert!(words.contains(told), "{told}: {job}");
    }
    let audit = site.api(Method::GET, "/api/audit", Value::Null).await.json;
    assert!(audit.to_string().contains("audit.rotate"), "a trail that was shortened says so: {audit}");
    let page = site.page("/settings").await;
    assert!(page.contains("9 log lines were removed."), "the page shows the report");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_goes_only_after_its_report_and_is_tried_again() {
    let mut site = Site::idle().await;
    let database = site.add_database("shop", 3).await;
    fill(&site, &database);
    // A folder in the place of a report: it cannot be removed as a file.
    std::fs::remove_file(report(&site, 1)).unwrap();
    std::fs::create_dir(report(&site, 1)).unwrap();
    let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": "cleanup"})).await.id();
    site.begin().await;
    let job = site.wait(&format!("/api/jobs/{job}")).await;
    assert_eq!(job["status"], "failed", "{job}");
    assert!(left(&site, "diffs", 9).contains(&1), "its row stays");
    assert_eq!(left(&site, "jobs", 1), [2, 4, 6], "and keeps nothing else from going");
    std::fs::remove_dir(report(&site, 1)).unwrap();
    let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": "cleanup"})).await.id();
    assert_eq!(site.wait(&format!("/api/jobs/{job}")).await["status"], "completed");
    assert_eq!(left(&site, "diffs", 9), [2, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_old_when_the_settings_keep_it_for_ever() {
    let mut site = Site::idle().await;
    let database = site.add_database("shop", 3).await;
    fill(&site, &database);
    let settings = json!({"logRetentionDays": 0, "historyRetentionDays": 0, "auditRetentionDays": 0});
    assert_eq!(site.api(Method::PUT, "/api/system/settings", settings).await.status, StatusCode::OK);
    let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": "cleanup"})).await.id();
    site.begin().await;
    let job = site.wait(&format!("/api/jobs/{job}")).await;
    assert_eq!((&job["status"], &job["report"]["removed"]), (&json!("completed"), &Value::Null), "{job}");
    assert_eq!((left(&site, "jobs", 1).len(), left(&site, "audit_events", 8).len()), (5, 2));
    assert_eq!((left(&site, "restores", 10).len(), left(&site, "diffs", 9).len()), (5, 5));
}

#[tokio::test]
async fn a_job_that_is_open_or_whose_consequences_nobody_has_seen_to_is_never_old() {
    let site = Site::idle().await;
    let database = site.add_database("shop", 3).await;
    fill(&site, &database);
    site.catalogue()
        .execute_batch(&format!(
            "UPDATE jobs SET followed_up = FALSE WHERE id = '{}'; UPDATE jobs SET status = 'queued' WHERE id = '{}'",
            id(1, 1),
            id(1, 3)
        ))
        .unwrap();
    for old in [Old::LogLines, Old::LogLinesOfJobs, Old::Jobs] {
        rotation::delete_batch(&site.ctx.db, old, Moment::now(), 500).await.unwrap();
    }
    assert_eq!(left(&site, "jobs", 1), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_job_went_is_still_shown() {
    let site = Site::open().await;
    let database = site.add_database("shop", 3).await;
    let backup = site.back_up(&database).await;
    site.catalogue().execute_batch("PRAGMA foreign_keys = ON; DELETE FROM jobs").unwrap();
    let page = site.page(&format!("/backups/{}", backup["id"].as_str().unwrap())).await;
    assert!(page.contains("No lines"), "{page}");
    let logs = site.api(Method::GET, &format!("/api/backups/{}/logs", backup["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!((logs.status, &logs.json["data"]), (StatusCode::OK, &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn compacting_and_checking_report_what_they_found() {
    let site = Site::open().await;
    let database = site.add_database("shop", 3).await;
    let backup = site.back_up(&database).await;
    let run = async |task: &str| {
        let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": task})).await;
        assert_eq!(job.status, StatusCode::ACCEPTED, "{}", job.json);
        site.wait(&format!("/api/jobs/{}", job.id())).await
    };
    let vacuum = run("vacuum").await;
    let report = &vacuum["report"];
    assert!(report["bytesBefore"].as_u64() >= report["bytesAfter"].as_u64() && report["bytesAfter"].as_u64() > Some(0), "{vacuum}");
    let verify = run("verify").await;
    assert_eq!(verify["report"]["verifying"], json!([backup["id"]]), "{verify}");
    let jobs = site.api(Method::GET, "/api/jobs?kind=verify", Value::Null).await.json["data"].clone();
    assert_eq!(site.wait(&format!("/api/jobs/{}", jobs[0]["id"].as_str().unwrap())).await["status"], "completed");
    let shown = site.api(Method::GET, &format!("/api/backups/{}", backup["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(shown.json["data"]["verifyState"], "verified");
}

#[tokio::test]
async fn the_days_upkeep_is_queued_once_a_day_at_its_hour_or_at_the_first_chance_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |text: &str| serde_json::from_value::<Moment>(json!(text)).unwrap();
    let clock = Clock::simulated(at("2026-03-27T12:00:00Z"));
    let vars = [("ENCRYPTION_KEY", "a key of the tests that is long enough"), ("TZ", "Europe/Berlin")];
    let config = Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())), folder.path()).unwrap();
    let opened = app::open_at(config, clock.clone()).await.unwrap();
    let ctx = &opened.ctx;
    let catalogue = rusqlite::Connection::open(ctx.db.path()).unwrap();
    // Berlin is an hour ahead until the 29th at 01:00 UTC, and two from then on.
    for (now, expect) in [
        ("2026-03-27T12:00:00Z", 0),
        ("2026-03-27T23:30:00Z", 0),
        ("2026-03-28T01:59:00Z", 0),
        ("2026-03-28T02:00:00Z", 2),
        ("2026-03-28T03:00:00Z", 0),
        ("2026-03-29T00:59:00Z", 0),
        ("2026-03-29T01:00:00Z", 2),
        ("2026-03-29T22:30:00Z", 0),
        ("2026-03-31T18:00:00Z", 2),
        ("2026-03-31T19:00:00Z", 0),
    ] {
        clock.set(at(now));
        let queued = maintenance::daily(ctx).await.unwrap();
        assert_eq!(queued.len(), expect, "{now}: {queued:?}");
        assert!(queued.iter().all(|job| job.status == JobStatus::Queued && job.payload["daily"] == true));
        catalogue.execute("UPDATE jobs SET status = 'completed'", []).unwrap();
    }
}

#[tokio::test]
async fn a_task_that_waits_already_is_not_queued_twice() {
    let site = Site::idle().await;
    let start = async |task| maintenance::start(&Arc::clone(&site.ctx), &Actor::system(), task).await.unwrap();
    let first: Job = start(MaintenanceTask::Cleanup).await;
    assert_eq!(start(MaintenanceTask::Cleanup).await.id, first.id);
    assert_ne!(start(MaintenanceTask::Verify).await.id, first.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_saved_group_by_group_and_problems_are_told_beside_their_field() {
    let site = Site::open().await;
    let page = site.page("/settings").await;
    for part in ["Backup defaults", "History", "Maintenance", "name=\"logRetentionDays\"", "name=\"maintenanceHour\""] {
        assert!(page.contains(part), "{part} is not on the page");
    }
    let saved = site
        .submit(
            "/settings",
            &[("section", "History"), ("logRetentionDays", "7"), ("historyRetentionDays", "14"), ("auditRetentionDays", "0")],
        )
        .await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let settings = site.api(Method::GET, "/api/system/settings", Value::Null).await.json["data"].clone();
    assert_eq!(
        (&settings["logRetentionDays"], &settings["encrypt"], &settings["maintenanceHour"]),
        (&json!(7), &json!(true), &json!(3)),
        "{settings}"
    );
    let refused = site.submit("/settings", &[("section", "Maintenance"), ("maintenanceHour", "24"), ("verifyBackups", "2")]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let text = refused.text().await.unwrap();
    assert!(
        text.contains("must be a whole number from 0 to 23") && text.contains("value=\"24\"") && text.contains("value=\"14\""),
        "{text}"
    );
}
