//! The one moment of a dump: on replica sets there is one, elsewhere the dump says that there is none.

use dbsnap::error::Kind;
use mongodb::bson::{Document, doc};
use serde_json::json;

use super::{dump, dump_while, expect_error, of, place};
use crate::support::mongo_script::{Command, Reply, Script};

fn orders(count: i32) -> impl Iterator<Item = Document> {
    (0..count).map(|id| doc! { "_id": id })
}

#[tokio::test]
async fn all_collections_of_a_replica_set_are_read_at_one_moment() {
    let script = Script::primary();
    script.store().add("shop", "first", orders(500));
    script.store().add("shop", "second", orders(300));
    let later = || {
        script.store().add("shop", "first", [doc! { "_id": "later" }]);
        script.store().add("shop", "second", [doc! { "_id": "later" }]);
    };
    let dumped = dump_while(&of(&script, "shop"), json!({}), later, &place().run).await.unwrap();
    assert_eq!((dumped.archive.raw("first").len(), dumped.archive.raw("second").len()), (500, 300), "what came later is in it");
    assert_eq!(dumped.facts.warnings, Vec::<String>::new());
    assert_eq!(dumped.facts.moment.0, 1_700_000_000_000);

    let concern = |command: &Command| command.body.get_document("readConcern").cloned();
    let finds = script.received("find");
    let times: Vec<_> = finds[1..].iter().map(|find| concern(find).unwrap().get_timestamp("atClusterTime").unwrap()).collect();
    assert!(times.len() == 2 && times[0] == times[1], "{times:?}");
    let more = script.received("getMore");
    assert!(!more.is_empty() && more.iter().all(|more| concern(more).is_err()), "a cursor has its read concern already: {more:?}");
    let sessions: Vec<_> = finds[1..].iter().chain(&more).map(|command| command.body.get_document("lsid").unwrap().clone()).collect();
    assert!(sessions.iter().all(|session| *session == sessions[0]), "one session holds the cursors");
}

#[tokio::test]
async fn a_standalone_is_dumped_with_a_warning_or_not_at_all() {
    let script = Script::standalone();
    script.store().add("shop", "orders", orders(3));
    let dumped = dump(&of(&script, "shop"), json!({})).await.unwrap();
    assert!(dumped.facts.warnings[0].contains("not point in time: the server is a standalone"), "{:?}", dumped.facts.warnings);
    assert!(script.received("find").iter().all(|find| !find.body.contains_key("readConcern")));
    expect_error(dump(&of(&script, "shop"), json!({"pointInTime": "require"})).await, &["is required", "standalone", "replica set"]);
    let dumped = dump(&of(&script, "shop"), json!({"schemaOnly": true})).await.unwrap();
    assert_eq!(dumped.facts.warnings, Vec::<String>::new(), "definitions have no moment to miss");
}

#[tokio::test]
async fn the_moment_can_be_given_up_and_old_servers_have_none() {
    let script = Script::primary();
    script.store().add("shop", "orders", orders(3));
    let dumped = dump(&of(&script, "shop"), json!({"pointInTime": "off"})).await.unwrap();
    assert!(dumped.facts.warnings[0].contains("pointInTime is off"), "{:?}", dumped.facts.warnings);
    assert!(script.received("find").iter().all(|find| !find.body.contains_key("readConcern")));

    script.say_hello(doc! { "maxWireVersion": 9 });
    let dumped = dump(&of(&script, "shop"), json!({})).await.unwrap();
    assert!(dumped.facts.warnings[0].contains("MongoDB 5.0"), "{:?}", dumped.facts.warnings);
}

#[tokio::test]
async fn a_router_of_a_sharded_cluster_is_read_at_one_moment_too() {
    let script = Script::primary();
    script.say_hello(doc! { "setName": null, "hosts": null, "msg": "isdbgrid" });
    script.store().add("shop", "orders", orders(200));
    let dumped = dump(&of(&script, "shop"), json!({"pointInTime": "require"})).await.unwrap();
    assert_eq!(dumped.archive.raw("orders").len(), 200);
}

#[tokio::test]
async fn a_moment_that_the_server_has_forgotten_is_told_with_the_setting_to_raise() {
    let script = Script::primary();
    script.store().add("shop", "orders", orders(500));
    script.on("getMore", |_| Reply::Error(239, "SnapshotTooOld", "Read timestamp is older than the oldest available timestamp."));
    let error = expect_error(
        dump(&of(&script, "shop"), json!({})).await,
        &[
            "shop.orders",
            "no longer keeps the moment",
            "which is 300 s there",
            "setParameter: 1, minSnapshotHistoryWindowInSeconds",
            "pointInTime to off",
        ],
    );
    assert!(error.kind == Kind::Backup && !error.retryable, "the same dump would take as long again: {error:?}");
}

#[tokio::test]
async fn a_collection_dropped_since_the_moment_is_no_empty_one() {
    let script = Script::standalone();
    script.store().add("shop", "keep", orders(3));
    script.store().add("shop", "gone", orders(3));
    // Gone before its definition is read: left out.
    let later = || {
        script.store().run(&Command { body: doc! { "drop": "gone", "$db": "shop" }, documents: Vec::new() }, false);
    };
    let dumped = dump_while(&of(&script, "shop"), json!({}), later, &place().run).await.unwrap();
    assert_eq!(dumped.archive.names(), ["keep"]);
    // Gone between its definition and its documents.
    script.store().add("shop", "gone", orders(3));
    script.on("find", |find| match find.collection() {
        "gone" => Reply::Answer(doc! { "cursor": { "id": 0_i64, "ns": "shop.gone", "firstBatch": [] } }),
        _ => Reply::Default,
    });
    let later = || {
        script.on("listCollections", |_| {
            Reply::Answer(doc! { "cursor": { "id": 0_i64, "ns": "shop.$cmd.listCollections", "firstBatch": [{ "name": "keep", "type": "collection" }] } })
        });
    };
    let error =
        expect_error(dump_while(&of(&script, "shop"), json!({}), later, &place().run).await, &["shop.gone was dropped or replaced"]);
    assert!(error.retryable);
}
