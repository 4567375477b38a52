//! What monitoring systems see: figures, health, and the documents that name them.

use std::{collections::BTreeSet, fs, path::Path, sync::atomic::Ordering, time::Duration};

use dbsnap::domain::time::Moment;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

const TOKEN: &str = "a-token-of-the-tests";

/// The value of the first series whose line begins so.
fn value(figures: &str, series: &str) -> Option<f64> {
    let line = figures.lines().find(|line| line.starts_with(series))?;
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn catalogue(site: &Site) -> rusqlite::Connection {
    rusqlite::Connection::open(site.folder.path().join("data/dbsnap.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_how_each_database_is_protected_and_never_count_backwards() {
    let site = Site::open().await;
    let shop = site.add_database("shop \"1\"", 50).await;
    let lost = site.add_database("lost", 1).await;
    let good = site.back_up(&shop).await;
    let source = site.api(Method::GET, &format!("/api/databases/{lost}"), Value::Null).await;
    fs::remove_file(source.json["data"]["settings"]["path"].as_str().unwrap()).unwrap();
    let failed = site.back_up(&lost).await;
    // The job ends a moment after its backup.
    assert_eq!(site.wait(&format!("/api/jobs/{}", failed["jobId"].as_str().unwrap())).await["status"], "failed");

    let figures = site.page("/metrics").await;
    assert!(figures.ends_with("# EOF\n"));
    let of_shop = |name: &str| value(&figures, &format!("dbsnap_{name}{{database=\"shop \\\"1\\\"\""));
    let backups =
        |database: &str, status: &str| value(&figures, &format!("dbsnap_backups_total{{database=\"{database}\",status=\"{status}\"}}"));
    assert_eq!((backups("shop \\\"1\\\"", "completed"), backups("shop \\\"1\\\"", "failed")), (Some(1.0), Some(0.0)), "{figures}");
    assert_eq!(value(&figures, "dbsnap_backups_total{database=\"lost\",status=\"failed\"}"), Some(1.0), "{figures}");
    let stored: f64 = good["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["storedSize"].as_f64().unwrap()).sum();
    assert_eq!(of_shop("backup_size_bytes"), Some(stored));
    let made: Moment = serde_json::from_value(good["createdAt"].clone()).unwrap();
    assert_eq!(of_shop("last_success_timestamp_seconds"), Some(made.0 as f64 / 1000.0));
    assert!(of_shop("last_success_age_seconds").is_some_and(|age| age < 60.0) && of_shop("backup_duration_seconds").is_some());
    assert_eq!(value(&figures, "dbsnap_last_success_timestamp_seconds{database=\"lost\""), None, "it never was backed up");
    assert!(value(&figures, "dbsnap_last_success_age_seconds{database=\"lost\"").is_some(), "but waits for it");
    assert_eq!(value(&figures, "dbsnap_dead_letters"), Some(1.0));
    assert_eq!(value(&figures, "dbsnap_store_up{store=\"Local\"}"), Some(1.0));
    assert!(value(&figures, "dbsnap_store_free_bytes{store=\"Local\"}").is_some_and(|free| free > 0.0));
    // The one that has just ended a job may still see to what follows from it.
    let workers = ["idle", "running"].map(|state| value(&figures, &format!("dbsnap_workers{{state=\"{state}\"}}")).unwrap());
    assert!(workers[0] + workers[1] >= 1.0, "{workers:?}");

    let deleted = site.api(Method::DELETE, &format!("/api/backups/{}", good["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(deleted.status, StatusCode::OK);
    let renamed = site.api(Method::GET, &format!("/api/databases/{shop}"), Value::Null).await.json["data"].clone();
    let renamed = json!({"name": "store", "engine": "sqlite", "settings": renamed["settings"]});
    assert_eq!(site.api(Method::PUT, &format!("/api/databases/{shop}"), renamed).await.status, StatusCode::OK);
    site.back_up(&shop).await;
    let figures = site.page("/metrics").await;
    let counted = value(&figures, "dbsnap_backups_total{database=\"store\",status=\"completed\"}");
    assert_eq!(counted, Some(2.0), "a counter outlives what it counted, and a rename: {figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_store_are_counted() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 5).await;
    assert_eq!(value(&site.page("/metrics").await, "dbsnap_store_errors_total{store=\"Local\"}"), Some(0.0));
    break_local_store(&site);
    assert_eq!(site.back_up(&shop).await["status"], "failed");
    let errors = value(&site.page("/metrics").await, "dbsnap_store_errors_total{store=\"Local\"}");
    assert!(errors.is_some_and(|errors| errors >= 1.0), "{errors:?}");
}

/// A file where its folder should be.
fn break_local_store(site: &Site) {
    let folder = site.folder.path().join("data/backups");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(folder, "in the way").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_for_those_who_may_read_them() {
    let stranger = Client::new();
    let asks = async |site: &Site, token: Option<&str>| {
        let request = stranger.get(format!("{}/metrics", site.base));
        token.map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token)).send().await.unwrap().status()
    };
    let site = Site::start(&[("METRICS_TOKEN", TOKEN)]).await;
    site.set_up().await;
    let key = site.api(Method::POST, "/api/api-keys", json!({"name": "prometheus", "role": "viewer"})).await;
    let key = key.json["data"]["key"].as_str().unwrap().to_owned();
    for (token, expect) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("a-token-of-the-testt"), StatusCode::UNAUTHORIZED),
        (Some(""), StatusCode::UNAUTHORIZED),
        (Some(TOKEN), StatusCode::OK),
        (Some(key.as_str()), StatusCode::OK),
    ] {
        assert_eq!(asks(&site, token).await, expect, "{token:?}");
    }
    assert_eq!(site.get("/metrics").await.status(), StatusCode::OK, "a session");
    let elsewhere = stranger.get(format!("{}/api/databases", site.base)).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::UNAUTHORIZED, "the token opens nothing else");

    let site = Site::locked().await;
    assert_eq!(asks(&site, Some(TOKEN)).await, StatusCode::UNAUTHORIZED);
    let site = Site::open().await;
    assert_eq!(asks(&site, None).await, StatusCode::OK);
    let site = Site::start(&[("AUTH_MODE", "none"), ("METRICS_TOKEN", TOKEN)]).await;
    assert_eq!((asks(&site, None).await, asks(&site, Some(TOKEN)).await), (StatusCode::UNAUTHORIZED, StatusCode::OK));
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_is_wrong_to_those_who_are_signed_in() {
    let site = Site::locked().await;
    site.set_up().await;
    let stranger = Client::new();
    let ready = async |client: &Client| {
        let response = client.get(format!("{}/api/health/ready", site.base)).send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let (status, seen) = ready(&stranger).await;
    assert_eq!((status, &seen["data"]), (StatusCode::OK, &json!({"status": "ok"})));
    let (_, seen) = ready(&site.client).await;
    let names: Vec<_> = seen["data"]["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["catalogue", "localStore", "disk", "workers", "scheduler", "loops"]);

    site.ctx.scheduler_seen.store(Moment::now().0 - 600_000, Ordering::Relaxed);
    site.ctx.loops.begin("made up", Duration::ZERO);
    break_local_store(&site);
    let (status, seen) = ready(&stranger).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!seen.to_string().contains("scheduler") && !seen.to_string().contains("backups"), "{seen}");
    let (status, seen) = ready(&site.client).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let failed: Vec<_> =
        seen["error"]["details"]["fields"].as_array().unwrap().iter().map(|field| field["field"].as_str().unwrap()).collect();
    assert_eq!(failed, ["localStore", "scheduler", "loops"], "{seen}");
    assert_eq!(site.get("/api/health/live").await.status(), StatusCode::OK, "it lives all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_that_the_documents_name_exists_and_every_one_that_exists_is_documented() {
    let site = Site::open().await;
    let shop = site.add_database("shop", 5).await;
    site.back_up(&shop).await;
    site.ctx.scheduler_seen.store(Moment::now().0, Ordering::Relaxed);
    let home = "00000000-0000-0000-0000-000000000001";
    let rows = format!(
        "INSERT INTO schedules (id, organization_id, database_id, name, enabled, cron, time_zone, details, next_run_at, created_at, updated_at)
         VALUES ('s', '{home}', '{shop}', 'nightly', TRUE, '0 3 * * *', 'UTC', '{{}}', 4102444800000, 0, 0);
         INSERT INTO notifiers (id, organization_id, name, kind, settings, enabled, rules, created_at, updated_at)
         VALUES ('n', '{home}', 'mail', 'email', '{{}}', TRUE, '{{}}', 0, 0);
         INSERT INTO deliveries (id, notifier_id, status, attempt, run_after, created_at) VALUES ('d', 'n', 'failed', 5, 0, 0);"
    );
    catalogue(&site).execute_batch(&rows).unwrap();
    let figures = site.page("/metrics").await;
    assert_eq!(value(&figures, "dbsnap_next_run_timestamp_seconds{schedule=\"nightly\"}"), Some(4_102_444_800.0));
    assert_eq!(value(&figures, "dbsnap_notification_deliveries{notifier=\"mail\",status=\"failed\"}"), Some(1.0));
    let exist: BTreeSet<String> =
        figures.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect();
    for one in ["workers", "sweep", "scheduler", "deliver", "watch", "upkeep"] {
        assert_eq!(value(&figures, &format!("dbsnap_loop_faults_total{{loop=\"{one}\"}}")), Some(0.0), "{figures}");
    }
    let monitoring = named("docs/monitoring.md");
    for file in ["docs/monitoring.md", "docs/prometheus-rules.yml", "docs/grafana-dashboard.json"] {
        let named = named(file);
        assert!(named.len() > 8, "{file} names only {named:?}");
        let missing: Vec<_> = named.difference(&exist).collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, which /metrics does not have: {figures}");
    }
    let undocumented: Vec<_> = exist.difference(&monitoring).collect();
    assert!(undocumented.is_empty(), "docs/monitoring.md says nothing of {undocumented:?}");
}

/// Everything in the file that is called like a figure.
fn named(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("dbsnap_")).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_rules_can_be_imported() {
    let read = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let dashboard: Value = serde_json::from_str(&read("docs/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    for panel in panels {
        assert!(panel["targets"].as_array().unwrap().iter().all(|target| target["expr"].is_string()), "{}", panel["title"]);
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{}", panel["title"]);
    }
    let rules = read("docs/prometheus-rules.yml");
    let count = |part: &str| rules.lines().filter(|line| line.trim_start().starts_with(part)).count();
    assert!(count("- alert: ") >= 10 && !rules.contains('\t'));
    assert_eq!([count("expr: "), count("severity: "), count("summary: "), count("description: ")], [count("- alert: "); 4]);
}
