//! Backups with snapshots through the served product: browsed, downloaded, verified deeply, restored; rows over time.

use serde_json::{Value, json};

use crate::support::served::{Served, wait_until};

/// The product, and a SQLite file that it knows.
struct Bench {
    place: tempfile::TempDir,
    served: Served,
    id: String,
}

impl Bench {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let served = Served::start(place.path(), &[("JOB_ATTEMPTS", "1")]).await;
        let bench = Self { place, served, id: String::new() };
        bench.sql(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, plan TEXT); CREATE TABLE log (line TEXT);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO users SELECT i, 'user' || i || '@example.org', 'free' FROM n; INSERT INTO log VALUES ('x'), ('x'), (NULL)",
        );
        let input = json!({"name": "shop", "engine": "sqlite", "settings": {"path": bench.path("shop.db")},
            "backupOptions": {"artifacts": ["dump", "snapshot"]}});
        let id = bench.served.post("/api/databases", input).await["id"].as_str().unwrap().to_owned();
        Self { id, ..bench }
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.path("shop.db")).unwrap().execute_batch(sql).unwrap();
    }

    async fn back_up(&self) -> Value {
        let started = self.served.post("/api/backups", json!({"databaseId": self.id})).await;
        let backup = self.served.over(&format!("/api/backups/{}", started["id"].as_str().unwrap())).await;
        assert_eq!(backup["status"], "completed", "{backup}");
        backup
    }

    async fn job(&self, path: &str) -> Value {
        let job = self.served.post(path, json!({})).await;
        let path = format!("/api/jobs/{}", job["id"].as_str().unwrap());
        wait_until(&path, async || ["completed", "failed"].contains(&self.served.get(&path).await["status"].as_str().unwrap())).await;
        self.served.get(&path).await
    }
}

fn id(backup: &Value) -> &str {
    backup["id"].as_str().unwrap()
}

#[tokio::test]
async fn rows_of_a_backup_are_looked_at_without_restoring_it() {
    let bench = Bench::new().await;
    let backup = bench.back_up().await;
    let kinds: Vec<_> = backup["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["dump", "snapshot"]);
    let tables = bench.served.get(&format!("/api/backups/{}/snapshot", id(&backup))).await;
    assert_eq!(
        (tables[1]["label"].as_str(), tables[1]["key"].clone(), tables[1]["rows"].as_u64()),
        (Some("users"), json!(["id"]), Some(300))
    );
    assert_eq!(
        (tables[0]["rows"].as_u64(), tables[0]["distinct"].as_u64()),
        (Some(3), Some(2)),
        "equal rows without a key are paged as one"
    );
    let rows =
        async |table: &str, query: &str| bench.served.get(&format!("/api/backups/{}/tables/{table}/rows?{query}", id(&backup))).await;
    let page = rows("users", "page=3&limit=100").await;
    assert_eq!((page["rows"].as_array().unwrap().len(), page["rows"][0]["cells"][1]["text"].as_str()), (100, Some("user201@example.org")));
    let found = rows("users", "key=42").await;
    assert_eq!((found["total"].as_u64(), found["rows"][0]["cells"][2]["text"].as_str()), (Some(1), Some("free")));
    let searched = rows("users", "q=USER29").await;
    assert_eq!((searched["total"].as_u64(), searched["searched"].as_u64(), &searched["next"]), (Some(11), Some(300), &Value::Null));
    let twice = rows("log", "").await;
    let counts: Vec<_> = twice["rows"].as_array().unwrap().iter().map(|row| row["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3);
    assert_eq!(bench.served.get_status(&format!("/api/backups/{}/tables/nothing/rows", id(&backup))).await, 404);
}

#[tokio::test]
async fn the_history_of_a_row_names_the_moments_at_which_it_changed() {
    let bench = Bench::new().await;
    let first = bench.back_up().await;
    bench.back_up().await;
    bench.sql("UPDATE users SET plan = 'team' WHERE id = 7; DELETE FROM users WHERE id = 8");
    let third = bench.back_up().await;
    bench.sql("INSERT INTO users VALUES (8, 'back@example.org', 'free')");
    let last = bench.back_up().await;
    let history = async |key: &str| {
        let versions = bench.served.get(&format!("/api/backups/{}/tables/users/history?key={key}", id(&last))).await;
        let one = |version: &Value| {
            (version["change"].as_str().unwrap().to_owned(), version["backupId"].clone(), version["snapshots"].as_u64().unwrap())
        };
        (versions.as_array().unwrap().iter().map(one).collect::<Vec<_>>(), versions)
    };
    let (seven, versions) = history("7").await;
    assert_eq!(seven, [("changed".into(), third["id"].clone(), 2), ("added".into(), first["id"].clone(), 2)]);
    assert_eq!((&versions[0]["changed"], &versions[0]["row"]["cells"][2]["text"]), (&json!(["plan"]), &json!("team")));
    let (eight, _) = history("8").await;
    let changes: Vec<_> = eight.iter().map(|version| version.0.as_str()).collect();
    assert_eq!(changes, ["added", "removed", "added"]);
    assert_eq!(history("9").await.0.len(), 1, "a row that never changed has one version");
    assert!(history("999").await.0.is_empty());
}

#[tokio::test]
async fn a_backup_verifies_deeply_and_restores_from_its_snapshot() {
    let bench = Bench::new().await;
    let backup = bench.back_up().await;
    let job = bench.job(&format!("/api/backups/{}/verify?deep=true", id(&backup))).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(bench.served.get(&format!("/api/backups/{}", id(&backup))).await["verifyState"], "verified");
    let target = bench.path("copy.db");
    let plan = json!({"mode": "new", "targetName": target, "source": "snapshot"});
    let request = json!({"backupId": id(&backup), "databaseId": bench.id, "plan": plan, "confirm": "copy.db"});
    let started = bench.served.post("/api/restores", request).await;
    let restore = bench.served.over(&format!("/api/restores/{}", id(&started))).await;
    assert_eq!(restore["status"], "completed", "{restore}");
    let counts: Vec<_> = restore["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["name"].as_str().unwrap(), table["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("log", 3), ("users", 300)]);
    // The snapshot alone, downloaded as it is and uploaded again.
    let bytes = bench.served.bytes(&format!("/api/backups/{}/download?artifact=snapshot&plain=true", id(&backup))).await;
    assert_eq!(bytes.len() as u64, backup["artifacts"][1]["storedSize"].as_u64().unwrap());
    let (status, upload) = bench.served.upload("shop.snap", bytes).await;
    assert!((200..300).contains(&status), "{upload}");
    assert_eq!((&upload["data"]["engine"], &upload["data"]["format"]), (&json!("sqlite"), &json!("snapshot")));
    let plan = json!({"mode": "new", "targetName": bench.path("third.db")});
    let request = json!({"uploadId": upload["data"]["id"], "databaseId": bench.id, "plan": plan, "confirm": "third.db"});
    let started = bench.served.post("/api/restores", request).await;
    let restore = bench.served.over(&format!("/api/restores/{}", id(&started))).await;
    assert_eq!(restore["status"], "completed", "{restore}");
}
