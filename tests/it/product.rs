//! The whole product against a real PostgreSQL: the binary serving, spoken to over its API.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    disk::Disk,
    postgres::{PASSWORD, Server, programs, shared},
    served::{Served, wait_until},
};

const MAJOR: u32 = 15;

/// The product, a PostgreSQL database it knows, and the folder it works in.
struct Bench {
    place: tempfile::TempDir,
    served: Served,
    postgres: &'static Server,
    database: String,
    id: String,
}

impl Bench {
    async fn new(purpose: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let bins = programs(MAJOR).display().to_string();
        let served = Served::start(place.path(), &[("PG_BIN_DIRS", &bins), ("JOB_ATTEMPTS", "1")]).await;
        let postgres = shared(MAJOR);
        let database = postgres.database(purpose).await;
        let fill = "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders SELECT i, 'order ' || i FROM generate_series(1, 5000) i;
                    CREATE TABLE customers (id int PRIMARY KEY, name text); INSERT INTO customers VALUES (1, 'Ada'), (2, E'O''Neil\n🦉')";
        postgres.connect(&database).await.batch_execute(fill).await.unwrap();
        let input = json!({"name": purpose, "engine": "postgresql", "settings": settings(postgres, &database, PASSWORD)});
        let id = served.post("/api/databases", input).await["id"].as_str().unwrap().to_owned();
        Self { place, served, postgres, database, id }
    }

    async fn back_up(&self, options: Value) -> Value {
        let started = self.served.post("/api/backups", json!({"databaseId": self.id, "options": options})).await;
        self.served.over(&format!("/api/backups/{}", started["id"].as_str().unwrap())).await
    }

    async fn restore(&self, mut request: Value) -> Value {
        request["databaseId"] = json!(self.id);
        let started = self.served.post("/api/restores", request).await;
        self.served.over(&format!("/api/restores/{}", started["id"].as_str().unwrap())).await
    }

    async fn rows(&self, database: &str) -> i64 {
        self.postgres.connect(database).await.query_one("SELECT count(*) FROM orders", &[]).await.unwrap().get(0)
    }

    fn log(&self) -> String {
        log_of(self.place.path())
    }

    fn stored(&self) -> Vec<String> {
        files(&self.place.path().join("data/backups"))
    }
}

