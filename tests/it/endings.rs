//! The binary ends in every way while jobs run: each job comes to its end all the same, and nobody has to look after it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    crash::{agree, make},
    support::{
        postgres,
        served::{Served, wait_until},
    },
};

/// Endings per test. Each one is at another point of the jobs.
const ROUNDS: usize = 6;

/// A served product with one database that takes a while to back up, and how long that is.
async fn bench(place: &Path, rows: u32, env: &[(&str, &str)]) -> (Served, Value, Duration) {
    let source = place.join("big.db");
    make(&source, rows);
    let server = Served::start(place, env).await;
    let input = json!({"name": "big", "engine": "sqlite", "settings": {"path": source}});
    let database = server.post("/api/databases", input).await["id"].clone();
    let begun = Instant::now();
    let first = server.post("/api/backups", json!({"databaseId": database})).await["id"].clone();
    assert_eq!(server.over(&backup(&first)).await["status"], "completed");
    (server, database, begun.elapsed())
}

fn backup(id: &Value) -> String {
    format!("/api/backups/{}", id.as_str().unwrap())
}

async fn jobs(server: &Served, query: &str) -> Vec<Value> {
    server.get(&format!("/api/jobs?limit=200&{query}")).await.as_array().unwrap().clone()
}

async fn until_nothing_is_open(server: &Served) {
    let begun = Instant::now();
    loop {
        let queue = server.get("/api/jobs/queue").await;
        if [&queue["due"], &queue["waiting"], &queue["running"]] == [&json!(0); 3] {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "jobs are still open: {queue} {:?}", jobs(server, "status=running").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A backup that runs for as long as the lock on its database is held.
async fn held_up(server: &Served, place: &Path, database: &Value) -> rusqlite::Connection {
    let holder = rusqlite::Connection::open(place.join("big.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let started = server.post("/api/backups", json!({"databaseId": database})).await;
    wait_until("the backup runs", async || server.get(&backup(&started["id"])).await["status"] == "running").await;
    holder
}

fn random_part(whole: Duration) -> Duration {
    whole.mul_f64(rand::rng().random_range(0.0..1.0))
}

#[tokio::test]
async fn asked_to_stop_again_and_again_every_job_completes_with_its_only_attempt() {
    let place = tempfile::tempdir().unwrap();
    let env = [("JOB_ATTEMPTS", "1"), ("SHUTDOWN_GRACE_SECONDS", "0")];
    let (mut server, database, whole) = bench(place.path(), 3_000, &env).await;
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let held = if round == 0 { Some(held_up(&server, place.path(), &database).await) } else { None };
        if jobs(&server, "status=queued").await.is_empty() && jobs(&server, "status=running").await.is_empty() {
            server.post("/api/backups", json!({"databaseId": database})).await;
        }
        if held.is_none() {
            tokio::time::sleep(random_part(whole)).await;
        }
        let asked = Instant::now();
        let ended = server.terminate();
        assert!(ended.success(), "round {round}: {ended}");
        assert!(asked.elapsed() < Duration::from_secs(20), "round {round}: it took {:?} to stop", asked.elapsed());
        server = Served::start(place.path(), &env).await;
        interrupted = server.get("/api/backups?status=interrupted&limit=200").await.as_array().unwrap().len();
    }
    assert!(interrupted > 0, "the first stop fell into a backup, and it is not told as interrupted");
    until_nothing_is_open(&server).await;
    for job in jobs(&server, "").await {
        assert_eq!((&job["status"], &job["attempt"]), (&json!("completed"), &json!(1)), "{job}");
    }
    agree(&server, place.path()).await;
}

#[tokio::test]
async fn killed_and_stopped_in_turn_jobs_of_every_kind_come_to_their_end() {
    let place = tempfile::tempdir().unwrap();
    let env = [("JOB_ATTEMPTS", "20"), ("RETRY_BASE_SECONDS", "0"), ("SHUTDOWN_GRACE_SECONDS", "0")];
    let (mut server, database, whole) = bench(place.path(), 1_500, &env).await;
    let good = server.get("/api/backups?status=completed").await[0]["id"].clone();
    for round in 0..ROUNDS {
        let held = if round == 0 { Some(held_up(&server, place.path(), &database).await) } else { None };
        server.try_post("/api/backups", json!({"databaseId": database})).await;
        server.post(&format!("{}/verify", backup(&good)), Value::Null).await;
        server.post("/api/diffs", json!({"before": {"backupId": good}, "after": {"databaseId": database}})).await;
        if held.is_none() {
            tokio::time::sleep(random_part(whole)).await;
        }
        match round % 2 {
            0 => server.kill(),
            _ => assert!(server.terminate().success(), "round {round}"),
        }
        server = Served::start(place.path(), &env).await;
    }
    until_nothing_is_open(&server).await;
    let all = jobs(&server, "").await;
    assert!(all.len() > ROUNDS, "{} jobs", all.len());
    for job in &all {
        assert_eq!(job["status"], "completed", "{job}");
    }
    assert!(all.iter().any(|job| job["attempt"].as_u64().unwrap() > 1), "the first kill fell into a job that was not tried again");
    agree(&server, place.path()).await;
}

/// What a kill leaves between the rows of the work and the end of its job.
#[tokio::test]
async fn killed_after_the_last_row_was_written_nothing_is_told_as_failed() {
    let place = tempfile::tempdir().unwrap();
    let env = [("JOB_ATTEMPTS", "1")];
    let (mut server, _, _) = bench(place.path(), 50, &env).await;
    let good = server.get("/api/backups?status=completed").await[0].clone();
    let plan = json!({"mode": "new", "targetName": place.path().join("again.db")});
    let request = json!({"backupId": good["id"], "databaseId": good["databaseId"], "plan": plan, "confirm": "again.db"});
    let restore = server.post("/api/restores", request).await;
    assert_eq!(server.over(&format!("/api/restores/{}", restore["id"].as_str().unwrap())).await["status"], "completed");
    until_nothing_is_open(&server).await;
    server.kill();

    let catalogue = rusqlite::Connection::open(place.path().join("data/dbsnap.db")).unwrap();
    let back = "UPDATE jobs SET status = 'running', finished_at = NULL, lease_token = 'gone', lease_until = 0, followed_up = TRUE;
                DELETE FROM notices";
    catalogue.execute_batch(back).unwrap();
    server = Served::start(place.path(), &env).await;
    let all = jobs(&server, "").await;
    assert!(all.len() >= 2 && all.iter().all(|job| job["status"] == "completed"), "{all:?}");
    let told: Vec<String> = catalogue
        .prepare("SELECT event FROM notices ORDER BY event")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(told, ["restore.finished"]);
    server.terminate();
}

/// What another process that ran the job would leave when it vanished: a lease that nobody renews.
#[tokio::test]
async fn a_job_whose_worker_vanished_is_found_within_thirty_seconds() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("shop.db");
    let holder = rusqlite::Connection::open(&source).unwrap();
    holder.execute_batch("CREATE TABLE t (x); BEGIN EXCLUSIVE").unwrap();
    let server = Served::start(place.path(), &[("JOB_ATTEMPTS", "2"), ("RETRY_BASE_SECONDS", "3600")]).await;
    // It waits for the lock while its lease is taken away.
    let input = json!({"name": "shop", "engine": "sqlite", "settings": {"path": source}});
    let database = server.post("/api/databases", input).await["id"].clone();
    let started = server.post("/api/backups", json!({"databaseId": database})).await;
    let path = format!("/api/jobs/{}", started["jobId"].as_str().unwrap());
    wait_until("the job runs", async || server.get(&path).await["status"] == "running").await;
    let catalogue = rusqlite::Connection::open(place.path().join("data/dbsnap.db")).unwrap();
    catalogue.busy_timeout(Duration::from_secs(10)).unwrap();
    let until = dbsnap::domain::time::Moment::now().plus(20_000).0;
    let taken =
        catalogue.execute("UPDATE jobs SET lease_token = 'of a worker that is gone', lease_until = ?1 WHERE status = 'running'", [until]);
    assert_eq!(taken.unwrap(), 1);
    let vanished = Instant::now();
    wait_until("the job is found", async || server.get(&path).await["status"] == "queued").await;
    assert!(vanished.elapsed() < Duration::from_secs(30), "found after {:?}", vanished.elapsed());
    let job = server.get(&path).await;
    assert_eq!((&job["error"], &job["attempt"]), (&json!("the job's worker vanished"), &json!(1)), "{job}");
    assert_eq!(server.get(&backup(&started["id"])).await["status"], "interrupted");
}

#[tokio::test]
async fn a_dump_tool_that_hangs_is_ended_with_its_job_and_leaves_no_process() {
    let postgres = postgres::shared(15);
    let name = postgres.database("hanging").await;
    let client = postgres.connect(&name).await;
    client.batch_execute("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 8) AS text FROM generate_series(1, 40000) n").await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let programs = postgres::programs(15);
    let env = [("JOB_ATTEMPTS", "1"), ("STALL_TIMEOUT_SECONDS", "3"), ("PG_BIN_DIRS", programs.to_str().unwrap())];
    let server = Served::start(place.path(), &env).await;
    let input = json!({"name": "hanging", "engine": "postgresql", "url": postgres.url(&name)});
    let database = server.post("/api/databases", input).await["id"].clone();
    // pg_dump waits for the table until it is stopped itself.
    client.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let request = json!({"databaseId": database, "options": {"artifacts": ["dump"]}});
    let started = server.post("/api/backups", request).await;
    // Not the one that only tells its version.
    let dumps =
        |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.windows(9).any(|part| part == b"--version"));
    let tool = || children(server.pid()).into_iter().filter(|(_, name)| name == "pg_dump").map(|(pid, _)| pid).find(dumps);
    let seen = std::cell::Cell::new(None);
    wait_until("pg_dump runs", async || {
        seen.set(tool());
        seen.get().is_some()
    })
    .await;
    let pid = seen.get().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    let failed = server.over(&backup(&started["id"])).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("no progress for 3 seconds"), "{failed}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the tool is gone");
    assert_eq!(children(server.pid()), [], "and nothing else is left");
}

/// Process id and name of each child.
fn children(parent: u32) -> Vec<(i32, String)> {
    let read = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        (rest.split_whitespace().nth(1)? == parent.to_string()).then(|| (pid, name.to_owned()))
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(read).collect()
}
