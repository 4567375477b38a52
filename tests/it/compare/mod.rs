//! Comparisons in the product: asked for, watched, read, made use of.

mod exports;
mod life;
mod options;
mod story;
mod subjects;

use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::web::site::Site;

/// Asks for a comparison and waits for its end.
async fn compare(site: &Site, request: Value) -> Value {
    let id = start(site, request).await;
    let done = site.wait(&format!("/api/diffs/{id}")).await;
    assert_eq!(done["status"], "completed", "{done}");
    done
}

async fn start(site: &Site, request: Value) -> String {
    let answer = site.api(Method::POST, "/api/diffs", request).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    answer.id()
}

fn backups(before: &Value, after: &Value) -> Value {
    json!({"before": {"backupId": before["id"]}, "after": {"backupId": after["id"]}})
}

fn with_live(backup: &Value, database: &str) -> Value {
    json!({"before": {"backupId": backup["id"]}, "after": {"databaseId": database}})
}

/// A table of a comparison's summary by its name, whatever its schema.
fn table<'a>(diff: &'a Value, name: &str) -> &'a Value {
    let tables = diff["summary"]["tables"].as_array().unwrap();
    let found = tables.iter().find(|table| table["name"].as_str().unwrap().rsplit('.').next() == Some(name));
    found.unwrap_or_else(|| panic!("no table {name} in {diff}"))
}

/// Added, removed, changed.
fn counts(table: &Value) -> [u64; 3] {
    ["added", "removed", "changed"].map(|kind| table[kind].as_u64().unwrap())
}

async fn changes(site: &Site, diff: &Value, query: &str) -> Value {
    let path = format!("/api/diffs/{}/changes?{query}", diff["id"].as_str().unwrap());
    let answer = site.api(Method::GET, &path, Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    answer.json["data"].clone()
}

/// A SQLite database of the site and its file.
async fn sqlite(site: &Site, sql: &str) -> (String, Connection) {
    let path = site.folder.path().join(format!("db-{}.db", uuid::Uuid::new_v4().simple()));
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    let input = json!({"name": path.file_name().unwrap().to_str(), "engine": "sqlite", "settings": {"path": path}});
    let answer = site.api(Method::POST, "/api/databases", input).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json);
    (answer.id(), connection)
}

/// A backup that is complete, with a snapshot.
async fn back_up(site: &Site, database: &str) -> Value {
    let request = json!({"databaseId": database, "options": {"artifacts": ["dump", "snapshot"]}});
    let answer = site.api(Method::POST, "/api/backups", request).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json);
    let backup = site.wait(&format!("/api/backups/{}", answer.id())).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    backup
}

/// Files of reports in the data directory.
fn reports(site: &Site) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(site.ctx.reports()) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
