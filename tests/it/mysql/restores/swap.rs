//! Tables that take others' place: seen from beside, held by others, cut short, killed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dbsnap::domain::restore::{RestoreMode, RestorePlan};
use mysql_async::prelude::Queryable as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Bench, databases, execute, number, plan, plan_into, refused, tool_dump};
use crate::support::mysql::{Flavour, Options, Server, shared};

const BOTH: [Flavour; 2] = [Flavour::MySql97, Flavour::MariaDb1011];

/// A database with one row in `t` now and two in its dump.
async fn changed(server: &Server, purpose: &str) -> (String, String) {
    let name = server.database(purpose).await;
    execute(server, &name, &["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1), (2)", "CREATE VIEW v AS SELECT * FROM t"]).await;
    let dump = tool_dump(server, &["--routines", "--events", &name]);
    execute(server, &name, &["DELETE FROM t WHERE a = 2"]).await;
    (name, dump)
}

/// Many rows, slow enough to be met in the middle.
fn long_script(rows: u32) -> String {
    let row = format!("({})", "1,".repeat(9) + "'x'");
    let insert = format!("INSERT INTO t VALUES {};\n", vec![row.as_str(); 200].join(","));
    format!(
        "CREATE TABLE t (a INT, b INT, c INT, d INT, e INT, f INT, g INT, h INT, i INT, j TEXT);\n{}",
        insert.repeat(rows as usize / 200)
    )
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_table_is_there_at_every_moment() {
    for server in BOTH.map(shared) {
        let (name, dump) = changed(server, "watched").await;
        let over = CancellationToken::new();
        let watching = tokio::spawn({
            let (name, over) = (name.clone(), over.clone());
            async move {
                let mut connection = server.connect("").await;
                let mut seen = Vec::new();
                while !over.is_cancelled() {
                    let rows: Option<u64> = connection.query_first(format!("SELECT COUNT(*) FROM {name}.t")).await.unwrap();
                    seen.push(rows.unwrap());
                }
                seen
            }
        });
        Bench::new().restore_script(server, &name, dump, plan(RestoreMode::Drop, json!({}))).await.unwrap();
        over.cancel();
        let mut seen = watching.await.unwrap();
        seen.dedup();
        assert_eq!(seen, [1, 2], "{:?}", server.flavour);
    }
}

#[tokio::test]
async fn a_session_that_holds_a_table_is_a_conflict_unless_it_may_be_ended() {
    for server in BOTH.map(shared) {
        let (name, dump) = changed(server, "held").await;
        let mut user = server.connect(&name).await;
        user.query_drop("BEGIN").await.unwrap();
        user.query_drop("SELECT * FROM t").await.unwrap();
        let soon = json!({"lockTimeoutSeconds": 1});
        let error = Bench::new().restore_script(server, &name, dump.clone(), plan(RestoreMode::Drop, soon.clone())).await;
        assert_eq!(refused(error, &["others use its tables", "the database is as it was"]).kind.code(), "CONFLICT");
        assert_eq!(user.query_first::<u64, _>("SELECT COUNT(*) FROM t").await.unwrap(), Some(1), "still there, still as it was");
        assert_eq!(databases(server, &name).await, std::slice::from_ref(&name));
        let ending = RestorePlan { end_connections: true, ..plan(RestoreMode::Drop, soon) };
        Bench::new().restore_script(server, &name, dump, ending).await.unwrap();
        assert!(user.query_drop("SELECT 1").await.is_err(), "the session was ended");
        assert_eq!(number(server, &name, "SELECT COUNT(*) FROM t").await, 2);
        assert_eq!(databases(server, &name).await, std::slice::from_ref(&name));
    }
}

#[tokio::test]
async fn foreign_keys_of_other_databases_are_a_conflict() {
    let server = shared(Flavour::MySql97);
    let (name, dump) = changed(server, "referred").await;
    let other = server.database("referring").await;
    execute(
        server,
        &name,
        &["ALTER TABLE t ADD PRIMARY KEY (a)", &format!("CREATE TABLE {other}.child (a INT, FOREIGN KEY (a) REFERENCES {name}.t (a))")],
    )
    .await;
    let error = Bench::new().restore_script(server, &name, dump, plan(RestoreMode::Drop, json!({}))).await;
    assert_eq!(refused(error, &["child", "the database is as it was"]).kind.code(), "CONFLICT");
    execute(server, "", &[&format!("DROP DATABASE {other}")]).await;
}

#[tokio::test]
async fn a_cancel_at_every_stage_leaves_nothing() {
    for server in BOTH.map(shared) {
        let (name, _) = changed(server, "cancelled").await;
        let script = long_script(400_000);
        for mode in [RestoreMode::New, RestoreMode::Drop] {
            for stage in ["restoring", "counting"] {
                let bench = Bench::new();
                *bench.seen.cancel_at.lock().unwrap() = Some((stage, bench.cancel.clone()));
                let into = if mode == RestoreMode::New { plan_into(mode, &format!("{name}_new")) } else { plan(mode, json!({})) };
                let error = bench.restore_script(server, &name, script.clone(), into).await.unwrap_err();
                assert!(error.is_cancelled(), "{stage}: {error}");
                assert_eq!(databases(server, &name).await, std::slice::from_ref(&name), "{mode:?} cancelled while {stage}");
                assert_eq!(number(server, &name, "SELECT COUNT(*) FROM t").await, 1);
            }
        }
    }
}

#[tokio::test]
async fn what_a_killed_restore_left_is_named() {
    let server = shared(Flavour::MariaDb1011);
    let (name, dump) = changed(server, "killed").await;
    let restoring = tokio::spawn({
        let (name, script) = (name.clone(), long_script(2_000_000));
        async move { Bench::new().restore_script(server, &name, script, plan(RestoreMode::Drop, json!({}))).await }
    });
    let beside = format!("{name}_dbsnap_new_");
    until("a database is being built", async || !databases(server, &beside).await.is_empty()).await;
    restoring.abort();
    assert!(restoring.await.is_err_and(|error| error.is_cancelled()));
    let left = databases(server, &beside).await;
    let sessions = format!("SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.processlist WHERE db = '{}'", left[0]);
    until("its session ended", async || number(server, "", &sessions).await == 0).await;
    let outcome = Bench::new().restore_script(server, &name, dump, plan(RestoreMode::Drop, json!({}))).await.unwrap();
    assert!(
        matches!(outcome.warnings.as_slice(), [one] if one.contains("killed") && one.contains(&format!("DROP DATABASE `{}`", left[0]))),
        "{:?}",
        outcome.warnings
    );
    assert_eq!(databases(server, &beside).await, left, "dropping it is for a person");
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_is_told_with_what_is_left() {
    for flavour in BOTH {
        let server = Arc::new(Server::start(flavour, &Options::default()));
        let (name, _) = changed(&server, "dying").await;
        let restoring = tokio::spawn({
            let (name, script, server) = (name.clone(), long_script(2_000_000), server.clone());
            async move { Bench::new().restore_script(&server, &name, script, plan(RestoreMode::Drop, json!({}))).await }
        });
        let beside = format!("{name}_dbsnap_new_");
        until("a database is being built", async || {
            let tables = format!("SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.tables WHERE table_schema LIKE '{beside}%'");
            number(&server, "", &tables).await > 0
        })
        .await;
        server.crash();
        refused(restoring.await.unwrap(), &["the database is as it was", "half-built", &beside]);
    }
}
