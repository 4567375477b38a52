//! Restores into a scripted server: what the real one of the tests cannot show. Collections of every kind, members that
//! step down, connections that break, servers that die, commands in their order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dbsnap::domain::restore::{RestoreContent, RestoreMode, RestorePlan};
use mongodb::bson::{Bson, Document, Timestamp, doc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    bench::{Builder, dump_bytes, one_collection, plan, restore, restore_in, with},
    expect_error, of, place,
};
use crate::support::mongo_script::{Reply, Role, Script};

fn numbers(of: std::ops::Range<i32>) -> impl Iterator<Item = Document> {
    of.map(|id| doc! { "_id": id })
}

fn names(script: &Script, db: &str) -> Vec<String> {
    script.store().names(db)
}

fn rows(script: &Script, db: &str, name: &str) -> usize {
    script.store().collection(db, name).map_or(0, |found| found.documents.len())
}

/// Answers the `nth` command of its kind, counted from 0, with `reply`.
fn at(
    nth: usize,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> impl Fn(&crate::support::mongo_script::Command) -> Reply + Send + Sync + 'static {
    let count = AtomicUsize::new(0);
    move |_| if count.fetch_add(1, Ordering::SeqCst) == nth { reply() } else { Reply::Default }
}

#[tokio::test]
async fn collections_of_every_kind_are_made_with_their_options_and_indexes() {
    let (from, to) = (Script::primary(), Script::primary());
    let kinds = [
        ("capped", doc! { "capped": true, "size": 4096, "max": 100 }),
        ("german", doc! { "collation": { "locale": "de", "strength": 2 } }),
        ("clustered", doc! { "clusteredIndex": { "v": 2, "key": { "_id": 1 }, "name": "by id", "unique": true } }),
        ("checked", doc! { "validator": { "n": { "$gt": 5_i64 } }, "validationLevel": "moderate", "validationAction": "error" }),
        ("images", doc! { "changeStreamPreAndPostImages": { "enabled": true } }),
        ("series", doc! { "timeseries": { "timeField": "at", "metaField": "m", "granularity": "hours" }, "expireAfterSeconds": 3600_i64 }),
        ("a view", doc! { "viewOn": "another view", "pipeline": [{ "$match": { "a": { "$regex": "^x" } } }] }),
        ("another view", doc! { "viewOn": "capped", "pipeline": [] }),
    ];
    let indexes = [
        doc! { "v": 2, "key": { "z": 1, "a": -1 }, "name": "z_1_a_-1", "unique": true, "partialFilterExpression": { "a": { "$gt": 5 } } },
        doc! { "v": 2, "key": { "_fts": "text", "_ftsx": 1 }, "name": "t", "weights": { "t": 7 }, "default_language": "none", "textIndexVersion": 3 },
        doc! { "v": 2, "key": { "at": 1 }, "name": "ttl", "expireAfterSeconds": 10, "hidden": true },
        doc! { "v": 2, "key": { "$**": 1 }, "name": "w", "wildcardProjection": { "x": 1 } },
        doc! { "v": 2, "key": { "h": "hashed" }, "name": "h", "collation": { "locale": "simple" } },
    ];
    for (name, options) in &kinds {
        from.store().collection_mut("d", name).options = options.clone();
    }
    for name in ["capped", "german", "clustered", "checked", "images", "system.buckets.series"] {
        from.store().add("d", name, numbers(0..250));
    }
    from.store().collection_mut("d", "german").indexes.extend(indexes.clone());
    let archive = dump_bytes(&of(&from, "d"), json!({})).await;
    let outcome = restore(&of(&to, "e"), &archive, plan(RestoreMode::New)).await.unwrap();
    assert_eq!(outcome.warnings, Vec::<String>::new());
    assert!(outcome.tables.iter().all(|table| table.rows == 250 && table.schema.is_none()), "{:?}", outcome.tables);
    for (name, options) in &kinds {
        assert_eq!(&to.store().collection("e", name).unwrap().options, options, "{name}");
    }
    let made = to.received("createIndexes").pop().unwrap().body;
    let without_version = |index: &Document| -> Document {
        index.iter().filter(|(key, _)| *key != "v").map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    assert_eq!(made.get_array("indexes").unwrap(), &indexes.iter().map(|index| Bson::Document(without_version(index))).collect::<Vec<_>>());
    assert_eq!(rows(&to, "e", "system.buckets.series"), 250);
    let order: Vec<_> = to.store().collection("e", "capped").unwrap().documents.iter().map(|one| one.get_i32("_id").unwrap()).collect();
    assert_eq!(order, (0..250).collect::<Vec<_>>(), "a capped collection keeps the order");
    let created: Vec<_> = to.received("create").iter().map(|command| command.collection().to_owned()).collect();
    assert_eq!(created[6..], ["another view", "a view"]);
    // What passes a validator by is what was dumped, and only where there is one.
    for insert in to.received("insert") {
        let bypasses = insert.body.get_bool("bypassDocumentValidation").unwrap_or(false);
        assert_eq!(bypasses, insert.collection() == "checked", "{}", insert.collection());
        assert_eq!(insert.body.get_document("writeConcern").unwrap(), &doc! { "w": "majority" });
    }
}

#[tokio::test]
async fn documents_are_counted_before_an_index_could_delete_them() {
    let script = Script::standalone();
    let metadata = json!({"indexes": [{"key": {"at": 1}, "name": "ttl", "expireAfterSeconds": 1}]});
    let archive = Builder::new().list("d", "c", "collection", &metadata).documents("d", "c", numbers(0..3)).end("d", "c").finish();
    restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap();
    let order: Vec<_> =
        script.names().into_iter().filter(|name| ["create", "insert", "aggregate", "createIndexes"].contains(&name.as_str())).collect();
    assert_eq!(order, ["create", "insert", "aggregate", "createIndexes"]);
}

#[tokio::test]
async fn refused_documents_are_counted_and_named() {
    let archive = one_collection(numbers(0..20));
    let script = Script::standalone();
    script.store().add("d", "c", numbers(3..13));
    let error = expect_error(
        restore(&of(&script, "d"), &archive, plan(RestoreMode::Append)).await,
        &["d.c: 10 of 20 documents refused (10 for a duplicate key)", r#"{"_id":{"$numberInt":"3"}}"#, "E11000", "still there"],
    );
    assert_eq!(error.kind.code(), "RESTORE_ERROR");
    assert_eq!(rows(&script, "d", "c"), 20, "the others of the batch are in");

    let script = Script::standalone();
    script.store().add("d", "c", numbers(3..13));
    let outcome = restore(&of(&script, "d"), &archive, with(RestoreMode::Append, json!({"exitOnError": false}))).await.unwrap();
    assert!(matches!(outcome.warnings.as_slice(), [one] if one.contains("10 of 20 documents refused")), "{:?}", outcome.warnings);
    assert_eq!(outcome.tables[0].rows, 20);
}

#[tokio::test]
async fn a_validator_refuses_and_it_is_told() {
    let script = Script::standalone();
    script.store().add("d", "c", []);
    let refusal = doc! { "n": 1, "writeErrors": [{ "index": 1, "code": 121, "errmsg": "Document failed validation" }] };
    script.on("insert", move |_| Reply::Answer(refusal.clone()));
    let archive = one_collection(numbers(0..2));
    expect_error(
        restore(&of(&script, "d"), &archive, plan(RestoreMode::Append)).await,
        &["1 of 2 documents refused (1 by the validator)", r#"{"$numberInt":"1"}"#, "Document failed validation"],
    );
    assert!(script.received("insert")[0].body.get("bypassDocumentValidation").is_none());
}

#[tokio::test]
async fn a_write_that_is_not_acknowledged_as_asked_fails() {
    let script = Script::primary();
    let answer = doc! { "n": 2, "writeConcernError": { "code": 64, "codeName": "WriteConcernTimeout", "errmsg": "waiting for replication timed out" } };
    script.on("insert", move |_| Reply::Answer(answer.clone()));
    let failed = restore(&of(&script, "d"), &one_collection(numbers(0..2)), plan(RestoreMode::New)).await;
    expect_error(failed, &["not acknowledged", "timed out", "dropped again"]);
    assert_eq!(names(&script, "d"), Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_connection_costs_no_document_and_makes_none_twice() {
    let archive = one_collection(numbers(0..1500));
    for role in [Role::Standalone, Role::Primary] {
        let script = Script::start(role.clone());
        script.on("insert", at(1, || Reply::DoAndHangUp));
        let outcome =
            restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap_or_else(|error| panic!("{role:?}: {error}"));
        assert_eq!((outcome.tables[0].rows, outcome.warnings.len()), (1500, 0), "{role:?} {:?}", outcome.warnings);
    }
}

#[tokio::test]
async fn a_primary_that_steps_down_is_waited_for() {
    let script = Arc::new(Script::primary());
    let stepping = script.clone();
    script.on(
        "insert",
        at(0, move || {
            stepping.become_role(Role::Secondary);
            let back = stepping.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(700));
                back.on("insert", |_| Reply::Default);
                back.become_role(Role::Primary);
            });
            stepping.on("insert", |_| Reply::Error(10107, "NotWritablePrimary", "not primary"));
            Reply::Error(10107, "NotWritablePrimary", "not primary")
        }),
    );
    let outcome = restore(&of(&script, "d"), &one_collection(numbers(0..50)), plan(RestoreMode::New)).await.unwrap();
    assert_eq!(outcome.tables[0].rows, 50);
    script.on("insert", |_| Reply::Default);
}

#[tokio::test]
async fn a_server_that_dies_is_told_of_with_what_is_left_there() {
    let script = Arc::new(Script::standalone());
    let dying = script.clone();
    script.on(
        "insert",
        at(1, move || {
            dying.kill();
            Reply::HangUp
        }),
    );
    let began = Instant::now();
    let impatient = super::settings(json!({"hosts": script.address(), "database": "d", "tlsMode": "off", "connectTimeout": 1}));
    let failed = restore(&impatient, &one_collection(numbers(0..1500)), plan(RestoreMode::New)).await;
    expect_error(failed, &["inserting into d.c", "half-built collections are left", "d.c"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// Two collections and a view in the backup; the target has one of them, another one and a view of the other's name.
fn changed(script: &Script) -> Vec<u8> {
    script.store().add("d", "a", numbers(100..105));
    script.store().add("d", "old", numbers(0..1));
    script.store().collection_mut("d", "b").options = doc! { "viewOn": "a", "pipeline": [] };
    Builder::new()
        .plain("d", "a")
        .plain("d", "b")
        .list("d", "v", "view", &json!({"options": {"viewOn": "b", "pipeline": []}}))
        .documents("d", "a", numbers(0..3))
        .end("d", "a")
        .documents("d", "b", numbers(0..4))
        .end("d", "b")
        .finish()
}

#[tokio::test]
async fn each_collection_takes_the_place_of_its_predecessor_at_once_and_others_go() {
    let script = Script::standalone();
    let archive = changed(&script);
    restore(&of(&script, "d"), &archive, plan(RestoreMode::Drop)).await.unwrap();
    assert_eq!(names(&script, "d"), ["a", "b", "v"]);
    assert_eq!((rows(&script, "d", "a"), rows(&script, "d", "b")), (3, 4));
    assert_eq!(script.store().collection("d", "v").unwrap().kind(), "view");
    let renames = script.received("renameCollection");
    assert!(renames.iter().all(|rename| rename.body.get_bool("dropTarget").unwrap()), "{renames:?}");
    assert!(script.received("drop").iter().all(|drop| drop.collection() != "a"), "it was never away");
}

#[tokio::test]
async fn a_failure_before_the_replacing_leaves_everything_as_it_was() {
    let script = Script::standalone();
    let archive = changed(&script);
    script.on("insert", at(1, || Reply::Error(13297, "DatabaseDifferCase", "no")));
    let failed = restore(&of(&script, "d"), &archive, plan(RestoreMode::Drop)).await;
    expect_error(failed, &["inserting into d.", "the database is as it was"]);
    assert_eq!(names(&script, "d"), ["a", "b", "old"]);
    assert_eq!(rows(&script, "d", "a"), 5);
}

#[tokio::test]
async fn a_failure_within_the_replacing_tells_what_was_replaced() {
    let script = Script::standalone();
    let archive = changed(&script);
    // The first is a trial.
    script.on("renameCollection", at(2, || Reply::Error(1, "InternalError", "the disk is on fire")));
    let failed = restore(&of(&script, "d"), &archive, plan(RestoreMode::Drop)).await;
    expect_error(failed, &["on fire", "replaced: a; as they were: b"]);
    assert_eq!(names(&script, "d"), ["a", "old"], "nothing half-built is left");
    assert_eq!(rows(&script, "d", "a"), 3);
}

#[tokio::test]
async fn without_renaming_collections_are_dropped_first_and_that_is_told() {
    let script = Script::standalone();
    let archive = changed(&script);
    script.on("renameCollection", |_| Reply::Error(59, "CommandNotFound", "no such command"));
    let outcome = restore(&of(&script, "d"), &archive, plan(RestoreMode::Drop)).await.unwrap();
    assert!(outcome.warnings[0].contains("the server does not rename"), "{:?}", outcome.warnings);
    assert_eq!(names(&script, "d"), ["a", "b", "v"]);
}

#[tokio::test]
async fn what_a_killed_restore_left_is_named_and_stays() {
    let script = Script::standalone();
    let archive = changed(&script);
    script.store().add("d", "dbsnap_restore_20260101T000000Z_0a0b0c0d_0", numbers(0..1));
    let outcome = restore(&of(&script, "d"), &archive, plan(RestoreMode::Drop)).await.unwrap();
    assert!(
        matches!(outcome.warnings.as_slice(), [one] if one.contains("d.dbsnap_restore_20260101T000000Z_0a0b0c0d_0") && one.contains("killed"))
    );
    assert_eq!(names(&script, "d"), ["a", "b", "dbsnap_restore_20260101T000000Z_0a0b0c0d_0", "v"]);
}

#[tokio::test]
async fn a_cancel_leaves_nothing_half_built() {
    for mode in [RestoreMode::New, RestoreMode::Drop] {
        let script = Script::standalone();
        let place = place();
        let cancel: CancellationToken = place.run.cancel.clone();
        script.on("insert", move |_| {
            cancel.cancel();
            Reply::Default
        });
        let began = Instant::now();
        let archive = one_collection(numbers(0..1500));
        let stopped = restore_in(&of(&script, "d"), &archive, &[], plan(mode), &place.run).await;
        assert!(stopped.unwrap_err().is_cancelled());
        assert_eq!(names(&script, "d"), Vec::<String>::new(), "{mode}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn empty_timestamps_are_put_back() {
    let script = Script::standalone();
    let empty = Timestamp { time: 0, increment: 0 };
    let documents = [
        doc! { "_id": 1, "at": empty },
        doc! { "_id": 2, "at": Timestamp { time: 1, increment: 0 } },
        doc! { "_id": empty, "in": { "at": empty } },
    ];
    // What the server has made of it.
    script.on("find", |_| {
        Reply::Answer(
            doc! { "cursor": { "id": 0_i64, "ns": "d.c", "firstBatch": [{ "_id": 1, "at": Timestamp { time: 9, increment: 9 } }] } },
        )
    });
    restore(&of(&script, "d"), &one_collection(documents.clone()), plan(RestoreMode::New)).await.unwrap();
    let updates = script.received("update");
    assert_eq!(updates.len(), 1, "a server sets only fields of the document itself, and never _id");
    let update = updates[0].body.get_array("updates").unwrap()[0].as_document().unwrap().clone();
    assert_eq!(update, doc! { "q": { "_id": { "$eq": 1 } }, "u": [{ "$replaceWith": { "$literal": documents[0].clone() } }] });
}

#[tokio::test]
async fn buckets_of_mixed_types_are_taken_once_their_collection_is_told() {
    let script = Script::standalone();
    let metadata = json!({"options": {"timeseries": {"timeField": "at"}}, "type": "timeseries"});
    let archive = Builder::new()
        .list("d", "t", "timeseries", &metadata)
        .documents("d", "system.buckets.t", numbers(0..2))
        .end("d", "system.buckets.t")
        .finish();
    script.on("insert", at(0, || Reply::Answer(doc! { "n": 0, "writeErrors": [{ "index": 0, "code": 408, "errmsg": "mixed" }, { "index": 1, "code": 408, "errmsg": "mixed" }] })));
    let outcome = restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap();
    assert_eq!((outcome.tables[0].label(), outcome.tables[0].rows), ("system.buckets.t".to_owned(), 2));
    assert_eq!(script.received("collMod")[0].body.get_str("collMod").unwrap(), "t");
}

#[tokio::test]
async fn index_options_that_the_server_does_not_know_are_left_out_and_told() {
    let script = Script::standalone();
    let metadata = json!({"indexes": [{"key": {"a": 1}, "name": "a", "dropDups": true}]});
    let archive = Builder::new().list("d", "c", "", &metadata).end("d", "c").finish();
    script.on("createIndexes", at(0, || Reply::Error(197, "InvalidIndexSpecificationOption", "The field 'dropDups' is not valid")));
    let outcome = restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap();
    assert!(matches!(outcome.warnings.as_slice(), [one] if one.contains("dropDups") && one.contains("d.c")), "{:?}", outcome.warnings);
    assert!(script.received("createIndexes")[1].body.get_bool("ignoreUnknownIndexOptions").unwrap());
}

#[tokio::test]
async fn an_index_that_cannot_be_made_ends_the_restore_unless_it_may_go_on() {
    let metadata = json!({"indexes": [{"key": {"a": 1}, "name": "a"}, {"key": {"b": 1}, "name": "b"}]});
    let archive = Builder::new().list("d", "c", "", &metadata).end("d", "c").finish();
    let refusing = |script: &Script| {
        script.on("createIndexes", |command| {
            let indexes = command.body.get_array("indexes").unwrap();
            let a = indexes.iter().any(|index| index.as_document().unwrap().get_str("name").unwrap() == "a");
            if a { Reply::Error(11000, "DuplicateKey", "E11000 duplicate key error") } else { Reply::Default }
        });
    };
    let script = Script::standalone();
    refusing(&script);
    expect_error(
        restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await,
        &["creating the indexes of d.c (a, b)", "E11000", "dropped again"],
    );
    let outcome = restore(&of(&script, "d"), &archive, with(RestoreMode::New, json!({"exitOnError": false}))).await.unwrap();
    assert!(matches!(outcome.warnings.as_slice(), [one] if one.contains("(a)")), "{:?}", outcome.warnings);
    assert_eq!(script.store().collection("d", "c").unwrap().indexes.len(), 2);
}

#[tokio::test]
async fn users_and_roles_are_merged_when_asked_for() {
    let archive = Builder::new()
        .plain("d", "c")
        .list("d", "$admin.system.users", "", &Value::Null)
        .list("d", "$admin.system.roles", "", &Value::Null)
        .end("d", "c")
        .documents("d", "$admin.system.users", [doc! { "_id": "d.u", "user": "u", "db": "d" }])
        .end("d", "$admin.system.users")
        .documents("d", "$admin.system.roles", [doc! { "_id": "d.r", "role": "r", "db": "d" }])
        .end("d", "$admin.system.roles")
        .finish();
    let script = Script::primary();
    restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap();
    assert!(script.received("_mergeAuthzCollections").is_empty(), "only when asked for");
    let wanted = || with(RestoreMode::Clean, json!({"usersAndRoles": true}));
    let outcome = restore(&of(&script, "d"), &archive, wanted()).await.unwrap();
    assert_eq!(outcome.warnings, Vec::<String>::new());
    let merge = script.received("_mergeAuthzCollections").pop().unwrap().body;
    assert_eq!((merge.get_str("db").unwrap(), merge.get_bool("drop").unwrap()), ("d", false));
    let users = merge.get_str("tempUsersCollection").unwrap().strip_prefix("admin.").unwrap();
    let sent: Vec<_> = script.received("insert").into_iter().filter(|insert| insert.collection() == users).collect();
    assert_eq!((sent.len(), sent[0].documents.len(), sent[0].db()), (1, 1, "admin"));
    assert_eq!(names(&script, "admin"), Vec::<String>::new(), "nothing is left of the way");
    let elsewhere = restore(&of(&script, "other"), &archive, wanted()).await.unwrap();
    assert!(elsewhere.warnings[0].contains("none were restored into another"), "{:?}", elsewhere.warnings);
}

#[tokio::test]
async fn several_databases_go_where_they_came_from_and_never_into_one() {
    let archive = Builder::new()
        .plain("shop", "c")
        .plain("blog", "c")
        .plain("config", "shards")
        .documents("shop", "c", numbers(0..2))
        .end("shop", "c")
        .documents("blog", "c", numbers(0..3))
        .end("blog", "c")
        .end("config", "shards")
        .finish();
    let script = Script::standalone();
    expect_error(
        restore(&of(&script, "shop"), &archive, plan(RestoreMode::New)).await,
        &["several databases (blog, shop)", "names no database"],
    );
    let all = super::settings(json!({"hosts": script.address(), "tlsMode": "off"}));
    let outcome = restore(&all, &archive, plan(RestoreMode::New)).await.unwrap();
    let mut found: Vec<_> = outcome.tables.iter().map(|table| format!("{} {}", table.label(), table.rows)).collect();
    found.sort();
    assert_eq!(found, ["blog.c 3", "shop.c 2"]);
    assert!(outcome.warnings[0].contains("config.shards"), "{:?}", outcome.warnings);
    let one = RestorePlan { tables: vec!["blog.c".into()], target_name: Some("copy".into()), ..plan(RestoreMode::New) };
    restore(&all, &archive, one).await.unwrap();
    assert_eq!(rows(&script, "copy", "c"), 3);
}

#[tokio::test]
async fn plans_that_make_no_sense_are_refused_and_nothing_is_sent() {
    let script = Script::standalone();
    let archive = one_collection(numbers(0..2));
    let data = |mode| RestorePlan { content: RestoreContent::Data, ..plan(mode) };
    for mode in [RestoreMode::New, RestoreMode::Drop, RestoreMode::Clean] {
        expect_error(restore(&of(&script, "d"), &archive, data(mode)).await, &["documents alone", "append"]);
    }
    for (name, why) in [("a.b", "characters"), ("", "empty"), ("local", "server")] {
        let into = RestorePlan { target_name: Some(name.into()), ..plan(RestoreMode::New) };
        expect_error(restore(&of(&script, "d"), &archive, into).await, &[why]);
    }
    let missing = RestorePlan { tables: vec!["nope".into(), "c".into()], ..plan(RestoreMode::New) };
    expect_error(restore(&of(&script, "d"), &archive, missing).await, &["no collection nope"]);
    let cut = &archive[..archive.len() - 1];
    expect_error(restore(&of(&script, "d"), cut, plan(RestoreMode::Drop)).await, &["cut short"]);
    let expected = [dbsnap::domain::artifact::TableCount { schema: None, name: "c".into(), rows: 3 }];
    let fewer = restore_in(&of(&script, "d"), &archive, &expected, plan(RestoreMode::Drop), &place().run).await;
    expect_error(fewer, &["manifest", "c has 2 documents instead of 3"]);
    assert_eq!(script.names(), Vec::<String>::new());
    expect_error(restore(&of(&script, "d"), &archive, data(RestoreMode::Append)).await, &["d.c is not there", "nothing was changed"]);
    assert!(script.received("insert").is_empty());
}
