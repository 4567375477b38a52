//! What goes wrong: a clear error each time, no child left, nothing half-built.

use std::time::Duration;

use dbsnap::{
    domain::{artifact::ArtifactKind, restore::RestoreMode, stream::channel},
    engines::Engine,
    error::Result,
};
use serde_json::json;

use super::{Bench, ENGINE, databases, number, plan_into, refused, settings};
use crate::support::postgres::{Server, programs, shared};

/// Rows enough that pg_dump is still at work when its first bytes arrive.
async fn large(server: &Server) -> String {
    let name = server.database("large").await;
    let sql = "CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 8) AS text FROM generate_series(1, 40000) n; CREATE TABLE small AS SELECT 1 AS a";
    server.connect(&name).await.batch_execute(sql).await.unwrap();
    name
}

/// Starts a dump, and when its first piece has arrived calls `strike`; then reads on.
async fn struck(bench: &Bench, server: &Server, database: &str, strike: impl AsyncFnOnce()) -> Result<()> {
    let run = bench.run();
    let mut dump = ENGINE.open_dump(&settings(server, database), json!({}).as_object().unwrap(), false, &run).await?;
    let (out, mut input) = channel();
    let reading = async {
        assert!(input.recv().await.is_some(), "a first piece");
        strike().await;
        while input.recv().await.is_some() {}
    };
    tokio::join!(dump.write(ArtifactKind::Dump, out, &run), reading).0
}

/// Children of this process that hold this text in their command line.
fn children(text: &str) -> usize {
    let commands = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands.filter(|command| String::from_utf8_lossy(command).contains(text)).count()
}