fn settings(postgres: &Server, database: &str, password: &str) -> Value {
    json!({"host": "127.0.0.1", "port": postgres.port, "user": "postgres", "password": password, "database": database})
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_database_is_backed_up_verified_downloaded_and_restored_in_each_mode() {
    let bench = Bench::new("shop").await;
    let backup = bench.back_up(json!({"engine": {"globals": true}})).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    let kinds: Vec<_> = backup["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["dump", "globals", "snapshot"]);
    let rows: u64 = backup["tables"].as_array().unwrap().iter().map(|table| table["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 5002);
    let id = backup["id"].as_str().unwrap();

    let job = bench.served.post(&format!("/api/backups/{id}/verify"), Value::Null).await;
    assert_eq!(bench.served.over(&format!("/api/jobs/{}", job["id"].as_str().unwrap())).await["status"], "completed");
    assert_eq!(bench.served.get(&format!("/api/backups/{id}")).await["verifyState"], "verified");

    let plain = reqwest::get(bench.served.url(&format!("/api/backups/{id}/download?artifact=dump&plain=true")))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(plain.starts_with(b"PGDMP"), "the plain download is what pg_restore reads");
    let sealed = reqwest::get(bench.served.url(&format!("/api/backups/{id}/download?artifact=dump"))).await.unwrap().bytes().await.unwrap();
    assert!(!sealed.windows(5).any(|window| window == b"PGDMP"), "the stored file is encrypted");

    let copy = format!("{}_copy", bench.database);
    let plan = json!({"mode": "new", "targetName": copy});
    let (status, answer) =
        bench.served.try_post("/api/restores", json!({"backupId": id, "databaseId": bench.id, "plan": plan, "confirm": "yes"})).await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap()), (400, "VALIDATION_ERROR"), "{answer}");
    assert!(answer.to_string().contains(&copy), "it says what to type: {answer}");
    let restored = bench.restore(json!({"backupId": id, "plan": plan, "confirm": copy})).await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_eq!(bench.rows(&copy).await, 5000);

    bench.postgres.connect(&bench.database).await.batch_execute("DELETE FROM orders WHERE id > 10").await.unwrap();
    let plan = json!({"mode": "drop", "safetyBackup": true, "endConnections": true});
    let restored = bench.restore(json!({"backupId": id, "plan": plan, "confirm": bench.database})).await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_eq!(bench.rows(&bench.database).await, 5000);
    let safety = bench.served.get(&format!("/api/backups/{}", restored["safetyBackupId"].as_str().unwrap())).await;
    assert_eq!((safety["type"].as_str().unwrap(), safety["status"].as_str().unwrap()), ("safety", "completed"));
    let saved = safety["tables"].as_array().unwrap().iter().find(|table| table["name"] == "orders").unwrap();
    assert_eq!(saved["rows"], 10, "the safety backup holds the target as it was");
}

#[tokio::test]
async fn a_safety_backup_holds_what_the_databases_own_backups_leave_out() {
    let bench = Bench::new("safety").await;
    let full = bench.back_up(json!({})).await;
    assert_eq!(full["status"], "completed", "{full}");
    let input = json!({
        "name": "schema only", "engine": "postgresql", "settings": settings(bench.postgres, &bench.database, PASSWORD),
        "backupOptions": {"engine": {"schemaOnly": true, "excludeTables": ["customers"], "lockTimeoutSeconds": 7}}
    });
    let narrow = bench.served.post("/api/databases", input).await["id"].clone();
    let plan = json!({"mode": "drop", "safetyBackup": true, "endConnections": true});
    let request = json!({"backupId": full["id"], "databaseId": narrow, "plan": plan, "confirm": bench.database});
    let started = bench.served.post("/api/restores", request).await;
    let restored = bench.served.over(&format!("/api/restores/{}", started["id"].as_str().unwrap())).await;
    assert_eq!(restored["status"], "completed", "{restored}");
    let safety = bench.served.get(&format!("/api/backups/{}", restored["safetyBackupId"].as_str().unwrap())).await;
    let rows: u64 = safety["tables"].as_array().unwrap().iter().map(|table| table["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 5002, "{safety}");
    assert_eq!(safety["options"]["engine"]["lockTimeoutSeconds"], 7, "how long it waits stays");
}

#[tokio::test]
async fn a_backup_of_a_part_is_no_good_backup_and_replaces_no_whole_database_by_a_slip() {
    let bench = Bench::new("part").await;
    let shown = async || bench.served.get(&format!("/api/databases/{}", bench.id)).await;
    for options in [json!({"schemaOnly": true}), json!({"dataOnly": true}), json!({"excludeTables": ["customers"]})] {
        let part = bench.back_up(json!({"engine": options})).await;
        assert_eq!((&part["status"], &part["partial"]), (&json!("completed"), &json!(true)), "{part}");
        assert_eq!(shown().await["lastGood"], Value::Null);
    }
    assert_eq!(bench.served.get("/api/system/stats").await["neverBackedUp"], 1);
    let part = bench.back_up(json!({"engine": {"excludeTables": ["customers"]}})).await;
    let request = |plan: Value| json!({"backupId": part["id"], "databaseId": bench.id, "plan": plan, "confirm": bench.database});
    let (status, answer) = bench.served.try_post("/api/restores", request(json!({"mode": "drop", "endConnections": true}))).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("acceptPartial"), "{answer}");
    let accepted = bench.restore(request(json!({"mode": "drop", "endConnections": true, "acceptPartial": true}))).await;
    assert_eq!(accepted["status"], "completed", "{accepted}");

    let whole = bench.back_up(json!({})).await;
    assert_eq!(whole["partial"], false);
    assert_eq!(shown().await["lastGood"]["id"], whole["id"]);
}

#[tokio::test]
async fn secrets_are_nowhere_but_sealed_in_the_catalogue() {
    let bench = Bench::new("secret").await;
    let shown = bench.served.get(&format!("/api/databases/{}", bench.id)).await;
    assert_eq!(shown["secretsSet"], json!(["password"]));
    assert!(!shown.to_string().contains("Passw0rd"), "{shown}");
    bench.back_up(Value::Null).await;
    let (status, answer) = bench
        .served
        .try_post(
            "/api/databases/test-connection",
            json!({"name": "x", "engine": "postgresql", "settings": settings(bench.postgres, &bench.database, "Wr0ng-secret")}),
        )
        .await;
    assert_eq!(status, 502, "{answer}");
    assert!(answer.to_string().contains("password") && !answer.to_string().contains("Wr0ng-secret"), "{answer}");
    assert!(!bench.log().contains("Passw0rd") && !bench.log().contains("Wr0ng-secret"));
    for file in files(&bench.place.path().join("data")) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"Passw0rd"), "{file} holds the password in clear");
    }
}

