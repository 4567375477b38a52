//! Archives made by an enemy, restored into a scripted server: nothing goes where it should not.

use dbsnap::domain::restore::RestoreMode;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::{
    bench::{Builder, plan, restore, with},
    expect_error, of,
};
use crate::support::mongo_script::Script;

#[tokio::test]
async fn collections_of_the_server_are_never_written() {
    let mut archive = Builder::new().plain("d", "c");
    let theirs = ["system.profile", "system.views", "system.buckets.x", "system.indexes"];
    for name in theirs {
        archive = archive.plain("d", name);
    }
    archive = archive.plain("admin", "system.users").plain("", "oplog").plain("local", "startup_log");
    archive = archive.documents("d", "c", [doc! { "_id": 1 }]).end("d", "c");
    for name in theirs {
        archive = archive.documents("d", name, [doc! { "_id": 1 }]).end("d", name);
    }
    let archive = archive
        .documents("admin", "system.users", [doc! { "_id": "admin.evil" }])
        .end("admin", "system.users")
        .end("", "oplog")
        .end("local", "startup_log")
        .finish();
    let script = Script::standalone();
    let outcome = restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap();
    assert_eq!(script.store().names("d"), ["c"]);
    for name in ["admin", "local", ""] {
        assert!(script.store().names(name).is_empty(), "{name}");
    }
    assert!(theirs.iter().all(|name| outcome.warnings[0].contains(name)), "{:?}", outcome.warnings);
}

#[tokio::test]
async fn options_cannot_turn_a_command_into_another() {
    let metadata = json!({"options": {"create": "other", "$db": "admin", "writeConcern": {"w": 0}, "lsid": 1, "capped": false}, "indexes": [
        {"key": {"a": 1}, "name": "a\"; db.dropDatabase()"},
    ]});
    let archive = Builder::new().list("d", "c", "collection", &metadata).end("d", "c").finish();
    let script = Script::standalone();
    let outcome = restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await.unwrap();
    let create = &script.received("create")[0];
    assert_eq!((create.collection(), create.db()), ("c", "d"));
    assert_eq!(create.body.get_document("writeConcern").unwrap(), &doc! { "w": "majority" });
    assert!(outcome.warnings[0].contains("$db, lsid, writeConcern"), "{:?}", outcome.warnings);
}

#[tokio::test]
async fn names_and_definitions_that_cannot_be_are_refused_before_anything_is_sent() {
    let script = Script::standalone();
    let check = async |archive: Builder, why: &str| {
        expect_error(restore(&of(&script, "d"), &archive.finish(), plan(RestoreMode::Drop)).await, &[why]);
    };
    for name in ["$cmd", ".x", "a\0b", ""] {
        check(Builder::new().plain("d", name).end("d", name), "can be no name").await;
    }
    for wrong in [json!([]), json!({"options": 3}), json!({"indexes": [3]}), json!({"options": {"size": {"$numberLong": "x"}}})] {
        check(Builder::new().list("d", "c", "", &wrong).end("d", "c"), "damaged").await;
    }
    let all = super::settings(json!({"hosts": script.address(), "tlsMode": "off"}));
    for db in ["a/b", "..", "a b", "$x", ""] {
        let archive = Builder::new().plain(db, "c").end(db, "c").finish();
        expect_error(restore(&all, &archive, plan(RestoreMode::New)).await, &["can be no name of a database"]);
    }
    assert_eq!(script.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_metadata_bomb_is_refused() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut text = json!({"options": {"validator": Value::Null}}).to_string();
    text = text.replace("null", &deep);
    let listing = doc! { "db": "d", "collection": "c", "metadata": text, "size": 0, "type": "" };
    let plain = Builder::new().finish();
    let mut archive = plain[..plain.len() - 4].to_vec();
    archive.extend(listing.to_vec().unwrap());
    archive.extend([0xff; 4]);
    archive.extend(doc! { "db": "d", "collection": "c", "EOF": true, "CRC": 0_i64 }.to_vec().unwrap());
    archive.extend([0xff; 4]);
    let script = Script::standalone();
    expect_error(restore(&of(&script, "d"), &archive, plan(RestoreMode::New)).await, &["damaged"]);
}

#[tokio::test]
async fn a_document_that_is_no_bson_inside_is_the_servers_to_refuse() {
    // Framed as a document, nonsense within: an element of a type that is none.
    let nonsense = vec![12, 0, 0, 0, 0x6e, b'x', 0, 1, 2, 3, 4, 0];
    let archive = Builder::new().plain("d", "c").raw("d", "c", &[nonsense, doc! { "_id": 1 }.to_vec().unwrap()]).end("d", "c").finish();
    let script = Script::standalone();
    let refused = restore(&of(&script, "d"), &archive, with(RestoreMode::New, json!({}))).await;
    expect_error(refused, &["d.c"]);
    assert!(
        script.store().collection("d", "c").is_none_or(|found| found.documents.iter().all(|one| Document::try_from(one.clone()).is_ok()))
    );
}
