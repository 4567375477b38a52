//! The logs of all jobs: searched, paged, taken away.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::web::site::Site;

/// A site with 450 lines of a job of its own: each tenth is a warning.
async fn filled() -> Site {
    let site = Site::open().await;
    let database = site.add_database("shop", 3).await;
    let backup = site.back_up(&database).await;
    let catalogue = site.catalogue();
    let insert = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
         INSERT INTO execution_logs (job_id, at, level, message)
         SELECT ?1, 1767225600000 + i, CASE WHEN i % 10 = 0 THEN 'warn' ELSE 'info' END, 'filled ' || i || ' <b>100%_\\' FROM n";
    catalogue.execute(insert, [backup["jobId"].as_str().unwrap()]).unwrap();
    site
}

async fn search(site: &Site, query: &str) -> Value {
    let answer = site.api(Method::GET, &format!("/api/logs?{query}"), Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    answer.json["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_every_line_once_over_its_pages() {
    let site = filled().await;
    let mut seen = Vec::new();
    let mut next = Value::Null;
    loop {
        let place = next.as_i64().map(|before| format!("&before={before}")).unwrap_or_default();
        let page = search(&site, &format!("q=FILLED{place}")).await;
        seen.extend(page["lines"].as_array().unwrap().iter().map(|line| line["seq"].as_i64().unwrap()));
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 450);
    assert!(seen.windows(2).all(|two| two[0] > two[1]), "the newest first, none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_found_by_level_kind_job_day_and_text() {
    let site = filled().await;
    let count = async |query: &str| search(&site, query).await["lines"].as_array().unwrap().len();
    assert_eq!(count("q=filled&level=warn").await, 45);
    assert_eq!(count("q=filled&level=error").await, 0);
    assert_eq!(count("q=filled&kind=backup&level=warn").await, 45);
    assert_eq!(count("q=filled&kind=restore").await, 0);
    assert_eq!(count("q=100%25_%5C&level=warn").await, 45, "what means something to SQL is text here");
    assert_eq!(count("q=10__%5C").await, 0);
    assert_eq!(count("level=warn&startDate=2026-01-01&endDate=2026-01-01").await, 45);
    assert_eq!(count("q=filled&endDate=2025-12-31").await, 0);
    assert_eq!(count("q=filled%207%20").await, 1);
    let job = search(&site, "q=filled%207%20").await["lines"][0]["jobId"].as_str().unwrap().to_owned();
    assert_eq!(count(&format!("jobId={job}&level=warn")).await, 45);
    assert_eq!(count("jobId=00000000-0000-7000-8000-000000000000").await, 0);
    let refused = site.api(Method::GET, "/api/logs?level=loud", Value::Null).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_every_line_that_matches_the_oldest_first() {
    let site = filled().await;
    let fetch = async |query: &str| {
        let response = site.get(&format!("/api/logs/export?{query}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
        response.text().await.unwrap()
    };
    let lines: Vec<Value> = fetch("q=filled&format=ndjson").await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["message"]), (450, &json!("filled 1 <b>100%_\\")));
    assert_eq!(
        (&lines[9]["level"], &lines[9]["kind"], &lines[9]["at"]),
        (&json!("warn"), &json!("backup"), &json!("2026-01-01T00:00:00.010Z"))
    );
    let text = fetch("q=filled&level=warn").await;
    assert_eq!(text.lines().count(), 45);
    assert!(text.starts_with("2026-01-01T00:00:00.010Z warn  backup "), "{text}");
    assert!(fetch("format=ndjson").await.lines().count() > 450, "the job's own lines are there too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_lines_as_text_with_the_way_to_older_ones() {
    let site = filled().await;
    let page = site.page("/logs?q=filled").await;
    assert!(page.contains("filled 450 &lt;b&gt;100%_\\") && !page.contains("<b>100"), "a line is text, not markup");
    let older =
        page.split("href=\"").find(|part| part.starts_with("/logs?q=filled&#38;before=") || part.starts_with("/logs?q=filled&amp;before="));
    let older = older.unwrap().split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let second = site.page(&older).await;
    assert!(second.contains("filled 250 ") && !second.contains("filled 251 "), "the next line follows");
    assert!(site.page("/logs?q=nothing-like-it").await.contains("No line matches"));
}
