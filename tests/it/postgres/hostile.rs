//! Names and secrets that must not become options, connection settings or command lines.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use dbsnap::domain::restore::RestoreMode;
use serde_json::json;

use super::{Bench, number, plan_into};
use crate::support::postgres::{PASSWORD, ident, shared};

#[tokio::test]
async fn odd_database_names_are_names_and_nothing_else() {
    let server = shared(15);
    let admin = server.connect("postgres").await;
    for name in ["-h", "host=127.0.0.2 dbname=x", "postgresql://127.0.0.2/x", "it's \\ \"quoted\"", "--version", "🐘 $(touch x); `id`"] {
        admin.batch_execute(&format!("CREATE DATABASE {} TEMPLATE template0", ident(name))).await.unwrap();
        server.connect(name).await.batch_execute("CREATE TABLE t AS SELECT generate_series(1, 3) AS a").await.unwrap();
        let bench = Bench::new();
        let dumped = bench.dump(server, name, json!({"globals": true})).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(dumped.tables[0].rows, 3);
        let copy = format!("{name} copy");
        bench.restore(server, name, &dumped, plan_into(RestoreMode::New, &copy)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        bench.restore(server, name, &dumped, plan_into(RestoreMode::Drop, name)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(number(server, &copy, "SELECT count(*) FROM t").await + number(server, name, "SELECT count(*) FROM t").await, 6);
    }
}

#[tokio::test]
async fn the_password_is_on_no_command_line_and_in_no_log() {
    let server = shared(15);
    let name = server.database("secret").await;
    server.connect(&name).await.batch_execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 50000)").await.unwrap();
    let watching = AtomicBool::new(true);
    let bench = Bench::new();
    let (seen, tools) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut seen, mut tools) = (false, false);
            while watching.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let command = String::from_utf8_lossy(&command);
                    // The tests' own helpers may carry it in their environment, never in their arguments.
                    seen |= command.contains(PASSWORD);
                    tools |= command.contains("--snapshot=") && command.contains("dbname=");
                }
            }
            (seen, tools)
        });
        // A thread of its own, because this one already drives the test.
        let working = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let dumped = bench.dump(server, &name, json!({"globals": true})).await.unwrap();
                bench.restore(server, &name, &dumped, plan_into(RestoreMode::New, &format!("{name}_copy"))).await.unwrap();
            });
        });
        working.join().unwrap();
        watching.store(false, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(tools, "pg_dump was seen at work");
    assert!(!seen, "the password was on a command line");
    assert!(!bench.log().contains(PASSWORD));
}
