//! Options of dumps and restores, each seen by what it changes.

use std::{path::PathBuf, time::Duration};

use dbsnap::domain::restore::RestoreMode;
use serde_json::json;

use super::{Bench, number, plan, plan_into, refused};
use crate::support::postgres::{Server, shared};

/// Longer than any limit in these tests.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn tablespaces_are_among_the_globals_and_are_made_again() {
    let server = Server::start(15);
    let client = server.connect("postgres").await;
    let data: String = client.query_one("SHOW data_directory", &[]).await.unwrap().get(0);
    let shelf = PathBuf::from(data).with_file_name("shelf");
    // By the server, so that the folder belongs to its account.
    client.batch_execute(&format!("COPY (SELECT) TO PROGRAM 'cat >/dev/null && mkdir {}'", shelf.display())).await.unwrap();
    client.batch_execute(&format!("CREATE TABLESPACE shelf LOCATION '{}'", shelf.display())).await.unwrap();
    let name = server.database("shelved").await;
    let table = "CREATE TABLE t TABLESPACE shelf AS SELECT 1 AS a";
    server.connect(&name).await.batch_execute(table).await.unwrap();
    let bench = Bench::new();
    let dumped = bench.dump(&server, &name, json!({"globals": true})).await.unwrap();
    let globals = String::from_utf8(dumped.globals.clone().unwrap().to_vec()).unwrap();
    assert!(globals.contains(&format!("CREATE TABLESPACE shelf OWNER postgres LOCATION '{}'", shelf.display())), "{globals}");

    server.connect(&name).await.batch_execute("DROP TABLE t").await.unwrap();
    client.batch_execute("DROP TABLESPACE shelf").await.unwrap();
    let outcome = bench.restore(&server, &name, &dumped, plan(RestoreMode::Drop, json!({"globals": true}))).await.unwrap();
    assert_eq!(outcome.warnings, Vec::<String>::new());
    let there = "SELECT count(*) FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace WHERE relname = 't' AND spcname = 'shelf'";
    assert_eq!(number(&server, &name, there).await, 1);
}

#[tokio::test]
async fn large_objects_are_left_out_when_they_are_not_wanted() {
    let server = shared(15);
    let name = server.database("objects").await;
    server.connect(&name).await.batch_execute("SELECT lo_from_bytea(0, 'abc'); CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    for (wanted, expect) in [(true, 1), (false, 0)] {
        let bench = Bench::new();
        let dumped = bench.dump(server, &name, json!({"largeObjects": wanted})).await.unwrap();
        let into = format!("{name}_{wanted}");
        bench.restore(server, &name, &dumped, plan_into(RestoreMode::New, &into)).await.unwrap();
        assert_eq!(number(server, &into, "SELECT count(*) FROM pg_largeobject_metadata").await, expect);
        assert_eq!(number(server, &into, "SELECT count(*) FROM t").await, 1);
    }
}

#[tokio::test]
async fn a_clean_restore_goes_past_missing_objects_only_when_it_may() {
    let server = shared(15);
    let name = server.database("incomplete").await;
    let client = server.connect(&name).await;
    client.batch_execute("CREATE TABLE kept AS SELECT 1 AS a; CREATE TABLE missing AS SELECT 2 AS a").await.unwrap();
    let bench = Bench::new();
    let dumped = bench.dump(server, &name, json!({})).await.unwrap();
    client.batch_execute("DROP TABLE missing").await.unwrap();
    let clean = |options| bench.restore(server, &name, &dumped, plan(RestoreMode::Clean, options));
    refused(clean(json!({"ifExists": false, "singleTransaction": true})).await, &["\"missing\" does not exist", "nothing was changed"]);
    assert_eq!(number(server, &name, "SELECT count(*) FROM kept").await, 1);
    clean(json!({"ifExists": true})).await.unwrap();
    assert_eq!(number(server, &name, "SELECT count(*) FROM missing").await, 1);
    clean(json!({"ifExists": false})).await.expect("now nothing is missing");
}

#[tokio::test]
async fn a_locked_table_fails_a_clean_restore_after_the_lock_timeout() {
    let server = shared(15);
    let name = server.database("held").await;
    let holder = server.connect(&name).await;
    holder.batch_execute("CREATE TABLE held AS SELECT 1 AS a").await.unwrap();
    let bench = Bench::new();
    let dumped = bench.dump(server, &name, json!({})).await.unwrap();
    holder.batch_execute("BEGIN; SELECT a FROM held").await.unwrap();
    let restoring = bench.restore(server, &name, &dumped, plan(RestoreMode::Clean, json!({"lockTimeoutSeconds": 1})));
    let restored = tokio::time::timeout(PATIENCE, restoring).await.expect("the limit ends it");
    refused(restored, &["waited for a lock longer than 1 s", "DROP TABLE", "raise the lock timeout"]);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(number(server, &name, "SELECT count(*) FROM held").await, 1);
}

#[tokio::test]
async fn a_dump_that_falls_silent_fails_after_the_stall_timeout() {
    let server = shared(15);
    let name = server.database("silent").await;
    let holder = server.connect(&name).await;
    holder.batch_execute("CREATE TABLE held (a int)").await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let bench = Bench::new();
    let dumping = bench.dump(server, &name, json!({"lockTimeoutSeconds": 0, "stallTimeoutSeconds": 1}));
    let error = refused(
        tokio::time::timeout(PATIENCE, dumping).await.expect("the limit ends it"),
        &["pg_dump wrote nothing for 1 s", "raise the stall timeout"],
    );
    assert!(error.retryable);
    holder.batch_execute("COMMIT").await.unwrap();
}
