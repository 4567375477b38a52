//! Links to one download each.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{back_up, compare, sqlite, with_live};
use crate::web::site::Site;

async fn link(site: &Site, request: Value) -> String {
    let answer = site.api(Method::POST, "/api/exports", request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
    assert!(answer.json["data"]["expiresAt"].is_string());
    answer.json["data"]["url"].as_str().unwrap().to_owned()
}

/// Without a session.
async fn fetch(site: &Site, path: &str) -> reqwest::Response {
    Client::new().get(format!("{}{path}", site.base)).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_once_and_without_a_session() {
    let site = Site::locked().await;
    site.set_up().await;
    let sql = "CREATE TABLE \"odd, name\" (id INTEGER PRIMARY KEY, said TEXT, raw BLOB);
        INSERT INTO \"odd, name\" VALUES (1, 'a \"b\", c', x'00ff'), (2, NULL, NULL), (3, '', 7)";
    let (database, connection) = sqlite(&site, sql).await;
    let backup = back_up(&site, &database).await;
    let request = |format: &str| json!({"backupId": backup["id"], "table": "odd, name", "format": format});

    let path = link(&site, request("csv")).await;
    let looked = Client::new().head(format!("{}{path}", site.base)).send().await.unwrap();
    assert!(looked.status().is_success(), "whoever only looks does not use it up");
    let file = fetch(&site, &path).await;
    assert_eq!(file.status(), StatusCode::OK);
    let name = file.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(name.starts_with("attachment; filename=\"") && name.contains("odd-name") && name.ends_with(".csv\""), "{name}");
    let text = file.text().await.unwrap();
    assert_eq!(text, "id,said,raw\r\n1,\"a \"\"b\"\", c\",\\x00ff\r\n2,,\r\n3,\"\",7\r\n");
    let again = fetch(&site, &path).await;
    assert_eq!(again.status(), StatusCode::GONE);
    assert!(again.text().await.unwrap().contains("used already"));

    let lines = fetch(&site, &link(&site, request("jsonl")).await).await.text().await.unwrap();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows[0], json!({"id": 1, "said": "a \"b\", c", "raw": "\\x00ff"}));
    assert_eq!(rows[1], json!({"id": 2, "said": null, "raw": null}));

    let statements = fetch(&site, &link(&site, request("sql")).await).await.text().await.unwrap();
    connection.execute_batch("DELETE FROM \"odd, name\"").unwrap();
    connection.execute_batch(&statements).unwrap();
    let diff = compare(&site, with_live(&backup, &database)).await;
    assert_eq!(diff["summary"]["equal"], true, "{diff}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tampered_and_foreign_links_open_nothing() {
    let site = Site::open().await;
    let (database, _connection) = sqlite(&site, "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let backup = back_up(&site, &database).await;
    let request = json!({"backupId": backup["id"], "table": "t", "format": "csv"});
    let path = link(&site, request.clone()).await;
    let mut tampered = path.clone();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    assert_eq!(fetch(&site, &tampered).await.status(), StatusCode::NOT_FOUND);
    let catalogue = rusqlite::Connection::open(site.folder.path().join("data/dbsnap.db")).unwrap();
    let token = path.rsplit('/').next().unwrap();
    let kept: i64 = catalogue.query_row("SELECT COUNT(*) FROM export_links WHERE token_hash = ?1", [token], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0, "the token itself is not kept");
    catalogue.execute("UPDATE export_links SET expires_at = 1000", []).unwrap();
    let late = fetch(&site, &path).await;
    assert_eq!(late.status(), StatusCode::GONE);
    assert!(late.text().await.unwrap().contains("time is over"));
    for wrong in [
        json!({"table": "t", "format": "csv"}),
        json!({"backupId": backup["id"], "table": "t", "format": "xlsx"}),
        json!({"backupId": backup["id"], "diffId": backup["id"], "table": "t", "format": "csv"}),
    ] {
        assert_eq!(site.api(Method::POST, "/api/exports", wrong.clone()).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let missing = json!({"backupId": backup["id"], "table": "nothing", "format": "csv"});
    assert_eq!(site.api(Method::POST, "/api/exports", missing).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_of_a_table_are_exported_with_both_sides() {
    let site = Site::open().await;
    let (database, connection) =
        sqlite(&site, "CREATE TABLE t (id INTEGER PRIMARY KEY, said TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let backup = back_up(&site, &database).await;
    connection.execute_batch("UPDATE t SET said = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, NULL)").unwrap();
    let diff = compare(&site, with_live(&backup, &database)).await;
    let request = |format: &str| json!({"diffId": diff["id"], "table": "t", "format": format});
    let csv = fetch(&site, &link(&site, request("csv")).await).await.text().await.unwrap();
    assert_eq!(csv, "change,side,id,said\r\nchanged,before,1,a\r\nchanged,after,1,x\r\nremoved,before,2,b\r\nadded,after,3,\r\n");
    let lines = fetch(&site, &link(&site, request("jsonl")).await).await.text().await.unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"change": "changed", "before": {"id": 1, "said": "a"}, "after": {"id": 1, "said": "x"}}));
}
