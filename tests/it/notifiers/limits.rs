//! Notifiers that are limited to projects and databases, delivering to real sinks: nothing that happens to what they are
//! limited to makes them tell more.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::sink::Sink;
use crate::web::site::Site;

const SOME_ID: &str = "01a1fbdc-63f9-7335-9501-1f48e899c322";

async fn project(site: &Site, name: &str) -> String {
    site.api(Method::POST, "/api/projects", json!({"name": name})).await.id()
}

async fn database_in(site: &Site, name: &str, project: &str) -> String {
    let path = site.folder.path().join(format!("{name}-that-is-not-there.db"));
    let input = json!({"name": name, "engine": "sqlite", "settings": {"path": path}, "projectId": project});
    let made = site.api(Method::POST, "/api/databases", input).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    made.id()
}

fn input(name: &str, sink: &Sink, rules: &Value) -> Value {
    json!({"name": name, "kind": "webhook", "settings": {"url": format!("{}/hook", sink.base())}, "rules": rules})
}

async fn notifier(site: &Site, name: &str, sink: &Sink, rules: Value) -> String {
    let made = site.api(Method::POST, "/api/notifiers", input(name, sink, &rules)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    made.id()
}

async fn shown(site: &Site, id: &str) -> Value {
    site.api(Method::GET, &format!("/api/notifiers/{id}"), Value::Null).await.json["data"].clone()
}

async fn sink() -> Sink {
    Sink::start(|_| (200, String::new())).await
}

/// Titles of the failures that arrived. What this machine says of its own disk is no matter here.
fn failures(sink: &Sink) -> Vec<String> {
    let told = sink.taken();
    let failed = told.iter().map(super::sink::Received::json).filter(|notice| notice["event"] == "backup.failed");
    failed.map(|notice| notice["title"].as_str().unwrap().to_owned()).collect()
}

/// Backs up what is not there, and waits until everybody was told who is to be told: `all` is told of everything.
async fn fail(site: &Site, database: &str, all: &Sink, title: &str) {
    assert_eq!(site.back_up(database).await["status"], "failed");
    let began = Instant::now();
    let mut told = Vec::new();
    while told.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody was told: {title}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        told = failures(all);
    }
    assert_eq!(told, [title]);
    // The deliveries of a notice are queued together with it: those to others are there now, and are awaited.
    let waiting = || {
        let sql = "SELECT COUNT(*) FROM deliveries WHERE status IN ('queued', 'sending')";
        site.catalogue().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    while waiting() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "deliveries wait for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_reaches_the_notifier_of_its_project_and_no_other() {
    let site = Site::open().await;
    let (a, b) = (project(&site, "A").await, project(&site, "B").await);
    let (of_a, of_b, all) = (sink().await, sink().await, sink().await);
    notifier(&site, "of a", &of_a, json!({"projectIds": [a]})).await;
    notifier(&site, "of b", &of_b, json!({"projectIds": [b]})).await;
    notifier(&site, "of all", &all, json!({})).await;
    let (in_a, in_b) = (database_in(&site, "in-a", &a).await, database_in(&site, "in-b", &b).await);
    fail(&site, &in_a, &all, "Backup of in-a failed").await;
    fail(&site, &in_b, &all, "Backup of in-b failed").await;
    assert_eq!(failures(&of_a), ["Backup of in-a failed"]);
    assert_eq!(failures(&of_b), ["Backup of in-b failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_refused_by_its_field() {
    let site = Site::idle().await;
    let sink = sink().await;
    for (rules, field) in [(json!({"databaseIds": [SOME_ID]}), "rules.databaseIds"), (json!({"projectIds": [SOME_ID]}), "rules.projectIds")]
    {
        let refused = site.api(Method::POST, "/api/notifiers", input("lost", &sink, &rules)).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"), "{}", refused.json);
        let problem = &refused.json["error"]["details"]["fields"][0];
        assert_eq!(problem["field"], field, "{}", refused.json);
        assert!(problem["message"].as_str().unwrap().contains(SOME_ID), "{problem}");
    }
    let id = notifier(&site, "found", &sink, json!({})).await;
    let refused = site.api(Method::PUT, &format!("/api/notifiers/{id}"), input("found", &sink, &json!({"projectIds": [SOME_ID]}))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_whose_limits_are_all_removed_is_told_nothing_and_says_so_until_somebody_chooses() {
    let site = Site::open().await;
    let (of_some, all) = (sink().await, sink().await);
    site.api(Method::PUT, "/api/system/settings", json!({"groupMinutes": 0})).await;
    let (team, other) = (project(&site, "Team").await, project(&site, "Other").await);
    let (one, two) = (site.add_database("one", 1).await, database_in(&site, "two", &other).await);
    notifier(&site, "of all", &all, json!({})).await;
    let id = notifier(&site, "of some", &of_some, json!({"projectIds": [team], "databaseIds": [one]})).await;
    let edit = format!("/notifiers/{id}/edit");

    site.api(Method::DELETE, &format!("/api/projects/{team}"), Value::Null).await;
    let view = shown(&site, &id).await;
    assert_eq!((&view["tellsNothing"], &view["removed"]["projectIds"]), (&json!(false), &json!([team])), "one limit is left: {view}");
    assert!(site.page("/notifiers").await.contains("of 1 database<"));

    site.api(Method::DELETE, &format!("/api/databases/{one}"), Value::Null).await;
    assert_eq!(shown(&site, &id).await["tellsNothing"], true);
    assert!(site.page("/notifiers").await.contains("what it was limited to was removed"));
    let form = site.page(&edit).await;
    assert!(form.contains("This notifier is told nothing"), "{form}");
    let audit = site.api(Method::GET, "/api/audit?limit=200", Value::Null).await.json;
    let silenced: Vec<_> = audit["data"].as_array().unwrap().iter().filter(|event| event["action"] == "notifier.silenced").collect();
    assert_eq!(silenced.len(), 1, "only the last removal silences: {audit}");
    assert_eq!(silenced[0]["details"]["name"], "of some");
    assert!(silenced[0]["details"]["because"].as_str().unwrap().contains("the database 'one'"), "{audit}");

    // Saved as the form sends it, and as a program sends back what it read: still limited.
    let url = format!("{}/hook", of_some.base());
    let kept = [
        ("kind", "webhook"),
        ("name", "of some"),
        ("settings.url", &url),
        ("enabled", "true"),
        ("event", "backup.failed"),
        ("leastSeverity", "info"),
        ("project", &team),
        ("database", &one),
    ];
    for (name, value) in kept.iter().skip(6) {
        assert!(form.contains(&format!("name=\"{name}\" value=\"{value}\" checked")), "the form sends the {name} along");
    }
    assert_eq!(site.submit(&format!("/notifiers/{id}"), &kept).await.status(), StatusCode::SEE_OTHER);
    let view = shown(&site, &id).await;
    let saved = site.api(Method::PUT, &format!("/api/notifiers/{id}"), input("of some", &of_some, &view["rules"])).await;
    assert_eq!((saved.status, &saved.json["data"]["tellsNothing"]), (StatusCode::OK, &json!(true)), "{}", saved.json);
    fail(&site, &two, &all, "Backup of two failed").await;
    assert!(of_some.taken().is_empty(), "nothing of another database");

    let chosen = site.api(Method::PUT, &format!("/api/notifiers/{id}"), input("of some", &of_some, &json!({"databaseIds": [two]}))).await;
    assert_eq!(chosen.json["data"]["tellsNothing"], false, "{}", chosen.json);
    fail(&site, &two, &all, "Backup of two failed").await;
    assert_eq!(failures(&of_some), ["Backup of two failed"]);
}
