//! What the product refuses to touch, and what it leaves behind when something in its way fails: nothing. The binary
//! serving, with SQLite databases.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use dbsnap::domain::{backup::BackupType, ids::BackupId, naming, time::Moment};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    disk::Disk,
    served::{Served, wait_until},
};

/// The product and the folder it works in.
struct Bench {
    place: tempfile::TempDir,
    served: Served,
}

impl Bench {
    async fn new(env: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let served = Served::start(place.path(), &[env, &[("JOB_ATTEMPTS", "1")]].concat()).await;
        Self { place, served }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Makes a database file of `rows` rows of 4 kB and configures it; returns its id.
    async fn add(&self, name: &str, rows: u32) -> Value {
        let path = self.path(&format!("{name}.db"));
        let fill = format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT i, randomblob(4000) FROM n;"
        );
        Connection::open(&path).unwrap().execute_batch(&fill).unwrap();
        let input = json!({"name": name, "engine": "sqlite", "settings": {"path": path}});
        self.served.post("/api/databases", input).await["id"].clone()
    }

    async fn back_up(&self, database: &Value) -> Value {
        let started = self.served.post("/api/backups", json!({"databaseId": database})).await;
        self.served.over(&backup(&started["id"])).await
    }

    /// Asks for a restore of the backup over its database; returns the path of the restore.
    async fn restore(&self, good: &Value, confirm: &str, plan: Value) -> String {
        let request = json!({"backupId": good["id"], "databaseId": good["databaseId"], "plan": plan, "confirm": confirm});
        format!("/api/restores/{}", self.served.post("/api/restores", request).await["id"].as_str().unwrap())
    }

    fn stored(&self) -> Vec<PathBuf> {
        files(&self.path("data/backups"))
    }

    fn catalogue(&self) -> Connection {
        Connection::open(self.path("data/dbsnap.db")).unwrap()
    }
}

fn backup(id: &Value) -> String {
    format!("/api/backups/{}", id.as_str().unwrap())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn the_products_own_files_are_no_databases_over_links_either() {
    let bench = Bench::new(&[]).await;
    let copy = async || files(&bench.path("data")).into_iter().find(|file| file.extension().is_some_and(|extension| extension == "bak"));
    wait_until("the day's copy of the catalogue is there", async || copy().await.is_some()).await;
    symlink(bench.path("data/new.db"), bench.path("dangling.db")).unwrap();
    for path in [
        copy().await.unwrap(),
        bench.path("data/dbsnap.db"),
        bench.path("data/dbsnap.db-wal"),
        bench.path("data/backups/new.db"),
        bench.path("data/not/there/yet.db"),
        bench.path("dangling.db"),
    ] {
        let input = json!({"name": "own", "engine": "sqlite", "settings": {"path": path}});
        let (status, answer) = bench.served.try_post("/api/databases", input).await;
        assert_eq!(status, 400, "{}: {answer}", path.display());
        assert!(answer.to_string().contains("belongs to DBSnap itself"), "{answer}");
    }

    let id = bench.add("shop", 3).await;
    let good = bench.back_up(&id).await;
    assert_eq!(good["status"], "completed", "{good}");
    fs::remove_file(bench.path("shop.db")).unwrap();
    symlink(bench.path("data/dbsnap.db"), bench.path("shop.db")).unwrap();
    let failed = bench.back_up(&id).await;
    assert_eq!(failed["status"], "failed", "a link that was changed later is noticed: {failed}");
    assert!(failed["error"].as_str().unwrap().contains("belongs to DBSnap itself"), "{failed}");
}

#[tokio::test]
async fn a_safety_backup_of_another_target_is_no_backup_of_the_database() {
    let bench = Bench::new(&[]).await;
    let id = bench.add("shop", 3).await;
    let good = bench.back_up(&id).await;
    let other = bench.path("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE own (x); INSERT INTO own VALUES (1)").unwrap();
    let path = bench.restore(&good, "other.db", json!({"mode": "drop", "targetName": other, "safetyBackup": true})).await;
    let restored = bench.served.over(&path).await;
    assert_eq!(restored["status"], "completed", "{restored}");
    let safety = bench.served.get(&backup(&restored["safetyBackupId"])).await;
    assert_eq!((&safety["databaseId"], safety["databaseName"].as_str().unwrap()), (&Value::Null, "other.db"), "{safety}");
    assert_eq!(safety["tables"][0]["name"], "own");
    assert!(safety["manifestKey"].as_str().unwrap().starts_with("other.db/"), "{safety}");
    let shown = bench.served.get(&format!("/api/databases/{}", id.as_str().unwrap())).await;
    assert_eq!(shown["lastGood"]["id"], good["id"]);
    assert_eq!(bench.served.delete(&backup(&safety["id"])).await, 200);

    let path = bench.restore(&good, "shop.db", json!({"mode": "drop", "safetyBackup": true})).await;
    let restored = bench.served.over(&path).await;
    let safety = bench.served.get(&backup(&restored["safetyBackupId"])).await;
    assert_eq!((&safety["databaseId"], safety["databaseName"].as_str().unwrap()), (&id, "shop"), "{safety}");
}

#[tokio::test]
async fn a_safety_backup_of_a_damaged_target_fails_and_nothing_is_restored() {
    let bench = Bench::new(&[]).await;
    let id = bench.add("shop", 50).await;
    let good = bench.back_up(&id).await;
    let shop = bench.path("shop.db");
    let mut bytes = fs::read(&shop).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    bytes[4096 + 8..4096 + 200].fill(0xff);
    fs::write(&shop, &bytes).unwrap();
    let path = bench.restore(&good, "shop.db", json!({"mode": "drop", "safetyBackup": true})).await;
    let failed = bench.served.over(&path).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("the safety backup failed, so nothing was restored"), "{failed}");
    assert!(fs::read(&shop).unwrap() == bytes, "the damaged target is as it was, byte for byte");

    let path = bench.restore(&good, "shop.db", json!({"mode": "drop"})).await;
    let restored = bench.served.over(&path).await;
    assert_eq!(restored["status"], "completed", "without a safety backup it goes on when asked to: {restored}");
}

