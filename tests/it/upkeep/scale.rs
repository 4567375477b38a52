//! 100 databases, 100,000 backups with their jobs, logs and runs: pages stay fast, and no query walks through all of it.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dbsnap::{db, domain::time::Moment, web::entries};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{support::served::Served, web::site::Site};

const DATABASES: u32 = 100;
const BACKUPS: u32 = 100_000;

/// What a page may take here: a debug build on a machine that runs other tests too. benches/lists.py measures the
/// release build.
const BOUND: Duration = Duration::from_millis(1500);

/// Tables that grow without end.
const LARGE: &[&str] =
    &["backups", "jobs", "execution_logs", "artifacts", "schedule_runs", "audit_events", "notices", "deliveries", "restores", "diffs"];

/// Addresses that are not answered at once or not from the catalogue, or that need more than their path.
const LEFT_OUT: &[&str] = &["/live", "/api/events", "/api/logs/export", "/restore/new", "/setup", "/login"];

/// Lists with their filters, and pages far behind.
const FILTERED: &[&str] = &[
    "/backups?status=failed",
    "/backups?status=running",
    "/backups?type=hourly",
    "/backups?databaseId=00000000-0000-7000-8000-000000000005",
    "/backups?databaseId=00000000-0000-7000-8000-000000000005&status=failed",
    "/backups?startDate=2026-01-01",
    "/backups?q=db-05",
    "/backups?q=nothing-like-it",
    "/backups?page=1000",
    "/api/backups?limit=200",
    "/databases/00000000-0000-7000-8000-000000000005",
    "/databases?q=7",
    "/api/databases?limit=200",
    "/jobs?status=failed",
    "/jobs?status=queued",
    "/jobs?kind=backup",
    "/jobs?kind=restore",
    "/jobs?page=1000",
    "/api/jobs?databaseId=00000000-0000-7000-8000-000000000005",
    "/jobs/00000001-0000-7000-8000-000000000005",
    "/backups/00000002-0000-7000-8000-000000000005",
    "/logs?level=error",
    "/logs?q=nothing-like-it",
    "/logs?kind=backup&level=info",
    "/logs?startDate=2026-01-01",
    "/api/logs?jobId=00000001-0000-7000-8000-000000000005",
    "/audit?page=100",
    "/restores?status=failed",
    "/compare?database=00000000-0000-7000-8000-000000000005",
    "/api/diffs?databaseId=00000000-0000-7000-8000-000000000005",
];

fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn fill(catalogue: &Connection, backups: u32) {
    let fill = include_str!("long_history.sql")
        .replace("{databases}", &DATABASES.to_string())
        .replace("{backups}", &backups.to_string())
        .replace("{now}", &Moment::now().0.to_string());
    catalogue.execute_batch(&fill).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_long_history_every_list_is_fast_and_none_walks_through_all_of_it() {
    let place = folder();
    Served::start(place.path(), &[]).await.terminate();
    let catalogue = Connection::open(place.path().join("data/dbsnap.db")).unwrap();
    fill(&catalogue, BACKUPS);
    std::fs::remove_file(place.path().join("server.log")).unwrap();
    let served = Served::start(place.path(), &[("LOG_LEVEL", "info,dbsnap::sql=trace"), ("LOG_FORMAT", "json")]).await;

    let plain = entries().into_iter().filter(|entry| entry.method == Method::GET && !entry.path.contains('{')).map(|entry| entry.path);
    let plain = plain.filter(|path| !LEFT_OUT.contains(&path.as_str()));
    let mut slow = Vec::new();
    for path in plain.chain(FILTERED.iter().map(|path| (*path).to_owned())) {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            let status = served.get_status(&path).await;
            best = best.min(begun.elapsed());
            assert!((200..400).contains(&status), "{path} answered {status}");
        }
        println!("{:6.1} ms {path}", best.as_secs_f64() * 1000.0);
        // A plan over everything judges each backup by every rule: it is a calculation, not a list.
        if best > BOUND && !path.ends_with("/plan") {
            slow.push((path, best));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");

    let log = std::fs::read_to_string(place.path().join("server.log")).unwrap();
    let queries: BTreeSet<String> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"] == "dbsnap::sql")
        .map(|line| line["sql"].as_str().unwrap().to_owned())
        .collect();
    assert!(queries.len() > 30, "only {} queries were seen", queries.len());
    let walks: Vec<_> = queries.iter().filter_map(|sql| walk(&catalogue, sql).map(|step| format!("{step}:\n{sql}"))).collect();
    assert!(walks.is_empty(), "these queries walk through a large table:\n{}", walks.join("\n\n"));
}

/// The step of a query's plan that reads a large table from one end to the other, or sorts the whole of it.
fn walk(catalogue: &Connection, sql: &str) -> Option<String> {
    let mut plan = catalogue.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let steps: Vec<String> = plan.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
    let names = aliases(sql);
    steps.into_iter().find(|step| {
        // An index that is made for one query walks through its table too.
        let walked = step.starts_with("SCAN ") || step.contains("AUTOMATIC");
        let scanned = step.split_whitespace().nth(1).filter(|_| walked);
        scanned.is_some_and(|name| {
            names.iter().any(|(alias, table)| alias == name && LARGE.contains(&table.as_str())) || LARGE.contains(&name)
        })
    })
}

/// What a query calls its tables: (its name here, the table).
fn aliases(sql: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = sql.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')')).filter(|word| !word.is_empty()).collect();
    let after = words.windows(3).filter(|three| matches!(three[0].to_uppercase().as_str(), "FROM" | "JOIN" | "INTO" | "UPDATE"));
    after.map(|three| (if three[2] == "AS" { three[1] } else { three[2] }.to_owned(), three[1].to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_through_a_large_table_is_noticed() {
    let site = Site::idle().await;
    let catalogue = site.catalogue();
    for sql in [
        "SELECT COUNT(*) FROM jobs",
        "SELECT j.id FROM jobs j WHERE j.error = 'x'",
        "SELECT d.id FROM databases d JOIN execution_logs l ON l.message = d.name",
    ] {
        assert!(walk(&catalogue, sql).is_some(), "{sql}");
    }
    assert_eq!(walk(&catalogue, "SELECT id FROM backups WHERE database_id = ?1 ORDER BY created_at DESC LIMIT 1"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_while_old_history_is_removed_waits_for_a_moment_only() {
    let mut site = Site::idle().await;
    fill(&site.catalogue(), 20_000);
    // Everything but the last two hours is old.
    site.catalogue()
        .execute_batch(
            "UPDATE jobs SET created_at = created_at - 9e9, finished_at = finished_at - 9e9; UPDATE execution_logs SET at = at - 9e9",
        )
        .unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (ctx, over) = (Arc::clone(&site.ctx), Arc::clone(&over));
        tokio::spawn(async move {
            let (mut longest, mut writes) = (Duration::ZERO, 0);
            while !over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                db::settings::set(&ctx.db, "written_meanwhile", "x").await.unwrap();
                longest = longest.max(begun.elapsed());
                writes += 1;
            }
            (longest, writes)
        })
    };
    let job = site.api(Method::POST, "/api/system/maintenance", json!({"task": "cleanup"})).await.id();
    site.begin().await;
    let job = site.wait(&format!("/api/jobs/{job}")).await;
    over.store(true, Ordering::SeqCst);
    let (longest, writes) = writer.await.unwrap();
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!((&job["report"]["removed"]["jobs"], &job["report"]["removed"]["logLines"]), (&json!(20_000), &json!(60_000)), "{job}");
    println!("{writes} writes, the longest took {longest:?}");
    assert!(longest < Duration::from_secs(3) && writes > 50, "{writes} writes, the longest took {longest:?}");
}
