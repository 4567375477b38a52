//! Who reaches what: every route, without a session, as a viewer, and from another site.

use dbsnap::web::{Entry, entries, openapi};
use reqwest::{Client, Method, Response, StatusCode, redirect::Policy};
use serde_json::{Value, json};

use super::site::{PASSWORD, Site};

const SOME_ID: &str = "01a1fbdc-63f9-7335-9501-1f48e899c322";

/// What a viewer may change: nothing but the viewer's own account.
const OWN: &[&str] = &["/logout", "/account/password", "/account/sessions/{id}/revoke", "/account/keys", "/account/keys/{id}/delete"];
const OWN_API: &[&str] = &["/api/sessions/{id}", "/api/api-keys", "/api/api-keys/{id}"];

/// What a viewer may not even read.
const CLOSED: &[&str] = &[
    "/audit",
    "/api/audit",
    "/api/users",
    "/api/backups/{id}/download",
    "/api/backups/{id}/snapshot",
    "/api/backups/{id}/tables/{table}/rows",
    "/api/backups/{id}/tables/{table}/history",
    "/backups/{id}/browse",
    "/backups/{id}/browse/row",
    "/diffs/{id}/value",
    "/api/diffs/{id}/changes",
    "/api/diffs/{id}/value",
    "/api/diffs/{id}/patch",
    "/databases/new",
    "/notifiers/new",
    "/notifiers/{id}/edit",
    "/databases/{id}/edit",
    "/projects/new",
    "/projects/{id}/edit",
    "/schedules/new",
    "/schedules/tables",
    "/schedules/{id}/edit",
    "/restore/new",
    "/retention-policies/new",
    "/retention-policies/{id}/edit",
    "/stores/new",
    "/stores/{id}/edit",
];

/// What a GET needs to be well formed.
const QUERIES: &[(&str, &str)] = &[
    ("/api/diffs/{id}/value", "?table=t&at=0&column=c&side=after"),
    ("/diffs/{id}/value", "?table=t&at=0&column=c&side=after"),
    ("/api/backups/{id}/tables/{table}/history", "?key=1"),
    ("/backups/{id}/browse/row", "?table=t&key=1"),
];

fn address(entry: &Entry) -> String {
    let query = QUERIES.iter().find(|(path, _)| *path == entry.path).map_or("", |(_, query)| query);
    entry.path.replace("{id}", SOME_ID).replace("{*name}", "app.css").replace("{token}", "made-up").replace("{table}", "t") + query
}

fn stranger() -> Client {
    Client::builder().redirect(Policy::none()).build().unwrap()
}

