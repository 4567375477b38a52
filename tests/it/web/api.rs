//! The JSON API: its answers and its refusals.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_added_changed_tested_and_removed() {
    let site = Site::open().await;
    let id = site.add_database("shop", 10).await;
    let place = format!("/api/databases/{id}");
    let got = site.api(Method::GET, &place, Value::Null).await.json;
    assert_eq!((&got["success"], &got["data"]["name"], &got["data"]["engineLabel"]), (&json!(true), &json!("shop"), &json!("SQLite")));
    assert!(got["meta"]["timestamp"].as_str().unwrap().ends_with('Z'), "{got}");

    let probe = site.api(Method::POST, &format!("{place}/test-connection"), Value::Null).await.json;
    assert_eq!(probe["data"]["tables"], 2, "{probe}");

    let change = json!({"name": "shop 2", "engine": "sqlite", "settings": got["data"]["settings"]});
    assert_eq!(site.api(Method::PUT, &place, change).await.json["data"]["name"], "shop 2");
    let listed = site.api(Method::GET, "/api/databases?q=shop&engine=&page=1&limit=10", Value::Null).await.json;
    assert_eq!((&listed["meta"]["total"], &listed["meta"]["limit"], &listed["data"][0]["id"]), (&json!(1), &json!(10), &json!(id)));

    assert_eq!(site.api(Method::DELETE, &place, Value::Null).await.status, StatusCode::OK);
    let gone = site.api(Method::GET, &place, Value::Null).await;
    assert_eq!((gone.status, gone.code()), (StatusCode::NOT_FOUND, "NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_thing_and_the_next_step() {
    let site = Site::open().await;
    let id = site.add_database("shop", 1).await;
    for (method, path, body, status, code) in [
        (Method::POST, "/api/databases", json!({"name": "", "engine": "sqlite", "settings": {"odd": 1}}), 400, "VALIDATION_ERROR"),
        (Method::POST, "/api/databases", json!({"name": "x", "engine": "oracle", "settings": {}}), 400, "VALIDATION_ERROR"),
        (Method::POST, "/api/databases", json!([1]), 400, "VALIDATION_ERROR"),
        (Method::POST, "/api/databases", json!({"name": "shop", "engine": "sqlite", "settings": {"path": "/x.db"}}), 409, "CONFLICT"),
        (Method::GET, "/api/backups?status=done", Value::Null, 400, "VALIDATION_ERROR"),
        (Method::GET, "/api/backups?page=x", Value::Null, 400, "VALIDATION_ERROR"),
        (Method::GET, "/api/backups/7", Value::Null, 404, "NOT_FOUND"),
        (Method::GET, "/api/nothing", Value::Null, 404, "NOT_FOUND"),
        (Method::PATCH, "/api/backups", Value::Null, 405, "VALIDATION_ERROR"),
        (Method::POST, "/api/system/maintenance", json!({"task": "burn"}), 400, "VALIDATION_ERROR"),
        (Method::PUT, "/api/system/settings", json!({"compression": "lzma"}), 400, "VALIDATION_ERROR"),
    ] {
        let answer = site.api(method.clone(), path, body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{method} {path}: {}", answer.json);
        assert_eq!(answer.json["success"], false);
        assert!(answer.json["error"]["details"]["requestId"].is_string(), "{}", answer.json);
    }
    let fields = json!({"name": "", "engine": "sqlite", "settings": {"odd": 1}});
    let answer = site.api(Method::POST, "/api/databases", fields).await;
    let named = answer.json["error"]["details"]["fields"].to_string();
    assert!(named.contains("name") && named.contains("path") && named.contains("odd"), "all at once: {named}");
    assert_eq!(site.api(Method::POST, &format!("/api/databases/{id}/nothing"), Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_runs_and_is_listed_verified_pinned_downloaded_and_deleted() {
    let site = Site::open().await;
    let database = site.add_database("shop", 500).await;
    let backup = site.back_up(&database).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let place = format!("/api/backups/{}", backup["id"].as_str().unwrap());

    let tables = site.api(Method::GET, &format!("{place}/tables"), Value::Null).await.json;
    assert_eq!(tables["data"], json!([{"name": "customers", "rows": 500}, {"name": "orders", "rows": 500}]));
    let day = &backup["createdAt"].as_str().unwrap()[..10];
    let filters = format!("/api/backups?databaseId={database}&status=completed&type=manual&startDate={day}&endDate={day}");
    assert_eq!(site.api(Method::GET, &filters, Value::Null).await.json["meta"]["total"], 1);
    assert_eq!(site.api(Method::GET, "/api/backups?status=failed", Value::Null).await.json["meta"]["total"], 0);
    let logs = site.api(Method::GET, &format!("{place}/logs?level=info"), Value::Null).await.json;
    assert!(!logs["data"].as_array().unwrap().is_empty());
    assert_eq!(site.api(Method::GET, &format!("{place}/logs?level=error"), Value::Null).await.json["data"], json!([]));

    let job = site.api(Method::POST, &format!("{place}/verify"), Value::Null).await;
    assert_eq!(job.status, StatusCode::ACCEPTED);
    assert_eq!(site.wait(&format!("/api/jobs/{}", job.id())).await["status"], "completed");
    assert_eq!(site.api(Method::GET, &place, Value::Null).await.json["data"]["verifyState"], "verified");

    let stored = site.get(&format!("{place}/download")).await;
    let disposition = stored.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment; filename=\"shop_manual_") && disposition.ends_with(".dump.zst.enc\""), "{disposition}");
    assert_eq!(stored.content_length(), backup["artifacts"][0]["storedSize"].as_u64());
    let plain = site.get(&format!("{place}/download?artifact=dump&plain=true")).await.bytes().await.unwrap();
    assert!(plain.starts_with(b"SQLite format 3\0"));

    assert_eq!(site.api(Method::PUT, &format!("{place}/pin"), Value::Null).await.json["data"]["pinned"], true);
    assert_eq!(site.api(Method::DELETE, &place, Value::Null).await.code(), "CONFLICT", "a pinned backup stays");
    assert_eq!(site.api(Method::DELETE, &format!("{place}/pin"), Value::Null).await.json["data"]["pinned"], false);
    assert_eq!(site.api(Method::DELETE, &place, Value::Null).await.status, StatusCode::OK);
    let left = walk(&site.folder.path().join("data/backups"));
    assert!(left.iter().all(|file| !file.contains("shop_manual_")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_starts_only_with_the_targets_name() {
    let site = Site::open().await;
    let database = site.add_database("shop", 50).await;
    let backup = site.back_up(&database).await;
    let target = site.folder.path().join("again.db");
    let request = |confirm: &str| json!({"backupId": backup["id"], "databaseId": database, "plan": {"mode": "new", "targetName": target}, "confirm": confirm});
    let refused = site.api(Method::POST, "/api/restores", request("yes")).await;
    assert_eq!(refused.code(), "VALIDATION_ERROR");
    assert!(refused.json["error"]["details"]["hint"].as_str().unwrap().contains("again.db"), "{}", refused.json);
    assert!(!target.exists());
    let started = site.api(Method::POST, "/api/restores", request("again.db")).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.json);
    let restore = site.wait(&format!("/api/restores/{}", started.id())).await;
    assert_eq!(restore["status"], "completed", "{restore}");
    assert_eq!(restore["tables"][1]["rows"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_product_tells_about_itself() {
    let site = Site::open().await;
    for path in
        ["/api/health/live", "/api/health/ready", "/api/system/status", "/api/system/stats", "/api/engines", "/api/stores", "/api/audit"]
    {
        let answer = site.api(Method::GET, path, Value::Null).await;
        assert_eq!((answer.status, &answer.json["success"]), (StatusCode::OK, &json!(true)), "{path}: {}", answer.json);
    }
    let engines = site.api(Method::GET, "/api/engines", Value::Null).await.json;
    assert!(engines["data"].as_array().unwrap().iter().any(|engine| engine["id"] == "sqlite" && engine["restoreModes"].is_array()));
    let changed = site.api(Method::PUT, "/api/system/settings", json!({"compression": "zstd:3"})).await;
    assert_eq!(changed.json["data"]["compression"], "zstd:3", "{}", changed.json);
    let done = site.api(Method::POST, "/api/system/maintenance", json!({"task": "verify"})).await;
    assert_eq!(done.status, StatusCode::ACCEPTED, "{}", done.json);
    let done = site.wait(&format!("/api/jobs/{}", done.id())).await;
    assert_eq!((&done["status"], &done["report"]["words"][0]), (&json!("completed"), &json!("The catalogue is intact.")), "{done}");
    let store = site.api(Method::GET, "/api/stores", Value::Null).await.json["data"][0]["id"].as_str().unwrap().to_owned();
    assert!(site.api(Method::POST, &format!("/api/stores/{store}/test"), Value::Null).await.json["data"]["free"].as_u64() > Some(0));
}

/// Every file below, as text.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path.display().to_string()) }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_password_is_not_sent_to_another_server() {
    let site = Site::open().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let elsewhere = listener.local_addr().unwrap().port();
    let with = |name: &str, value: Value| {
        let mut settings = json!({"host": "db.example", "port": 5432, "user": "app", "database": "shop"});
        settings[name] = value;
        json!({"name": "shop", "engine": "postgresql", "settings": settings})
    };
    let id = site.api(Method::POST, "/api/databases", with("password", json!("s3cret"))).await.id();
    let place = format!("/api/databases/{id}");
    assert_eq!(site.api(Method::PUT, &place, with("database", json!("shop2"))).await.json["data"]["secretsSet"], json!(["password"]));
    for (name, value) in [("host", json!("127.0.0.1")), ("port", json!(elsewhere)), ("user", json!("other"))] {
        let refused = site.api(Method::PUT, &place, with(name, value)).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"), "{name}");
        assert!(refused.json["error"].to_string().contains("enter it again"), "{}", refused.json);
    }
    let port = elsewhere.to_string();
    let form = |id: &'static str, value: String| {
        vec![
            (id, value),
            ("engine", "postgresql".to_owned()),
            ("name", "shop".to_owned()),
            ("settings.host", "127.0.0.1".to_owned()),
            ("settings.port", port.clone()),
            ("settings.user", "app".to_owned()),
            ("settings.database", "shop".to_owned()),
        ]
    };
    let tried = site.ask(Method::POST, "/databases/test").form(&form("id", id.clone())).send().await.unwrap().text().await.unwrap();
    assert!(tried.contains("enter it again"), "{tried}");
    let saved = site.ask(Method::POST, &format!("/databases/{id}")).form(&form("store", String::new())).send().await.unwrap();
    assert_eq!(saved.status(), StatusCode::BAD_REQUEST);
    assert!(saved.text().await.unwrap().contains("enter it again"), "the form shows it beside the field");
    assert!(listener.accept().is_err(), "nobody connected");
    let given = site.api(Method::PUT, &place, with("host", json!("db2.example"))).await;
    assert_eq!(given.status, StatusCode::BAD_REQUEST);
    let mut moved = with("host", json!("db2.example"));
    moved["settings"]["password"] = json!("its own");
    assert_eq!(site.api(Method::PUT, &place, moved).await.status, StatusCode::OK);
}
