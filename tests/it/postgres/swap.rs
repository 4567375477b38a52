//! A database that takes another's place: seen from beside, cut short, killed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dbsnap::domain::restore::{RestoreMode, RestorePlan};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Bench, databases, number, plan, refused};
use crate::support::postgres::{Server, shared};

/// A database with one row in `t` now and two in its dump.
async fn changed(server: &Server, purpose: &str) -> (String, super::Dumped) {
    let name = server.database(purpose).await;
    let client = server.connect(&name).await;
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)").await.unwrap();
    let dumped = Bench::new().dump(server, &name, json!({})).await.unwrap();
    client.batch_execute("DELETE FROM t WHERE a = 2").await.unwrap();
    (name, dumped)
}

async fn beside(server: &Server, name: &str) -> Vec<String> {
    databases(server).await.into_iter().filter(|other| other.starts_with(&format!("{name}_dbsnap_"))).collect()
}

/// Waits until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_name_is_there_at_every_moment() {
    let server = shared(15);
    let (name, dumped) = changed(server, "watched").await;
    let over = CancellationToken::new();
    let watching = tokio::spawn({
        let (name, over) = (name.clone(), over.clone());
        async move {
            let client = server.connect("postgres").await;
            let mut seen: Vec<Option<u32>> = Vec::new();
            while !over.is_cancelled() {
                let row = client.query_opt("SELECT oid FROM pg_database WHERE datname = $1", &[&name]).await.unwrap();
                seen.push(row.map(|row| row.get(0)));
            }
            seen
        }
    });
    for _ in 0..3 {
        Bench::new().restore(server, &name, &dumped, plan(RestoreMode::Drop, json!({}))).await.unwrap();
    }
    over.cancel();
    let mut seen = watching.await.unwrap();
    assert!(seen.iter().all(Option::is_some), "missing at {} of {} looks", seen.iter().filter(|oid| oid.is_none()).count(), seen.len());
    seen.dedup();
    assert_eq!((seen.len(), number(server, &name, "SELECT count(*) FROM t").await), (4, 2), "three new databases, one after the other");
}

#[tokio::test]
async fn sessions_that_come_again_and_again_do_not_keep_the_old_database() {
    let server = shared(15);
    let (name, dumped) = changed(server, "busy").await;
    let over = CancellationToken::new();
    let pool = tokio::spawn({
        let (url, over) = (server.url(&name), over.clone());
        async move {
            while !over.is_cancelled() {
                // Refused for a moment while the name changes hands.
                if let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                    let _ = tokio::join!(connection, client.batch_execute("SELECT pg_sleep(60)"));
                }
            }
        }
    });
    let ending = RestorePlan { end_connections: true, ..plan(RestoreMode::Drop, json!({})) };
    let done = Bench::new().restore(server, &name, &dumped, ending).await;
    over.cancel();
    done.unwrap();
    pool.abort();
    assert_eq!(number(server, &name, "SELECT count(*) FROM t").await, 2);
    assert_eq!(beside(server, &name).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_swap_that_has_begun_is_finished_though_its_task_is_aborted() {
    let server = shared(15);
    let (name, dumped) = changed(server, "aborted").await;
    // The swap waits for this session.
    let user = server.connect(&name).await;
    let bench = Arc::new(Bench::new());
    let restoring = tokio::spawn({
        let (bench, name) = (bench.clone(), name.clone());
        async move { bench.restore(server, &name, &dumped, plan(RestoreMode::Drop, json!({}))).await }
    });
    until("the swap began", async || bench.log().contains("putting it in the place of")).await;
    restoring.abort();
    assert!(restoring.await.unwrap_err().is_cancelled());
    drop(user);
    until("the swap was finished", async || beside(server, &name).await.is_empty()).await;
    assert_eq!(number(server, &name, "SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn what_a_killed_restore_left_is_named_with_the_statement_that_drops_it() {
    let server = shared(15);
    let (name, dumped) = changed(server, "killed").await;
    let dumped = Arc::new(dumped);
    let restoring = tokio::spawn({
        let (dumped, name) = (dumped.clone(), name.clone());
        async move { Bench::new().restore(server, &name, &dumped, plan(RestoreMode::Drop, json!({}))).await }
    });
    let marked = format!(
        "SELECT count(*) FROM pg_database WHERE datname LIKE '{name}\\_dbsnap\\_new\\_%' AND shobj_description(oid, 'pg_database') LIKE 'dbsnap: half-built%'"
    );
    until("a database is being built", async || number(server, "postgres", &marked).await == 1).await;
    restoring.abort();
    assert!(restoring.await.is_err_and(|error| error.is_cancelled()));
    let left = beside(server, &name).await;
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", left[0]);
    until("its sessions ended", async || number(server, "postgres", &sessions).await == 0).await;

    let outcome = Bench::new().restore(server, &name, &dumped, plan(RestoreMode::Drop, json!({}))).await.unwrap();
    assert!(
        matches!(outcome.warnings.as_slice(), [one] if one.contains("killed") && one.contains(&format!("DROP DATABASE \"{}\"", left[0]))),
        "{:?}",
        outcome.warnings
    );
    assert_eq!(beside(server, &name).await, left, "dropping it is for a person");
    let comment = "SELECT count(*) FROM pg_database WHERE datname = current_database() AND shobj_description(oid, 'pg_database') IS NULL";
    assert_eq!(number(server, &name, comment).await, 1, "the new database is not called half-built");
    server.connect("postgres").await.batch_execute(&format!("DROP DATABASE \"{}\"", left[0])).await.unwrap();
}

#[tokio::test]
async fn a_session_that_stays_is_a_conflict_and_both_are_as_they_were() {
    let server = shared(15);
    let (name, dumped) = changed(server, "held").await;
    let user = server.connect(&name).await;
    let refusal = Bench::new().restore(server, &name, &dumped, plan(RestoreMode::Drop, json!({}))).await;
    assert_eq!(refused(refusal, &["others are connected"]).kind.code(), "CONFLICT");
    assert_eq!(user.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 1);
    assert_eq!(beside(server, &name).await, Vec::<String>::new());
}