#[tokio::test]
async fn an_upload_is_recognised_by_what_it_holds_and_restored() {
    let bench = Bench::new("upload").await;
    let archive = bench.postgres.program("pg_dump", &["-Fc", &bench.database]);
    let (status, answer) = bench.served.upload("../../etc/evil.dump", archive).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!((answer["data"]["engine"].as_str().unwrap(), answer["data"]["format"].as_str().unwrap()), ("postgresql", "pg-custom"));
    assert!(
        files(&bench.place.path().join("data/uploads")).iter().all(|file| !file.contains("evil")),
        "names from outside are labels only"
    );
    let copy = format!("{}_copy", bench.database);
    let restored = bench.restore(json!({"uploadId": answer["data"]["id"], "plan": {"targetName": copy}, "confirm": copy})).await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_eq!(bench.rows(&copy).await, 5000);
    assert_eq!(files(&bench.place.path().join("data/uploads")).len(), 0, "a restored upload is not kept");

    for (name, bytes, words) in [("notes.txt", b"\x00\x01 what is this".to_vec(), "no dump"), ("empty.dump", Vec::new(), "empty")] {
        let (status, answer) = bench.served.upload(name, bytes).await;
        assert_eq!(status, 400, "{name}: {answer}");
        assert!(answer.to_string().contains(words), "{name}: {answer}");
    }
    assert_eq!(files(&bench.place.path().join("data/uploads")).len(), 0, "a refused upload is not kept");
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_leaves_nothing_behind() {
    let bench = Bench::new("wrong").await;
    let client = bench.postgres.connect(&bench.database).await;
    client.batch_execute("CREATE TABLE big AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 200000) i").await.unwrap();

    let started = bench.served.post("/api/backups", json!({"databaseId": bench.id})).await;
    let path = format!("/api/backups/{}", started["id"].as_str().unwrap());
    let (status, answer) = bench.served.try_post("/api/backups", json!({"databaseId": bench.id})).await;
    assert_eq!(status, 409, "one backup of a database at a time: {answer}");
    wait_until("the dump runs", async || bench.served.get(&path).await["status"] != "queued").await;
    bench.served.post(&format!("{path}/cancel"), Value::Null).await;
    assert_eq!(bench.served.over(&path).await["status"], "cancelled");
    assert_eq!(bench.stored(), Vec::<String>::new(), "a cancelled backup leaves nothing in the store");

    client.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let failed = bench.back_up(json!({"engine": {"lockTimeoutSeconds": 1}})).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("lock"), "{failed}");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(bench.stored(), Vec::<String>::new(), "a failed backup leaves nothing in the store");
    assert_eq!(files(&bench.place.path().join("data/scratch")), Vec::<String>::new());

    let good = bench.back_up(Value::Null).await;
    assert_eq!(good["status"], "completed", "{good}");
    let file = bench.stored().into_iter().find(|file| file.ends_with(".enc")).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let restored =
        bench.restore(json!({"backupId": good["id"], "plan": {"mode": "drop", "endConnections": true}, "confirm": bench.database})).await;
    assert_eq!(restored["status"], "failed", "{restored}");
    assert_eq!(bench.rows(&bench.database).await, 5000, "the database is as it was");
    let job = bench.served.post(&format!("/api/backups/{}/verify", good["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!(bench.served.over(&format!("/api/jobs/{}", job["id"].as_str().unwrap())).await["status"], "failed");
    assert_eq!(bench.served.get(&format!("/api/backups/{}", good["id"].as_str().unwrap())).await["verifyState"], "corrupt");
    let (status, _) = bench
        .served
        .try_post(
            "/api/restores",
            json!({"backupId": good["id"], "databaseId": bench.id, "plan": {"mode": "drop"}, "confirm": bench.database}),
        )
        .await;
    assert_eq!(status, 409, "a backup that was found damaged is not restored");
    assert_eq!(bench.served.delete(&format!("/api/backups/{}", good["id"].as_str().unwrap())).await, 200);
    assert_eq!(bench.stored(), Vec::<String>::new(), "a deleted backup is gone from the store");
}

#[tokio::test]
async fn a_full_disk_fails_the_backup_clearly_and_the_catalogue_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::new("8m");
    let source = place.path().join("big.db");
    let connection = rusqlite::Connection::open(&source).unwrap();
    let fill = "CREATE TABLE t (b BLOB); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) INSERT INTO t SELECT randomblob(4000) FROM n";
    connection.execute_batch(fill).unwrap();
    let served = Served::start(place.path(), &[("BACKUP_STORAGE_PATH", disk.path().to_str().unwrap()), ("JOB_ATTEMPTS", "1")]).await;
    let id = served.post("/api/databases", json!({"name": "big", "engine": "sqlite", "settings": {"path": source}})).await["id"].clone();
    let started = served.post("/api/backups", json!({"databaseId": id})).await;
    let failed = served.over(&format!("/api/backups/{}", started["id"].as_str().unwrap())).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("space"), "{failed}");
    assert_eq!(files(disk.path()), Vec::<String>::new(), "the partial file is removed");
}

#[tokio::test]
async fn docker_stop_ends_it_in_good_order() {
    let place = tempfile::tempdir().unwrap();
    let mut served = Served::start(place.path(), &[("LOG_FORMAT", "json")]).await;
    let asked = reqwest::Client::new().get(served.url("/api/databases")).header("x-request-id", "proxy-4711");
    assert_eq!(asked.send().await.unwrap().headers()["x-request-id"], "proxy-4711");
    assert!(served.terminate().success());
    let log = log_of(place.path());
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("not JSON: {cause}: {line}"))).collect();
    let answered = lines.iter().find(|line| line["spans"][0]["request_id"] == "proxy-4711");
    assert_eq!(answered.unwrap_or_else(|| panic!("no line of the request: {log}"))["status"], 200);
    assert!(log.contains("shutting down"), "{log}");
}

