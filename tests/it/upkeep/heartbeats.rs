//! Heartbeats to a server that really receives.

use std::time::Duration;

use dbsnap::{domain::permissions::Actor, services::schedules};
use reqwest::Method;
use serde_json::{Value, json};

use super::sink::Sink;
use crate::{support::served::wait_until, web::site::Site};

/// Runs a schedule that is watched at `url`: its job.
async fn watched(site: &Site, url: &str) -> String {
    let database = site.add_database("shop", 3).await;
    let input = json!({"name": "nightly", "databaseId": database, "cron": "0 3 * * *", "heartbeatUrl": url, "attempts": 1});
    let made = schedules::create(&site.ctx, &Actor::system(), serde_json::from_value(input).unwrap()).await.unwrap();
    let kept: String = site.catalogue().query_row("SELECT heartbeat_url FROM schedules", [], |row| row.get(0)).unwrap();
    assert!(!kept.contains(url), "whoever reads the catalogue cannot report for us");
    let run = schedules::run_now(&site.ctx, &Actor::system(), made.schedule.id).await.unwrap();
    run.job_id.unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_of_the_start_and_of_the_success() {
    let mut site = Site::idle().await;
    let sink = Sink::start(&[]).await;
    let job = watched(&site, &format!("{}/ping/abc?rid=7", sink.base)).await;
    site.begin().await;
    assert_eq!(site.wait(&format!("/api/jobs/{job}")).await["status"], "completed");
    let received = sink.wait(2).await;
    let mut heard: Vec<_> = received.iter().map(|received| (received.method.as_str(), received.address.as_str())).collect();
    // Each is sent on its own; a quick backup's end may arrive first.
    heard.sort();
    assert_eq!(heard, [("GET", "/ping/abc/start?rid=7"), ("GET", "/ping/abc?rid=7")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_of_a_failure_and_why() {
    let mut site = Site::idle().await;
    let sink = Sink::start(&[]).await;
    let job = watched(&site, &format!("{}/abc/", sink.base)).await;
    let database = site.api(Method::GET, "/api/databases", Value::Null).await.json["data"][0].clone();
    std::fs::remove_file(database["settings"]["path"].as_str().unwrap()).unwrap();
    site.begin().await;
    let job = site.wait(&format!("/api/jobs/{job}")).await;
    assert_eq!(job["status"], "failed");
    let received = sink.wait(2).await;
    let failed = received.iter().find(|received| received.address == "/abc/fail").unwrap_or_else(|| panic!("{received:?}"));
    assert_eq!((failed.method.as_str(), failed.body.as_str()), ("POST", job["error"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_away_for_a_moment_is_told_again() {
    let mut site = Site::idle().await;
    let sink = Sink::start(&[503, 503]).await;
    let job = watched(&site, &format!("{}/abc", sink.base)).await;
    site.begin().await;
    assert_eq!(site.wait(&format!("/api/jobs/{job}")).await["status"], "completed", "the backup does not wait for its watcher");
    // Two outcomes, and two answers that asked to come again.
    let received = sink.wait(4).await;
    for address in ["/abc", "/abc/start"] {
        assert!(received.iter().any(|received| received.address == address), "{address}: {received:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_stays_away_is_in_the_log_of_the_job_without_its_address() {
    let mut site = Site::idle().await;
    let job = watched(&site, "http://127.0.0.1:1/s3cret").await;
    site.begin().await;
    assert_eq!(site.wait(&format!("/api/jobs/{job}")).await["status"], "completed");
    let log = async || site.api(Method::GET, &format!("/api/jobs/{job}/logs"), Value::Null).await.json.to_string();
    wait_until("it is in the job's log", async || log().await.contains("the heartbeat of 'nightly' could not be sent")).await;
    assert!(!log().await.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_never_answers_holds_up_nothing() {
    let mut site = Site::idle().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let job = watched(&site, &format!("http://{}/abc", silent.local_addr().unwrap())).await;
    site.begin().await;
    let ended = tokio::time::timeout(Duration::from_secs(9), site.wait(&format!("/api/jobs/{job}"))).await;
    assert_eq!(ended.expect("the backup ends before the watcher's time is over")["status"], "completed");
    drop(silent);
}
