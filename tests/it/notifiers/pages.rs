//! The pages of notifiers, as a browser without scripts uses them, and the deliverer at work.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::sink::Sink;
use crate::web::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_is_added_tested_changed_and_removed_by_plain_forms_and_told_of_a_failure() {
    let (site, sink) = (Site::open().await, Sink::start(|_| (200, String::new())).await);
    assert!(site.page("/notifiers").await.contains("Nobody is told yet"));
    let url = format!("{}/hook", sink.base());
    let wrong = site.submit("/notifiers", &[("kind", "webhook"), ("name", "night"), ("settings.url", "nowhere")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let text = wrong.text().await.unwrap();
    assert!(text.contains("must be an address") && text.contains("value=\"night\""), "the form comes back as it was typed");

    let form =
        [("kind", "webhook"), ("name", "night <b>"), ("settings.url", &url), ("settings.secret", "v3ry-secret"), ("enabled", "true")];
    let added = site.submit("/notifiers", &form).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let edit = added.headers()["location"].to_str().unwrap().split('?').next().unwrap().to_owned();
    let place = edit.trim_end_matches("/edit");
    assert!(!site.page(&edit).await.contains("v3ry-secret"));
    let tested = site.submit(&format!("{place}/test"), &[]).await.text().await.unwrap();
    assert!(tested.contains("Delivered in"), "{tested}");
    assert!(sink.taken()[0].header("x-dbsnap-signature").starts_with("sha256="));

    let database = site.add_database("shop", 2).await;
    let source = site.api(Method::GET, &format!("/api/databases/{database}"), Value::Null).await.json["data"]["address"].clone();
    std::fs::remove_file(source.as_str().unwrap()).unwrap();
    site.submit(&format!("/databases/{database}/backup"), &[]).await;
    let began = Instant::now();
    // This machine may be told of its own disk besides.
    while !sink.taken().iter().any(|received| received.json()["title"] == "Backup of shop failed") {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody was told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(site.page("/").await.contains("What is wrong now"));
    let page = site.page(&edit).await;
    assert!(page.contains("Backup of shop failed") && page.contains("delivered") && !page.contains("night <b>"), "the log");
    let alerts = site.api(Method::GET, "/api/alerts", Value::Null).await.json;
    assert!(alerts["data"].as_array().unwrap().iter().any(|alert| alert["notice"]["event"] == "backup.failed"), "{alerts}");

    assert_eq!(site.submit(&format!("{place}/delete"), &[]).await.status(), StatusCode::SEE_OTHER);
    assert!(site.page("/notifiers").await.contains("Nobody is told yet"));
}