/// A body that is well formed for the route, so that only the permission can be in its way.
async fn send(client: &Client, base: &str, entry: &Entry, cookie: &str) -> Response {
    let request = client.request(entry.method.clone(), format!("{base}{}", address(entry))).header("cookie", cookie);
    let plan = json!({"databaseId": SOME_ID, "backupId": SOME_ID, "confirm": "x"});
    let database = json!({"name": "x", "engine": "sqlite", "settings": {"path": "/nowhere/x.db"}});
    let request = match (&entry.method, entry.path.as_str()) {
        (&Method::GET, _) => request,
        (_, "/api/restores/upload" | "/restore/upload") => {
            request.multipart(reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(vec![0; 10]).file_name("x")))
        }
        (_, "/api/backups") => request.json(&json!({"databaseId": SOME_ID})),
        (_, "/api/restores") => request.json(&plan),
        (_, "/api/exports") => request.json(&json!({"backupId": SOME_ID, "table": "t", "format": "csv"})),
        (_, "/api/diffs") => request.json(&json!({"before": {"backupId": SOME_ID}, "after": {"databaseId": SOME_ID}})),
        (_, "/api/diffs/{id}/restore") => request.json(&json!({"direction": "revert", "databaseId": SOME_ID, "confirm": "x"})),
        (_, "/api/databases" | "/api/databases/{id}" | "/api/databases/test-connection") => request.json(&database),
        (_, "/api/projects" | "/api/projects/{id}") => request.json(&json!({"name": "x"})),
        (_, "/api/schedules" | "/api/schedules/{id}") => request.json(&json!({"name": "x", "databaseId": SOME_ID, "cron": "@daily"})),
        (_, "/api/schedules/preview") => request.json(&json!({"cron": "@daily"})),
        (_, "/api/retention-policies" | "/api/retention-policies/{id}") => {
            request.json(&json!({"name": "x", "mode": "age", "maxAgeDays": 9}))
        }
        (_, "/api/retention-policies/preview") => request.json(&json!({"policy": {"mode": "age", "maxAgeDays": 9}})),
        (_, "/api/retention-policies/run") => request.json(&json!({})),
        (_, "/api/databases/{id}/retention-policy") => request.json(&json!({"policyId": null})),
        (_, "/api/stores" | "/api/stores/{id}") => request.json(&json!({"name": "x", "kind": "local", "settings": {"path": "/nowhere/x"}})),
        (_, "/api/notifiers" | "/api/notifiers/{id}") => {
            request.json(&json!({"name": "x", "kind": "webhook", "settings": {"url": "http://127.0.0.1:1/"}}))
        }
        (_, "/api/system/settings") => request.json(&json!({"encrypt": true})),
        (_, "/api/system/maintenance") => request.json(&json!({"task": "verify"})),
        (_, "/api/jobs/retry" | "/api/jobs/drop") => request.json(&json!({"all": true})),
        (&Method::PUT, "/api/jobs/{id}") => request.json(&json!({"priority": 1})),
        (_, "/api/api-keys") => request.json(&json!({"name": "x", "role": "viewer"})),
        (&Method::POST, "/api/users") => request.json(&json!({"name": "x", "password": PASSWORD, "role": "admin"})),
        (&Method::PUT, "/api/users/{id}") => request.json(&json!({"role": "admin", "disabled": false})),
        (_, path) if path.starts_with("/api/") => request,
        _ => request.form(&[("all", "true"), ("priority", "1"), ("task", "verify"), ("engine", "sqlite"), ("name", "x"), ("confirm", "x")]),
    };
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_every_page_leads_to_the_login_and_every_call_is_refused() {
    let site = Site::locked().await;
    site.set_up().await;
    let mut seen = 0;
    for entry in entries().iter().filter(|entry| !entry.public) {
        let response = send(&stranger(), &site.base, entry, "dbsnap_session=made-up").await;
        if entry.path.starts_with("/api/") {
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{entry:?}");
            let json: Value = response.json().await.unwrap();
            assert_eq!(json["error"]["code"], "UNAUTHORIZED", "{entry:?}");
        } else {
            assert_eq!(response.status(), StatusCode::SEE_OTHER, "{entry:?}");
            assert!(response.headers()["location"].to_str().unwrap().starts_with("/login"), "{entry:?}");
        }
        seen += 1;
    }
    assert!(seen > 80, "only {seen} routes were walked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_and_changes_nothing() {
    let site = Site::locked().await;
    site.set_up().await;
    let cookie = site.sign_in_as("viewer").await;
    let client = stranger();
    for entry in entries().iter().filter(|entry| !entry.public && entry.path != "/logout") {
        let may = if entry.method == Method::GET {
            !CLOSED.contains(&entry.path.as_str())
        } else {
            OWN.contains(&entry.path.as_str()) || OWN_API.contains(&entry.path.as_str())
        };
        let missing_first = entry.path.starts_with("/api/jobs/{id}/") || entry.path.starts_with("/jobs/{id}/");
        let response = send(&client, &site.base, entry, &cookie).await;
        let status = response.status();
        if may {
            assert_ne!(status, StatusCode::FORBIDDEN, "{entry:?}");
            assert!(!status.is_server_error(), "{entry:?} answered {status}");
        } else if missing_first {
            // What a job needs depends on its kind, so a job that is not there is told first.
            assert_eq!(status, StatusCode::NOT_FOUND, "{entry:?}");
        } else {
            assert_eq!(status, StatusCode::FORBIDDEN, "{entry:?}: {}", response.text().await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_cannot_post_with_the_readers_cookie() {
    let site = Site::locked().await;
    site.set_up().await;
    let database = site.add_database("shop", 2).await;
    let cross_site = [
        site.ask(Method::POST, &format!("/databases/{database}/delete")).header("origin", "https://evil.example"),
        site.ask(Method::DELETE, &format!("/api/databases/{database}")).header("sec-fetch-site", "cross-site"),
        site.ask(Method::DELETE, &format!("/api/databases/{database}")).header("origin", "null"),
    ];
    for request in cross_site {
        assert_eq!(request.form(&[("confirm", "shop")]).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    let same_site = site.ask(Method::DELETE, &format!("/api/databases/{database}")).header("origin", &site.base);
    assert_eq!(same_site.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sign_in_a_name_that_somebody_else_may_point_here_is_refused() {
    let vars = [("AUTH_MODE", "none"), ("BASE_URL", "https://dbsnap.example.org")];
    let site = Site::start(&vars).await;
    let under = async |host: &str, path: &str| site.ask(Method::GET, path).header("host", host).send().await.unwrap();
    for host in ["localhost:3000", "dbsnap", "192.0.2.7:3000", "[::1]", "dbsnap.example.org"] {
        assert_eq!(under(host, "/api/databases").await.status(), StatusCode::OK, "{host}");
    }
    let refused = under("rebound.example:3000", "/api/databases").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], "FORBIDDEN");
    assert!(refused.to_string().contains("BASE_URL"), "it says what to do: {refused}");
    let page = under("rebound.example", "/databases").await;
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert!(page.text().await.unwrap().contains("BASE_URL"));
    let written = site.ask(Method::POST, "/theme").header("host", "rebound.example").header("origin", "http://rebound.example");
    assert_eq!(written.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(under("rebound.example", "/api/health/live").await.status(), StatusCode::OK);

    let site = Site::locked().await;
    site.set_up().await;
    let signed_in = site.ask(Method::GET, "/api/databases").header("host", "any.example").send().await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::OK, "with sign-in the session protects");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_keys_end_when_they_are_revoked() {
    let site = Site::locked().await;
    site.set_up().await;
    let made = site.api(Method::POST, "/api/api-keys", json!({"name": "ci", "role": "viewer"})).await;
    let key = made.json["data"]["key"].as_str().unwrap().to_owned();
    let by_key = |method: Method, path: &str| stranger().request(method, format!("{}{path}", site.base)).bearer_auth(&key);
    assert_eq!(by_key(Method::GET, "/api/databases").send().await.unwrap().status(), StatusCode::OK);
    let refused = by_key(Method::POST, "/api/backups").json(&json!({"databaseId": SOME_ID})).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "a viewer's key may not back up");
    let keys = site.api(Method::GET, "/api/api-keys", Value::Null).await;
    assert!(!keys.json.to_string().contains(&key), "the key is shown once only");
    site.api(Method::DELETE, &format!("/api/api-keys/{}", made.id()), Value::Null).await;
    assert_eq!(by_key(Method::GET, "/api/databases").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);

    assert_eq!(site.get("/api/databases").await.status(), StatusCode::OK);
    assert_eq!(site.submit("/logout", &[]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(site.get("/api/databases").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_installation_is_set_up_once_and_only_with_the_token() {
    let site = Site::locked().await;
    let response = site.get("/databases").await;
    assert_eq!(response.headers()["location"], "/setup");
    let form = |token: &'static str| [("token", token), ("name", "eve"), ("password", PASSWORD), ("again", PASSWORD)];
    let refused = site.submit("/setup", &form("guessed")).await;
    assert!(refused.status().is_client_error(), "{}", refused.status());
    site.set_up().await;
    let cookies = site.submit("/login", &[("name", "ada"), ("password", PASSWORD)]).await;
    let cookie = cookies.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert_eq!(site.get("/setup").await.headers()["location"], "/login");
}

#[test]
fn every_address_under_api_is_in_the_openapi_document() {
    let document = serde_json::to_value(openapi()).unwrap();
    for entry in entries().iter().filter(|entry| entry.path.starts_with("/api/")) {
        let operation = &document["paths"][&entry.path][entry.method.as_str().to_lowercase()];
        assert!(operation["summary"].is_string() || operation["description"].is_string(), "{entry:?} is not described");
        assert!(operation["responses"]["default"].is_object(), "{entry:?} does not say how it fails");
    }
    let unresolved = unresolved(&document, &document);
    assert!(unresolved.is_empty(), "schemas that nothing defines: {unresolved:?}");
}

/// References of the document that lead nowhere.
fn unresolved(document: &Value, part: &Value) -> Vec<String> {
    let mut missing: Vec<String> = match part {
        Value::Object(fields) => fields.values().flat_map(|value| unresolved(document, value)).collect(),
        Value::Array(items) => items.iter().flat_map(|value| unresolved(document, value)).collect(),
        _ => Vec::new(),
    };
    if let Some(reference) = part.get("$ref").and_then(Value::as_str)
        && document.pointer(reference.trim_start_matches('#')).is_none()
    {
        missing.push(reference.to_owned());
    }
    missing
}

#[test]
fn values_of_enumerations_are_told_as_the_api_takes_them() {
    fn names(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                found.extend(
                    fields
                        .get("enum")
                        .and_then(|all| all.as_array())
                        .into_iter()
                        .flatten()
                        .filter_map(|name| name.as_str())
                        .map(str::to_owned),
                );
                fields.values().for_each(|value| names(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    names(&serde_json::to_value(openapi()).unwrap(), &mut found);
    for known in ["skip", "completed", "backup.failed", "hybrid", "jsonl"] {
        assert!(found.iter().any(|name| name == known), "{known}: {found:?}");
    }
    // Names of the code, such as `BackupFailed`, would be refused.
    let foreign: Vec<&String> = found.iter().filter(|name| name.starts_with(char::is_uppercase)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
