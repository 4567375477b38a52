//! A comparison from its beginning to its end, and what an early end leaves: nothing.

use dbsnap::{
    db,
    domain::{
        diff::{Diff, DiffOptions, DiffStatus, SideRef},
        ids::{BackupId, DiffId, OrganizationId},
        time::Moment,
    },
    services,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{back_up, backups, changes, compare, reports, sqlite, start, table, with_live};
use crate::web::site::Site;

const MANY: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, said TEXT);
    CREATE TABLE z (id INTEGER PRIMARY KEY, said TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) INSERT INTO a SELECT i, 'row ' || i FROM n;
    INSERT INTO z SELECT id, said FROM a";

/// Waits until `seen` says so, woken by what the product tells.
async fn until(site: &Site, what: &str, mut seen: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut events = site.ctx.events.subscribe();
    while !seen().await {
        let event = tokio::time::timeout_at(deadline, events.recv()).await;
        assert!(event.is_ok(), "{what} did not happen within a minute");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_rows_are_seen_while_the_rest_is_compared_and_a_cancel_leaves_nothing() {
    let site = Site::open().await;
    let (database, connection) = sqlite(&site, MANY).await;
    let first = back_up(&site, &database).await;
    connection.execute_batch("UPDATE a SET said = 'other' WHERE id % 100 = 0").unwrap();
    let mut request = with_live(&first, &database);
    request["options"] = json!({"rowsPerSecond": 20000});
    let id = start(&site, request).await;
    let place = format!("/api/diffs/{id}");
    let running = json!({"id": id});
    let mut first_rows = Value::Null;
    until(&site, "a row", async || {
        let now = site.api(Method::GET, &place, Value::Null).await.json["data"].clone();
        assert!(now["status"] != "completed" && now["status"] != "failed", "{now}");
        if now["status"] == "running" && !reports(&site).is_empty() {
            let answer = site.api(Method::GET, &format!("{place}/changes?table=a&limit=5"), Value::Null).await;
            first_rows = answer.json["data"].clone();
        }
        first_rows["changes"].as_array().is_some_and(|changes| !changes.is_empty())
    })
    .await;
    assert_eq!(first_rows["changes"][0]["key"][0], "100", "{first_rows}");
    let busy = site.api(Method::DELETE, &format!("/api/backups/{}", first["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(busy.status, StatusCode::CONFLICT, "a backup that is compared stays: {}", busy.json);
    let refused = site.api(Method::DELETE, &place, Value::Null).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.json);

    assert_eq!(site.api(Method::POST, &format!("{place}/cancel"), Value::Null).await.status, StatusCode::OK);
    let over = site.wait(&place).await;
    assert_eq!((&over["status"], &over["summary"]), (&json!("cancelled"), &Value::Null), "{over}");
    assert_eq!(reports(&site), Vec::<String>::new());
    let nothing = site.api(Method::GET, &format!("/api/diffs/{}/changes?table=a", running["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(nothing.status, StatusCode::CONFLICT, "{}", nothing.json);

    let retried = site.api(Method::POST, &format!("/api/jobs/{}/retry", over["jobId"].as_str().unwrap()), Value::Null).await;
    assert_eq!(retried.status, StatusCode::ACCEPTED, "{}", retried.json);
    site.api(Method::POST, &format!("{place}/cancel"), Value::Null).await;
    assert_eq!(site.wait(&place).await["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_comparison_outlives_its_backups_and_goes_with_its_file() {
    let site = Site::open().await;
    let (database, connection) = sqlite(&site, "CREATE TABLE t (id INTEGER PRIMARY KEY, said TEXT); INSERT INTO t VALUES (1, 'a')").await;
    let first = back_up(&site, &database).await;
    connection.execute_batch(&format!("UPDATE t SET said = '{}'", "long ".repeat(2000))).unwrap();
    let second = back_up(&site, &database).await;
    let diff = compare(&site, backups(&first, &second)).await;
    for backup in [&first, &second] {
        let gone = site.api(Method::DELETE, &format!("/api/backups/{}", backup["id"].as_str().unwrap()), Value::Null).await;
        assert_eq!(gone.status, StatusCode::OK, "{}", gone.json);
    }
    let seen = changes(&site, &diff, "table=t").await;
    let cell = &seen["changes"][0]["cells"][1];
    assert_eq!((&cell["before"]["text"], &cell["after"]["cut"], &cell["after"]["bytes"]), (&json!("a"), &json!(true), &json!(10000)));
    let place = format!("/api/diffs/{}", diff["id"].as_str().unwrap());
    let whole = site.api(Method::GET, &format!("{place}/value?table=t&at=0&column=said&side=after"), Value::Null).await;
    assert_eq!(whole.json["data"]["text"].as_str().unwrap().len(), 10000);
    assert_eq!(reports(&site).len(), 1);
    let listed = site.api(Method::GET, &format!("/api/diffs?databaseId={database}"), Value::Null).await;
    assert_eq!((&listed.json["meta"]["total"], &listed.json["data"][0]["id"]), (&json!(1), &diff["id"]));
    assert_eq!(site.api(Method::DELETE, &place, Value::Null).await.status, StatusCode::OK);
    assert_eq!(reports(&site), Vec::<String>::new());
    assert_eq!(site.api(Method::GET, &place, Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_nothing_of_an_unfinished_comparison_is_left() {
    let site = Site::idle().await;
    let (database, _connection) = sqlite(&site, "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let left = Diff {
        id: DiffId::new(),
        database_id: Some(database.parse().unwrap()),
        database_name: "shop".into(),
        engine: "sqlite".into(),
        before: SideRef::BackupId(BackupId::new()),
        after: SideRef::DatabaseId(database.parse().unwrap()),
        before_label: "then".into(),
        after_label: "now".into(),
        options: DiffOptions::default(),
        status: DiffStatus::Running,
        job_id: None,
        created_at: Moment::now(),
        started_at: Some(Moment::now()),
        finished_at: None,
        error: None,
        report_size: 0,
        summary: None,
    };
    db::diffs::insert(&site.ctx.db, OrganizationId::DEFAULT, &left).await.unwrap();
    std::fs::create_dir_all(site.ctx.reports()).unwrap();
    for name in [format!("{}.report", left.id), "nobody.report".into()] {
        std::fs::write(site.ctx.reports().join(name), b"half").unwrap();
    }
    services::recover(&site.ctx).await.unwrap();
    let found = db::diffs::get(&site.ctx.db, OrganizationId::DEFAULT, left.id).await.unwrap();
    assert_eq!(found.status, DiffStatus::Interrupted);
    assert!(found.error.is_some() && found.finished_at.is_some());
    assert_eq!(reports(&site), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_what_changed_and_not_the_values() {
    let site = Site::locked().await;
    site.set_up().await;
    let (database, connection) = sqlite(&site, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let first = back_up(&site, &database).await;
    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    let diff = compare(&site, with_live(&first, &database)).await;
    assert_eq!(table(&diff, "t")["added"], 1);
    let cookie = site.sign_in_as("viewer").await;
    let place = format!("{}/api/diffs/{}", site.base, diff["id"].as_str().unwrap());
    let viewer = reqwest::Client::new();
    let as_viewer = async |path: &str| viewer.get(format!("{place}{path}")).header("cookie", &cookie).send().await.unwrap().status();
    assert_eq!([as_viewer("").await, as_viewer("/tables").await, as_viewer("/schema").await], [StatusCode::OK; 3]);
    for path in ["/changes?table=t", "/value?table=t&at=0&column=id&side=after", "/patch"] {
        assert_eq!(as_viewer(path).await, StatusCode::FORBIDDEN, "{path}");
    }
}
