//! kill -9 at random points: after the restart the catalogue and the store agree, always.

use std::collections::BTreeSet;

use rand::RngExt;
use serde_json::{Value, json};

use crate::support::served::{Served, command, free_port, wait_until};

/// Crashes per run. Each one is at another point of a backup.
const ROUNDS: usize = 8;

#[tokio::test]
async fn after_a_crash_at_any_point_the_catalogue_and_the_store_agree() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("big.db");
    make_big(&source);
    let mut server = Served::start(place.path(), &[("RETRY_BASE_SECONDS", "3600")]).await;
    let database =
        server.post("/api/databases", json!({"name": "big", "engine": "sqlite", "settings": {"path": source}})).await["id"].clone();

    // How long an undisturbed backup takes decides where the crashes fall.
    let began = std::time::Instant::now();
    let first = server.post("/api/backups", json!({"databaseId": database})).await["id"].clone();
    wait_until("the first backup is over", async || server.get(&backup(&first)).await["status"] == "completed").await;
    let whole = began.elapsed();

    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let started = server.post("/api/backups", json!({"databaseId": database})).await["id"].clone();
        tokio::time::sleep(whole.mul_f64(rand::rng().random_range(0.0..1.1))).await;
        server.kill();
        server = Served::start(place.path(), &[("RETRY_BASE_SECONDS", "3600")]).await;

        let after = server.get(&backup(&started)).await;
        let status = after["status"].as_str().unwrap();
        assert!(["completed", "interrupted"].contains(&status), "round {round}: {after}");
        if status == "interrupted" {
            interrupted += 1;
            let job = server.get(&format!("/api/jobs/{}", after["jobId"].as_str().unwrap())).await;
            assert_eq!(job["status"], "queued", "the retry policy applies: {job}");
            server.post(&format!("/api/jobs/{}/cancel", job["id"].as_str().unwrap()), Value::Null).await;
        }
        agree(&server, place.path()).await;
    }
    assert!(interrupted > 0, "no crash fell into a backup: the rounds prove nothing");

    for good in completed(&server).await {
        let job = server.post(&format!("/api/backups/{}/verify", good["id"].as_str().unwrap()), Value::Null).await;
        let path = format!("/api/jobs/{}", job["id"].as_str().unwrap());
        wait_until("the verification is over", async || {
            server.get(&path).await["status"] != "queued" && server.get(&path).await["status"] != "running"
        })
        .await;
        assert_eq!(server.get(&path).await["status"], "completed");
    }
}

#[tokio::test]
async fn an_interrupted_backup_is_tried_again_after_the_restart_and_completes() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("big.db");
    make_big(&source);
    let mut server = Served::start(place.path(), &[("RETRY_BASE_SECONDS", "0")]).await;
    let database =
        server.post("/api/databases", json!({"name": "big", "engine": "sqlite", "settings": {"path": source}})).await["id"].clone();
    let started = server.post("/api/backups", json!({"databaseId": database})).await["id"].clone();
    wait_until("the backup runs", async || server.get(&backup(&started)).await["status"] != "queued").await;
    server.kill();
    server = Served::start(place.path(), &[("RETRY_BASE_SECONDS", "0")]).await;
    wait_until("a backup is complete", async || !completed(&server).await.is_empty()).await;
    let first = server.get(&backup(&started)).await;
    assert!(["interrupted", "completed"].contains(&first["status"].as_str().unwrap()), "{first}");
    agree(&server, place.path()).await;
}

#[tokio::test]
async fn a_second_process_on_the_same_data_refuses_to_start_and_says_why() {
    let place = tempfile::tempdir().unwrap();
    let _server = Served::start(place.path(), &[]).await;
    let said = command(place.path(), free_port()).output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && words.contains("another dbsnap"), "{words}");
}

fn backup(id: &Value) -> String {
    format!("/api/backups/{}", id.as_str().unwrap())
}

async fn completed(server: &Served) -> Vec<Value> {
    server.get("/api/backups?status=completed&limit=200").await.as_array().unwrap().clone()
}

/// Every file in the store belongs to a completed backup, every file of a completed backup is there in full size, and
/// no temporary file is left.
pub async fn agree(server: &Served, place: &std::path::Path) {
    let mut promised = BTreeSet::new();
    for brief in completed(server).await {
        let backup = server.get(&format!("/api/backups/{}", brief["id"].as_str().unwrap())).await;
        let store = place.join("data/backups");
        for artifact in backup["artifacts"].as_array().unwrap() {
            let path = store.join(artifact["key"].as_str().unwrap());
            assert_eq!(std::fs::metadata(&path).unwrap().len(), artifact["storedSize"].as_u64().unwrap(), "{}", path.display());
            promised.insert(path);
        }
        promised.insert(store.join(backup["manifestKey"].as_str().unwrap()));
    }
    let mut found = BTreeSet::new();
    walk(&place.join("data/backups"), &mut found);
    assert_eq!(found, promised);
    let mut scratch = BTreeSet::new();
    walk(&place.join("data/scratch"), &mut scratch);
    assert_eq!(scratch, BTreeSet::new(), "temporary files are left");
}

fn walk(folder: &std::path::Path, files: &mut BTreeSet<std::path::PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.insert(path);
        }
    }
}

/// About 60 MB that do not compress away.
fn make_big(path: &std::path::Path) {
    make(path, 15_000);
}

/// As many rows of 4 kB that do not compress away.
pub fn make(path: &std::path::Path, rows: u32) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let fill = format!(
        "CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO rows SELECT i, randomblob(4000) FROM n;"
    );
    connection.execute_batch(&fill).unwrap();
}
