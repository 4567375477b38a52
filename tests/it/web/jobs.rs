//! The queue through API and pages: dead letters, priorities, the log as a file.

use std::fs;

use dbsnap::{
    db::{self, logs::NewLine},
    domain::{
        job::{JobKind, LogLevel},
        time::Moment,
    },
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

/// Two backups that failed for good; the ids of their jobs.
async fn fail_twice(site: &Site) -> [String; 2] {
    let lost = site.add_database("lost", 1).await;
    let source = site.api(Method::GET, &format!("/api/databases/{lost}"), Value::Null).await;
    fs::remove_file(source.json["data"]["settings"]["path"].as_str().unwrap()).unwrap();
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let failed = site.back_up(&lost).await;
        let job = failed["jobId"].as_str().unwrap().to_owned();
        assert_eq!(site.wait(&format!("/api/jobs/{job}")).await["dead"], true);
        jobs.push(job);
    }
    jobs.try_into().unwrap()
}

async fn dead(site: &Site) -> u64 {
    site.api(Method::GET, "/api/jobs?dead=true", Value::Null).await.json["meta"]["total"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_with_their_cause_and_dealt_with_by_api_and_by_form() {
    let site = Site::open().await;
    let [first, second] = fail_twice(&site).await;
    let page = site.page("/jobs?dead=true").await;
    assert!(page.contains("Dead letters (2)") && page.contains(&format!("/jobs/{first}#log")) && page.contains("name=\"ids\""), "{page}");
    let cause = site.api(Method::GET, &format!("/api/jobs/{first}"), Value::Null).await.json["data"]["error"].as_str().unwrap().to_owned();
    assert!(page.contains(&cause.replace('\'', "&#39;")), "{cause} is not in {page}");

    assert!(site.page(&format!("/jobs/{first}")).await.contains("action=\"/jobs/drop\""), "one can be dropped where its log is");
    let none = site.submit("/jobs/drop", &[]).await;
    assert_eq!(none.status(), StatusCode::BAD_REQUEST, "nothing was chosen");
    let dropped = site.submit("/jobs/drop", &[("ids", &first)]).await;
    assert_eq!(dropped.headers()["location"], "/jobs?dead=true&notice=dropped");
    assert_eq!(dead(&site).await, 1);
    let retried = site.api(Method::POST, "/api/jobs/retry", json!({"all": true, "kind": "backup"})).await;
    assert_eq!((retried.status, &retried.json["data"]["done"]), (StatusCode::OK, &json!([second])), "{}", retried.json);
    let again = site.api(Method::POST, "/api/jobs/drop", json!({"ids": [second]})).await;
    assert_eq!(again.json["data"]["done"], json!([]));
    for wrong in [json!({}), json!({"all": true, "ids": [first]}), json!({"every": true})] {
        assert_eq!(site.api(Method::POST, "/api/jobs/drop", wrong).await.code(), "VALIDATION_ERROR");
    }
    let audit = site.api(Method::GET, "/api/audit", Value::Null).await.json.to_string();
    assert!(audit.contains("job.drop") && audit.contains("job.retry"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_gets_a_priority_and_the_queue_tells_its_depth() {
    let site = Site::idle().await;
    let shop = site.add_database("shop", 3).await;
    let backup = site.api(Method::POST, "/api/backups", json!({"databaseId": shop})).await;
    let job = backup.json["data"]["jobId"].as_str().unwrap().to_owned();
    let change = async |body: Value| site.api(Method::PUT, &format!("/api/jobs/{job}"), body).await;
    assert_eq!(change(json!({"priority": 5})).await.json["data"]["priority"], 5);
    assert_eq!(change(json!({"priority": 500})).await.code(), "VALIDATION_ERROR");
    let form = site.submit(&format!("/jobs/{job}/priority"), &[("priority", "-3")]).await;
    assert_eq!(form.headers()["location"].to_str().unwrap(), format!("/jobs/{job}?notice=saved"));
    assert!(site.page(&format!("/jobs/{job}")).await.contains("value=\"-3\""));
    let queue = site.api(Method::GET, "/api/jobs/queue", Value::Null).await.json["data"].clone();
    assert_eq!((&queue["due"], &queue["running"], &queue["workers"]), (&json!(1), &json!(0), &json!([])));
    assert_eq!(queue["depth"], json!([{"kind": JobKind::Backup, "due": 1, "waiting": 0, "running": 0}]));
    site.api(Method::POST, &format!("/api/jobs/{job}/cancel"), Value::Null).await;
    assert_eq!(change(json!({"priority": 5})).await.code(), "CONFLICT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_a_file_to_take_away_however_long_it_is() {
    let site = Site::open().await;
    let [job, _] = fail_twice(&site).await;
    let id = job.parse().unwrap();
    let line = |n: u32| NewLine { job_id: id, at: Moment(n.into()), level: LogLevel::Debug, message: format!("line {n}\nforged") };
    db::logs::append(&site.ctx.db, &(0..2500).map(line).collect::<Vec<_>>()).await.unwrap();
    let text = site.get(&format!("/api/jobs/{job}/logs?format=text")).await;
    assert!(text.headers()["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"dbsnap-job-"));
    let text = text.text().await.unwrap();
    assert_eq!(text.lines().filter(|line| line.ends_with("\\nforged")).count(), 2500, "one line each");
    assert!(text.contains("error attempt 1 of"), "{}", &text[..500]);
    let json = site.get(&format!("/api/jobs/{job}/logs?format=ndjson&level=error")).await.text().await.unwrap();
    let levels: Vec<_> = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].clone()).collect();
    assert_eq!(levels, ["error"], "only what was asked for");
    assert_eq!(site.api(Method::GET, &format!("/api/jobs/{job}/logs?format=xml"), Value::Null).await.code(), "VALIDATION_ERROR");
}