#[tokio::test]
async fn a_client_that_reads_slowly_does_not_keep_it_from_ending() {
    let place = tempfile::tempdir().unwrap();
    let mut served = Served::start(place.path(), &[("SHUTDOWN_GRACE_SECONDS", "1")]).await;
    let _reader = slow_download(&served, place.path()).await;
    let asked = Instant::now();
    assert!(served.terminate().success(), "{}", log_of(place.path()));
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    assert!(log_of(place.path()).contains("had not read their answer"), "{}", log_of(place.path()));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let place = tempfile::tempdir().unwrap();
    let mut served = Served::start(place.path(), &[]).await;
    let _reader = slow_download(&served, place.path()).await;
    served.ask_to_stop();
    wait_until("the first signal is heard", async || log_of(place.path()).contains("shutting down")).await;
    assert!(!served.terminate().success(), "what ran was not waited for");
    assert!(log_of(place.path()).contains("SIGTERM again: ending at once"), "{}", log_of(place.path()));
}

/// Backs up a file too large for the buffers between here and there, and begins to download it.
async fn slow_download(served: &Served, place: &Path) -> TcpStream {
    let source = place.join("large.db");
    let fill = "CREATE TABLE t (b BLOB); WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 24) INSERT INTO t SELECT randomblob(1000000) FROM n";
    rusqlite::Connection::open(&source).unwrap().execute_batch(fill).unwrap();
    let id = served.post("/api/databases", json!({"name": "large", "engine": "sqlite", "settings": {"path": source}})).await["id"].clone();
    let started = served.post("/api/backups", json!({"databaseId": id})).await;
    let id = started["id"].as_str().unwrap();
    assert_eq!(served.over(&format!("/api/backups/{id}")).await["status"], "completed");
    let mut reader = TcpStream::connect(served.address()).unwrap();
    write!(reader, "GET /api/backups/{id}/download?artifact=dump HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut first = [0; 1000];
    reader.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
    reader
}

fn log_of(place: &Path) -> String {
    fs::read_to_string(place.join("server.log")).unwrap()
}