#[tokio::test]
async fn a_backup_under_restore_cannot_be_deleted_and_a_cancel_says_how_the_target_is() {
    let bench = Bench::new(&[]).await;
    let id = bench.add("shop", 3).await;
    let good = bench.back_up(&id).await;
    let holder = Connection::open(bench.path("shop.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let path = bench.restore(&good, "shop.db", json!({"mode": "append", "content": "data"})).await;
    wait_until("the restore runs", async || bench.served.get(&path).await["status"] == "running").await;
    assert_eq!(bench.served.delete(&backup(&good["id"])).await, 409);
    bench.served.post(&format!("{path}/cancel"), Value::Null).await;
    let cancelled = bench.served.over(&path).await;
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    assert!(cancelled["error"].as_str().unwrap().contains("the target may hold a part of the data"), "{cancelled}");
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(bench.served.delete(&backup(&good["id"])).await, 200);
}

#[tokio::test]
async fn a_backup_and_a_restore_of_one_database_take_turns() {
    let bench = Bench::new(&[]).await;
    let id = bench.add("shop", 4000).await;
    let good = bench.back_up(&id).await;
    let started = bench.served.post("/api/backups", json!({"databaseId": id})).await;
    let path = bench.restore(&good, "shop.db", json!({"mode": "drop"})).await;
    let restored = bench.served.over(&path).await;
    let second = bench.served.over(&backup(&started["id"])).await;
    assert_eq!((restored["status"].as_str().unwrap(), second["status"].as_str().unwrap()), ("completed", "completed"));
    let (restored, second) = [&restored, &second].map(|run| (moment(&run["startedAt"]), moment(&run["finishedAt"]))).into();
    assert!(second.1 <= restored.0 || restored.1 <= second.0, "backup {second:?}, restore {restored:?}");
}

fn moment(value: &Value) -> Moment {
    serde_json::from_value(value.clone()).unwrap()
}

#[tokio::test]
async fn files_that_the_catalogue_does_not_take_are_removed_at_once_or_at_the_next_start() {
    let mut bench = Bench::new(&[]).await;
    let id = bench.add("shop", 3).await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON backups WHEN NEW.status = 'completed' BEGIN SELECT RAISE(ABORT, 'refused'); END";
    bench.catalogue().execute_batch(refuse).unwrap();
    let failed = bench.back_up(&id).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(bench.stored(), Vec::<PathBuf>::new(), "nothing stays that no row knows");

    let started_at = moment(&failed["startedAt"]);
    let backup_id: BackupId = serde_json::from_value(failed["id"].clone()).unwrap();
    let folder = bench.path("data/backups").join(naming::folder("shop", started_at));
    fs::create_dir_all(&folder).unwrap();
    let left = folder.join(format!("{}.dump.zst.enc", naming::stem("shop", BackupType::Manual, started_at, backup_id)));
    let other = folder.join("somebody-elses.txt");
    fs::write(&left, "left").unwrap();
    fs::write(&other, "kept").unwrap();
    bench.served.kill();
    bench.served = Served::start(bench.place.path(), &[]).await;
    assert_eq!(bench.stored(), [other], "what the failed backup left is gone, and nothing else");
}

#[tokio::test]
async fn a_store_that_refuses_to_delete_keeps_the_row_and_it_can_be_tried_again() {
    let disk = Disk::new("16m");
    let bench = Bench::new(&[("BACKUP_STORAGE_PATH", disk.path().to_str().unwrap())]).await;
    let id = bench.add("shop", 3).await;
    let good = bench.back_up(&id).await;
    assert_eq!(good["status"], "completed", "{good}");
    disk.make_read_only();
    let refused = bench.served.delete(&backup(&good["id"])).await;
    assert!(refused >= 500, "{refused}");
    assert_eq!(bench.served.get(&backup(&good["id"])).await["status"], "completed");

    let failed = bench.back_up(&id).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().to_lowercase().contains("read-only"), "{failed}");
    disk.make_writable();
    assert_eq!(files(disk.path()).len(), 3, "dump, snapshot and manifest of the good backup, nothing of the failed one");
    assert_eq!(bench.served.delete(&backup(&good["id"])).await, 200);
    assert_eq!(files(disk.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn every_installation_has_an_id_of_its_own_and_keeps_it() {
    let mut one = Bench::new(&[]).await;
    let other = Bench::new(&[]).await;
    let id = async |bench: &Bench| bench.served.get("/api/system/status").await["instanceId"].as_str().unwrap().to_owned();
    let first = id(&one).await;
    assert_ne!(first, id(&other).await);
    one.served.kill();
    one.served = Served::start(one.place.path(), &[]).await;
    assert_eq!(id(&one).await, first);
}

#[tokio::test]
async fn a_decompression_bomb_is_refused_and_not_kept() {
    let bench = Bench::new(&[("MAX_PLAIN_BYTES", "32768")]).await;
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b'-'), 1 << 30), 1).unwrap();
    let (status, answer) = bench.served.upload("bomb.sql.zst", bomb).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.to_string().contains("32768"), "it names the limit: {answer}");
    assert_eq!(files(&bench.path("data/uploads")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_pin_outlives_the_catalogue() {
    let mut bench = Bench::new(&[]).await;
    let id = bench.add("shop", 3).await;
    let good = bench.back_up(&id).await;
    bench.served.put(&format!("{}/pin", backup(&good["id"]))).await;
    assert_eq!(bench.served.delete(&backup(&good["id"])).await, 409);
    bench.served.kill();
    for name in ["dbsnap.db", "dbsnap.db-wal", "dbsnap.db-shm"] {
        fs::remove_file(bench.path("data").join(name)).ok();
    }
    let rebuild = std::process::Command::new(env!("CARGO_BIN_EXE_dbsnap"))
        .arg("rebuild")
        .current_dir(bench.place.path())
        .env_clear()
        .env("ENCRYPTION_KEY", "a test passphrase of more than 32 characters")
        .output()
        .unwrap();
    assert!(rebuild.status.success(), "{}", String::from_utf8_lossy(&rebuild.stderr));
    bench.served = Served::start(bench.place.path(), &[]).await;
    assert_eq!(bench.served.get(&backup(&good["id"])).await["pinned"], true);
}

#[tokio::test]
async fn a_cleanup_removes_old_uploads_but_none_that_a_restore_waits_for() {
    let bench = Bench::new(&[]).await;
    let id = bench.add("shop", 3).await;
    let upload = async |name: &str| {
        let (status, answer) = bench.served.upload(name, fs::read(bench.path("shop.db")).unwrap()).await;
        assert_eq!(status, 201, "{answer}");
        answer["data"]["id"].clone()
    };
    let wanted = upload("wanted.db").await;
    upload("forgotten.db").await;
    let holder = Connection::open(bench.path("shop.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let plan = json!({"mode": "drop"});
    let request = json!({"uploadId": wanted, "databaseId": id, "plan": plan, "confirm": "shop.db"});
    let path = format!("/api/restores/{}", bench.served.post("/api/restores", request).await["id"].as_str().unwrap());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 60 * 60);
    for file in files(&bench.path("data/uploads")) {
        fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    let cleanup = bench.served.post("/api/system/maintenance", json!({"task": "cleanup"})).await;
    let cleanup = bench.served.over(&format!("/api/jobs/{}", cleanup["id"].as_str().unwrap())).await;
    assert_eq!(cleanup["status"], "completed", "{cleanup}");
    let mut left = files(&bench.path("data/uploads"));
    left.sort();
    let id = wanted.as_str().unwrap();
    assert_eq!(left, [format!("data/uploads/{id}.json"), format!("data/uploads/{id}.upload")].map(|name| bench.path(&name)));
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(bench.served.over(&path).await["status"], "completed");
    wait_until("the restored upload is gone", async || files(&bench.path("data/uploads")).is_empty()).await;
}
