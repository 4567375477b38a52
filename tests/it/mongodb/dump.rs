//! How a dump reads, and how it ends early.

use std::time::{Duration, Instant};

use dbsnap::{
    domain::{artifact::ArtifactKind, database::Settings, fields::validate, stream::channel},
    error::Kind,
};
use mongodb::bson::doc;
use serde_json::json;

use super::{dump, dump_while, engine, expect_error, of, place};
use crate::support::mongo_script::{Reply, Script};

/// A server whose `orders` take several batches.
fn shop() -> Script {
    let script = Script::standalone();
    script.store().add("shop", "orders", (0..1000).map(|id| doc! { "_id": id, "text": "x".repeat(100) }));
    script
}

#[tokio::test]
async fn batches_are_as_large_as_documents_allow_and_cursors_outlive_a_slow_store() {
    let script = shop();
    script.on("collStats", |_| Reply::Answer(doc! { "avgObjSize": 100_000 }));
    let dumped = dump(&of(&script, "shop"), json!({"statementTimeoutSeconds": 7})).await.unwrap();
    assert_eq!(dumped.archive.raw("orders").len(), 1000);
    let find = &script.received("find")[0].body;
    assert_eq!(find.get_i64("batchSize").unwrap(), 83, "8 MiB of documents");
    assert!(find.get_bool("noCursorTimeout").unwrap() && find.get_document("lsid").is_ok());
    assert_eq!(find.get_i64("maxTimeMS").unwrap(), 7000);
    for more in script.received("getMore") {
        // A server refuses a time limit on the next batch of an ordinary cursor.
        assert!(more.body.get_i32("batchSize").unwrap() == 83 && !more.body.contains_key("maxTimeMS"), "{more:?}");
    }
}

#[tokio::test]
async fn a_lost_cursor_fails_the_dump_and_says_that_trying_again_helps() {
    let check = async |reply: fn() -> Reply, parts: &[&str]| {
        let script = shop();
        script.on("getMore", move |_| reply());
        let error = expect_error(dump(&of(&script, "shop"), json!({})).await, parts);
        assert!(error.retryable, "{error:?}");
    };
    check(
        || Reply::Error(43, "CursorNotFound", "cursor id 7 not found"),
        &["reading shop.orders", "cursor id 7 not found", "lost the cursor"],
    )
    .await;
    check(|| Reply::Error(175, "QueryPlanKilled", "collection dropped"), &["reading shop.orders", "lost the cursor"]).await;
    check(|| Reply::Error(11600, "InterruptedAtShutdown", "interrupted at shutdown"), &["interrupted at shutdown"]).await;
    check(|| Reply::HangUp, &["reading shop.orders", "connection broke"]).await;
}

#[tokio::test]
async fn a_server_that_dies_fails_the_dump() {
    let script = std::sync::Arc::new(shop());
    let killed = script.clone();
    script.on("getMore", move |_| {
        killed.kill();
        Reply::HangUp
    });
    let error = expect_error(dump(&of(&script, "shop"), json!({})).await, &["dumping", "reading shop.orders"]);
    assert!(error.retryable);
}

#[tokio::test]
async fn a_refused_query_names_what_to_do() {
    let script = shop();
    script.on("find", |_| Reply::Error(50, "MaxTimeMSExpired", "operation exceeded time limit"));
    expect_error(dump(&of(&script, "shop"), json!({"statementTimeoutSeconds": 3})).await, &["shop.orders", "statement timeout of 3 s"]);
    script.on("find", |_| Reply::Error(13, "Unauthorized", "not authorized on shop to execute command find"));
    let error = expect_error(dump(&of(&script, "shop"), json!({})).await, &["shop.orders", "not authorized", "set user and password"]);
    assert!(error.kind == Kind::Database && !error.retryable);
    script.on("listCollections", |_| Reply::Error(13, "Unauthorized", "not authorized on shop to execute command listCollections"));
    expect_error(dump(&of(&script, "shop"), json!({})).await, &["listing the collections of shop", "not authorized"]);
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_a_cancel_does_not_wait_for_it() {
    let script = shop();
    script.on("getMore", |_| Reply::Silence);
    let error =
        expect_error(dump(&of(&script, "shop"), json!({"stallTimeoutSeconds": 1})).await, &["sent nothing for 1 s", "stall timeout"]);
    assert!(error.retryable);

    let place = place();
    let settings = of(&script, "shop");
    let asked = Instant::now();
    let cancel = async {
        while script.received("getMore").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        place.run.cancel.cancel();
    };
    let (result, ()) = tokio::join!(dump_while(&settings, json!({}), || (), &place.run), cancel);
    assert!(result.err().unwrap().is_cancelled());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn an_archive_that_nobody_wants_any_more_ends_the_dump() {
    let script = shop();
    let options = validate(engine().info().dump_options, &Settings::new()).unwrap();
    let place = place();
    let mut dump = engine().open_dump(&of(&script, "shop"), &options, false, &place.run).await.unwrap();
    let (out, pieces) = channel();
    drop(pieces);
    expect_error(dump.write(ArtifactKind::Dump, out, &place.run).await, &["no longer wanted"]);
}

#[tokio::test]
async fn collections_are_chosen_by_pattern() {
    let script = Script::standalone();
    for name in ["orders", "orders.old", "log.1", "log.2", "fs.files", "fs.chunks"] {
        script.store().add("shop", name, [doc! { "_id": name }]);
    }
    let names = async |options| dump(&of(&script, "shop"), options).await.unwrap().archive.names().join(" ");
    assert_eq!(names(json!({})).await, "fs.chunks fs.files log.1 log.2 orders orders.old");
    assert_eq!(
        names(json!({"includeCollections": ["orders*", "fs.*"], "excludeCollections": ["*.old"]})).await,
        "fs.chunks fs.files orders"
    );
    assert_eq!(names(json!({"excludeCollections": ["log.*"]})).await, "fs.chunks fs.files orders orders.old");
    expect_error(dump(&of(&script, "shop"), json!({"includeCollections": ["order"]})).await, &["no collection matches 'order'"]);
    let options = json!({"includeCollections": ["orders"]});
    assert_eq!(engine().partial(options.as_object().unwrap()), Some("chosen collections"));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_no_empty_backup() {
    let script = shop();
    expect_error(dump(&of(&script, "shoq"), json!({})).await, &["the database shoq does not exist", "check its name"]);
    for own in ["local", "config", "__mdb_internal_x"] {
        expect_error(dump(&of(&script, own), json!({})).await, &[own, "the server's own state"]);
    }
}
