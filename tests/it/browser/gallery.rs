//! Every page, wide and narrow, light and dark: nothing is cut off or refused by the browser. Pictures go to target/screens.

use reqwest::Method;
use serde_json::{Value, json};

use super::driver::{Browser, PHONE, WIDE};
use crate::web::site::Site;

/// A name that no layout expects.
const LONG: &str = "warehouse-replica-of-the-north-european-fulfilment-centre-orders-and-returns-archive-2019-2026";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_installation_says_what_to_do_first() {
    let site = Site::open().await;
    let browser = Browser::open(&site.base).await;
    for (name, path) in [
        ("empty-overview", "/"),
        ("empty-databases", "/databases"),
        ("empty-backups", "/backups"),
        ("empty-schedules", "/schedules"),
        ("empty-restores", "/restores"),
        ("empty-source", "/restore/new"),
        ("empty-jobs", "/jobs"),
        ("empty-dead-letters", "/jobs?dead=true"),
        ("empty-logs", "/logs"),
        ("empty-audit", "/audit"),
        ("empty-retention", "/retention-policies"),
        ("empty-retention-plan", "/retention-policies/plan"),
        ("empty-retention-new", "/retention-policies/new"),
        ("projects-one", "/projects"),
        ("stores", "/stores"),
    ] {
        look_at(&browser, name, path).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_wide_and_narrow_windows_in_light_and_dark() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 400).await;
    let long = site.add_database(LONG, 20).await;
    let lost = site.add_database("lost", 1).await;
    let good = site.back_up(&shop).await;
    site.back_up(&long).await;
    let missing = site.api(Method::GET, &format!("/api/databases/{lost}"), Value::Null).await;
    std::fs::remove_file(missing.json["data"]["settings"]["path"].as_str().unwrap()).unwrap();
    let failed = site.back_up(&lost).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let dead = failed["jobId"].clone();
    let good = good["id"].as_str().unwrap().to_owned();
    let verify = site.api(Method::POST, &format!("/api/backups/{good}/verify"), Value::Null).await.id();
    assert_eq!(site.wait(&format!("/api/jobs/{verify}")).await["status"], "completed");
    let target = site.folder.path().join("restored.db");
    let request = json!({"backupId": good, "databaseId": shop, "plan": {"mode": "new", "targetName": target}, "confirm": "restored.db"});
    let restore = site.api(Method::POST, "/api/restores", request).await.id();
    assert_eq!(site.wait(&format!("/api/restores/{restore}")).await["status"], "completed");

    let nightly = json!({"name": "shop every night", "databaseId": shop, "cron": "30 2 * * *", "timeZone": "Europe/Berlin",
        "blackouts": [{"from": "08:00", "to": "18:00", "days": ["monday", "friday"]}], "load": {"maxHostLoad": 0.8}});
    let schedule = site.api(Method::POST, "/api/schedules", nightly).await.id();
    let run = site.api(Method::POST, &format!("/api/schedules/{schedule}/run"), Value::Null).await;
    site.wait(&format!("/api/backups/{}", run.json["data"]["backupId"].as_str().unwrap())).await;
    site.api(Method::POST, "/api/schedules", json!({"name": LONG, "databaseId": long, "cron": "*/20 1-5 * * 1-5", "enabled": false})).await;
    let policy = json!({"name": "7 days, 4 weeks, 12 months", "mode": "hybrid", "keepDaily": 7, "keepWeekly": 4, "keepMonthly": 12, "maxAgeDays": 400, "timezone": "Europe/Berlin"});
    let policy = site.api(Method::POST, "/api/retention-policies", policy).await.id();
    site.back_up(&shop).await;
    site.api(Method::PUT, &format!("/api/databases/{shop}/retention-policy"), json!({"policyId": policy})).await;
    let archive = json!({"name": "archive", "kind": "local", "settings": {"path": site.folder.path().join("archive")}});
    let archive = site.api(Method::POST, "/api/stores", archive).await.id();
    for task in ["cleanup", "verify"] {
        let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": task})).await.id();
        site.wait(&format!("/api/jobs/{job}")).await;
    }

    let trial = site.api(Method::POST, "/api/projects", json!({"name": LONG, "environment": "staging"})).await.id();
    let hook = json!({"url": "http://127.0.0.1:9/hook"});
    let gone = site.add_database("gone", 1).await;
    let limited = json!({"name": "of what was removed", "kind": "webhook", "settings": hook, "rules": {"databaseIds": [gone]}});
    let limited = site.api(Method::POST, "/api/notifiers", limited).await.id();
    let both = json!({"name": LONG, "kind": "webhook", "settings": hook, "rules": {"projectIds": [trial], "databaseIds": [shop]}});
    site.api(Method::POST, "/api/notifiers", both).await;
    site.api(Method::DELETE, &format!("/api/databases/{gone}"), Value::Null).await;
    let stored = site.api(Method::GET, &format!("/api/databases/{long}"), Value::Null).await.json;
    let moved = json!({"name": LONG, "engine": "sqlite", "settings": stored["data"]["settings"], "projectId": trial});
    site.api(Method::PUT, &format!("/api/databases/{long}"), moved).await;

    let browser = Browser::open(&site.base).await;
    let (failed, long_page) = (failed["id"].as_str().unwrap(), format!("/databases/{long}"));
    for (name, path) in [
        ("overview", "/".to_owned()),
        ("databases", "/databases".into()),
        ("database", format!("/databases/{shop}")),
        ("database-long", long_page),
        ("database-new", "/databases/new?engine=sqlite".into()),
        ("database-new-postgresql", "/databases/new?engine=postgresql".into()),
        ("database-edit", format!("/databases/{shop}/edit")),
        ("backups", "/backups".into()),
        ("backups-none-match", "/backups?status=cancelled".into()),
        ("backup", format!("/backups/{good}")),
        ("backup-failed", format!("/backups/{failed}")),
        ("schedules", "/schedules".into()),
        ("schedule", format!("/schedules/{schedule}")),
        ("schedule-new", "/schedules/new".into()),
        ("schedule-edit", format!("/schedules/{schedule}/edit")),
        ("restores", "/restores".into()),
        ("restore", format!("/restores/{restore}")),
        ("restore-source", "/restore/new".into()),
        ("restore-target", format!("/restore/new?backup={good}")),
        ("restore-plan", format!("/restore/new?backup={good}&database={shop}")),
        ("jobs", "/jobs".into()),
        ("job", format!("/jobs/{verify}")),
        ("dead-letters", "/jobs?dead=true".into()),
        ("dead-letter", format!("/jobs/{}", dead.as_str().unwrap())),
        ("logs", "/logs".into()),
        ("logs-none-match", "/logs?q=nothing-like-it".into()),
        ("audit", "/audit".into()),
        ("retention", "/retention-policies".into()),
        ("retention-plan", "/retention-policies/plan".into()),
        ("retention-edit", format!("/retention-policies/{policy}/edit")),
        ("retention-new", "/retention-policies/new".into()),
        ("stores-two", "/stores".into()),
        ("store-new", "/stores/new".into()),
        ("store-edit", format!("/stores/{archive}/edit")),
        ("projects", "/projects".into()),
        ("project-new", "/projects/new".into()),
        ("project-edit", format!("/projects/{trial}/edit")),
        ("databases-of-project", format!("/databases?projectId={trial}")),
        ("notifiers-limited", "/notifiers".into()),
        ("notifier-told-nothing", format!("/notifiers/{limited}/edit")),
        ("settings", "/settings".into()),
        ("jump", "/jump?q=s".into()),
        ("not-found", "/nowhere".into()),
    ] {
        look_at(&browser, name, &path).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_worker_says_so_and_can_be_cancelled() {
    let site = Site::idle().await;
    let shop = site.add_database("shop", 3).await;
    let backup = site.api(Method::POST, "/api/backups", json!({"databaseId": shop})).await.id();
    let browser = Browser::open(&site.base).await;
    look_at(&browser, "waiting-overview", "/").await;
    look_at(&browser, "waiting-jobs", "/jobs").await;
    let job = site.api(Method::GET, "/api/jobs", Value::Null).await.json["data"][0]["id"].as_str().unwrap().to_owned();
    look_at(&browser, "waiting-job", &format!("/jobs/{job}")).await;
    look_at(&browser, "waiting-backup", &format!("/backups/{backup}")).await;
    browser.wait_text("Waiting for a free worker").await;
    browser.click("form[action$='/cancel'] button").await;
    browser.wait_text("Nothing of it was kept").await;
    browser.close().await;
}

pub async fn look_at(browser: &Browser, name: &str, path: &str) {
    for (width, size) in [(WIDE, "wide"), (PHONE, "phone")] {
        for colours in ["light", "dark"] {
            browser.look(width, colours).await;
            browser.go(path).await;
            browser.wait("h1").await;
            assert!(!browser.overflows().await, "{path} is wider than a window of {width} pixels");
            let burst = browser.burst_panels().await;
            assert_eq!(burst, json!([]), "{path} in a window of {width} pixels");
            browser.shoot(&format!("{name}-{size}-{colours}")).await;
        }
    }
    let complaints: Vec<String> = browser.complaints().await.into_iter().filter(|line| !line.contains("404")).collect();
    assert!(complaints.is_empty(), "{path}: {complaints:?}");
}