#[tokio::test]
async fn a_wrong_password_a_missing_database_and_a_silent_host_are_named() {
    let server = shared(15);
    let bench = Bench::new();
    let probe = async |changes: serde_json::Value| {
        let mut settings = settings(server, "postgres");
        settings.extend(changes.as_object().unwrap().clone());
        ENGINE.probe(&settings, &bench.run()).await
    };
    refused(probe(json!({"password": "hunter2"})).await, &["password authentication failed", "check user and password"]);
    refused(probe(json!({"database": "nope"})).await, &["database \"nope\" does not exist", "check the database name"]);
    let error = refused(probe(json!({"port": 1})).await, &["127.0.0.1:1", "check host and port"]);
    assert!(error.retryable);
    refused(probe(json!({"host": "nothing.invalid"})).await, &["nothing.invalid", "is not known"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    refused(probe(json!({"port": port, "connectTimeout": 1})).await, &["did not answer", "in 1 s"]);
    let good = probe(json!({})).await.unwrap();
    assert!(good.server_version.starts_with("PostgreSQL 15.") && good.tool.unwrap().starts_with("pg_dump 15."));
    assert_eq!(good.read_only, Some(false));
}

#[tokio::test]
async fn an_account_that_may_only_read_is_told_apart_and_what_it_may_not_read_is_named() {
    let server = shared(15);
    let name = server.database("reading").await;
    let roles = "CREATE ROLE only_reads LOGIN PASSWORD 'x'; CREATE TABLE open_table (a int); CREATE TABLE closed_table (a int); GRANT SELECT ON open_table TO only_reads";
    server.connect(&name).await.batch_execute(roles).await.unwrap();
    let mut settings = settings(server, &name);
    settings.extend(json!({"user": "only_reads", "password": "x"}).as_object().unwrap().clone());
    let bench = Bench::new();
    let probe = ENGINE.probe(&settings, &bench.run()).await.unwrap();
    assert_eq!(probe.read_only, Some(true));
    assert!(probe.warnings.iter().any(|warning| warning.contains("public.closed_table")), "{:?}", probe.warnings);
    let run = bench.run();
    let mut dump = ENGINE.open_dump(&settings, json!({"globals": true}).as_object().unwrap(), false, &run).await.unwrap();
    assert!(dump.facts().warnings.iter().any(|warning| warning.contains("without their passwords")));
    let (out, mut input) = channel();
    let drain = tokio::spawn(async move { while input.recv().await.is_some() {} });
    refused(dump.write(ArtifactKind::Dump, out, &run).await, &["permission denied", "closed_table"]);
    drain.await.unwrap();
    let (out, mut input) = channel();
    let drain = tokio::spawn(async move { while input.recv().await.is_some() {} });
    dump.write(ArtifactKind::Globals, out, &run).await.unwrap();
    drain.await.unwrap();
}

#[tokio::test]
async fn a_server_newer_than_every_client_is_refused_with_the_fix() {
    let mut bench = Bench::new();
    bench.tool_dirs = vec![programs(15)];
    let server = shared(18);
    refused(
        bench.dump(server, "postgres", json!({})).await,
        &["can dump server 18.", "found pg_dump 15.", "install postgresql-client-18 or set PG_BIN_DIRS"],
    );
    let probe = ENGINE.probe(&settings(server, "postgres"), &bench.run()).await.unwrap();
    assert_eq!(probe.tool, None);
    assert!(probe.warnings[0].contains("postgresql-client-18"), "{:?}", probe.warnings);
    let dumped = Bench::new().dump(server, "postgres", json!({})).await.unwrap();
    refused(
        bench.restore(server, "postgres", &dumped, plan_into(RestoreMode::New, "never")).await,
        &["read an archive of version 1.16", "postgresql-client-17"],
    );
    assert!(!databases(server).await.contains(&"never".to_owned()));
}

#[tokio::test]
async fn a_database_dropped_in_mid_dump_fails_it() {
    let server = shared(17);
    let name = large(server).await;
    let drop_it = async || server.connect("postgres").await.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    refused(struck(&Bench::new(), server, &name, drop_it).await, &["dumping", &name, "pg_dump"]);
}

#[tokio::test]
async fn a_server_that_crashes_in_mid_dump_fails_it() {
    let server = Server::start(15);
    let name = large(&server).await;
    refused(struck(&Bench::new(), &server, &name, async || server.crash()).await, &["dumping", &name]);
}

#[tokio::test]
async fn a_cancel_in_mid_dump_leaves_no_child() {
    let server = shared(15);
    let name = large(server).await;
    let bench = Bench::new();
    let error = struck(&bench, server, &name, async || bench.cancel.cancel()).await.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(children(&format!("dbname='{name}'")), 0);
}

#[tokio::test]
async fn a_cancel_in_mid_restore_leaves_no_child_and_no_database() {
    let server = shared(15);
    let name = large(server).await;
    let dumped = Bench::new().dump(server, &name, json!({})).await.unwrap();
    for (stage, mode) in [("restoring", RestoreMode::New), ("restoring", RestoreMode::Drop), ("counting", RestoreMode::Drop)] {
        let bench = Bench::new();
        *bench.seen.cancel_at.lock().unwrap() = Some((stage, bench.cancel.clone()));
        let into = if mode == RestoreMode::New { format!("{name}_cancelled") } else { name.clone() };
        let error = bench.restore(server, &name, &dumped, plan_into(mode, &into)).await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(children("pg_restore").min(children(&format!("dbname='{name}_"))), 0);
        let left: Vec<_> = databases(server).await.into_iter().filter(|other| other.starts_with(&name)).collect();
        assert_eq!(left, std::slice::from_ref(&name));
        assert_eq!(number(server, &name, "SELECT count(*) FROM filler").await, 40_000);
    }
}

#[tokio::test]
async fn a_damaged_archive_changes_nothing() {
    let server = shared(15);
    let name = large(server).await;
    let mut dumped = Bench::new().dump(server, &name, json!({})).await.unwrap();
    let whole = dumped.dump.clone();
    for length in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        dumped.dump = whole.slice(..length);
        refused(Bench::new().restore(server, &name, &dumped, plan_into(RestoreMode::Drop, &name)).await, &["archive is damaged"]);
    }
    dumped.dump = whole;
    dumped.tables[0].rows += 1;
    refused(
        Bench::new().restore(server, &name, &dumped, plan_into(RestoreMode::Drop, &name)).await,
        &["does not hold what its manifest says"],
    );
    assert_eq!(number(server, &name, "SELECT count(*) FROM filler").await, 40_000);
}

#[tokio::test]
async fn a_locked_table_fails_a_dump_after_the_lock_timeout() {
    let server = shared(15);
    let name = server.database("locked").await;
    let holder = server.connect(&name).await;
    holder.batch_execute("CREATE TABLE held (a int)").await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let dumping = Bench::new();
    let dumping = dumping.dump(server, &name, json!({"lockTimeoutSeconds": 1}));
    refused(tokio::time::timeout(Duration::from_secs(30), dumping).await.unwrap(), &["LOCK TABLE public.held", "raise the lock timeout"]);
    holder.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_statement_that_runs_too_long_fails_the_dump() {
    let server = shared(15);
    let name = server.database("slow").await;
    // What takes long here is pg_dump's LOCK TABLE.
    let holder = server.connect(&name).await;
    holder.batch_execute("CREATE TABLE held (a int)").await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let bench = Bench::new();
    let dumping = bench.dump(server, &name, json!({"lockTimeoutSeconds": 0, "statementTimeoutSeconds": 1}));
    refused(tokio::time::timeout(Duration::from_secs(30), dumping).await.unwrap(), &["ran longer than 1 s", "raise the statement timeout"]);
}
