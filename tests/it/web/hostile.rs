//! Hostile input: markup in names and log lines, odd file names, headers that keep a browser safe.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::site::{Site, make_shop};

const MARKUP: &str = "<svg onload=alert(1)>\"'&";

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_names_and_log_lines_is_text_on_every_page() {
    let site = Site::open().await;
    let path = site.folder.path().join(format!("{MARKUP}.db").replace('/', "_"));
    make_shop(&path, 3);
    let input = json!({"name": MARKUP, "engine": "sqlite", "settings": {"path": path}});
    let database = site.api(Method::POST, "/api/databases", input).await.id();
    let backup = site.back_up(&database).await;
    let id = backup["id"].as_str().unwrap();
    let job = backup["jobId"].as_str().unwrap();
    let pages = [
        "/".to_owned(),
        "/databases".into(),
        format!("/databases/{database}"),
        format!("/databases/{database}/edit"),
        "/databases?q=%3Csvg+onload%3E".into(),
        "/backups".into(),
        format!("/backups/{id}"),
        format!("/jobs/{job}"),
        format!("/jobs/{job}/live"),
        "/restore/new".into(),
        format!("/restore/new?backup={id}"),
        format!("/restore/new?backup={id}&database={database}"),
        "/jump?q=%3Csvg+onload%3E".into(),
        "/audit".into(),
    ];
    for page in pages {
        let text = site.page(&page).await;
        assert!(!text.contains("<svg onload"), "{page} shows markup as markup");
    }
    let unknown = site.get("/%3Csvg%20onload%3E").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(!unknown.text().await.unwrap().contains("<svg onload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_keeps_the_browser_safe() {
    let site = Site::open().await;
    for path in ["/", "/api/databases", "/nowhere", "/static/app.css", "/api/health/live"] {
        let response = site.get(path).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(response.headers()["referrer-policy"], "same-origin", "{path}");
        assert_eq!(response.headers()["x-request-id"].len(), 32, "{path}");
    }
    let page = site.page("/").await;
    for inline in ["<script>", " style=\"", " onclick", " onload", "javascript:"] {
        assert!(!page.contains(inline), "the policy would refuse {inline}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_ever_under_their_digest_and_asked_for_again_without() {
    let site = Site::open().await;
    let page = site.page("/").await;
    let start = page.find("/static/app.css?v=").unwrap();
    let url = page[start..].split('"').next().unwrap();
    let kept = site.get(url).await;
    assert!(kept.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    assert_eq!(kept.headers()["content-type"], "text/css");
    let etag = kept.headers()["etag"].to_str().unwrap().to_owned();
    let again = site.ask(Method::GET, "/static/app.css").header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    for outside in ["/static/../Cargo.toml", "/static/..%2FCargo.toml", "/static/nothing.css"] {
        assert_eq!(site.get(outside).await.status(), StatusCode::NOT_FOUND, "{outside}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_never_come_back() {
    let site = Site::open().await;
    let secret = "correct-horse-battery";
    let settings = json!({"host": "127.0.0.1", "port": 1, "database": "shop", "user": "app", "password": secret});
    let input = json!({"name": "pg", "engine": "postgresql", "settings": settings});
    let added = site.api(Method::POST, "/api/databases", input).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.json);
    assert_eq!(added.json["data"]["secretsSet"], json!(["password"]));
    let id = added.id();
    let tested = site.api(Method::POST, &format!("/api/databases/{id}/test-connection"), Value::Null).await;
    assert_eq!(tested.status, StatusCode::BAD_GATEWAY, "{}", tested.json);
    for text in [
        added.json.to_string(),
        tested.json.to_string(),
        site.page(&format!("/databases/{id}")).await,
        site.page(&format!("/databases/{id}/edit")).await,
        site.page("/audit").await,
    ] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_shape_of_request_is_refused_without_harm() {
    let site = Site::open().await;
    let huge = "x".repeat(2 * 1024 * 1024);
    // The connection of a refused body is closed: a client of its own, which leaves the pool of the others alone.
    let once = reqwest::Client::new().post(format!("{}/api/databases", site.base)).header("content-type", "application/json");
    let refused = once.body(huge).send().await.unwrap();
    assert!(refused.status().is_client_error(), "{}", refused.status());
    let not_json = site.ask(Method::POST, "/api/backups").body("databaseId=1").send().await.unwrap();
    assert_eq!(not_json.status(), StatusCode::BAD_REQUEST);
    let elsewhere =
        site.ask(Method::GET, "/theme?set=dark").header("referer", "https://evil.example//evil.example/x").send().await.unwrap();
    assert_eq!(elsewhere.headers()["location"], "/evil.example/x", "it stays on this site");
}
