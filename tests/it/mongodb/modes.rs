//! Modes, contents and choices on a real server; failures in the midst of it.

use std::sync::{Arc, Once};

use dbsnap::domain::{
    events::Progress,
    job::LogLevel,
    restore::{RestoreContent, RestoreMode, RestorePlan},
    run::Observer,
};
use mongodb::{
    Client, IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};
use serde_json::json;

use super::{
    bench::{dump_bytes, one_collection, plan, restore, restore_in, with},
    expect_error, place, settings_of,
};
use crate::support::mongodb::{Options, Server, shared};

/// Two collections and a view; their archive; then the first one is changed and another one is made.
async fn shop(server: &Server) -> (String, Client, Vec<u8>) {
    let (db, client) = (server.database("shop"), server.connect().await);
    let database = client.database(&db);
    let numbers = |of: std::ops::Range<i32>| of.map(|id| doc! { "_id": id, "n": id }).collect::<Vec<_>>();
    database.collection("orders").insert_many(numbers(0..2500)).await.unwrap();
    database.collection("customers").insert_many(numbers(0..10)).await.unwrap();
    let unique = IndexModel::builder().keys(doc! { "n": 1 }).options(IndexOptions::builder().unique(true).build()).build();
    database.collection::<Document>("customers").create_index(unique).await.unwrap();
    database.create_collection("seen").view_on("orders".to_owned()).await.unwrap();
    let archive = dump_bytes(&settings_of(&server.url(&db)), json!({})).await;
    database.collection::<Document>("orders").delete_many(doc! {}).await.unwrap();
    database.collection("orders").insert_one(doc! { "_id": "changed" }).await.unwrap();
    database.collection("other").insert_one(doc! {}).await.unwrap();
    (db, client, archive)
}

async fn rows(client: &Client, db: &str, name: &str) -> u64 {
    client.database(db).collection::<Document>(name).count_documents(doc! {}).await.unwrap()
}

async fn names(client: &Client, db: &str) -> Vec<String> {
    let mut names = client.database(db).list_collection_names().await.unwrap();
    names.retain(|name| !name.starts_with("system."));
    names.sort();
    names
}

#[tokio::test]
async fn new_needs_a_name_without_collections() {
    let server = shared();
    let (db, client, archive) = shop(server).await;
    let error = expect_error(restore(&settings_of(&server.url(&db)), &archive, plan(RestoreMode::New)).await, &["exists already"]);
    assert_eq!(error.kind.code(), "CONFLICT");
    assert_eq!(rows(&client, &db, "orders").await, 1);
}

#[tokio::test]
async fn drop_replaces_the_whole_database() {
    let server = shared();
    let (db, client, archive) = shop(server).await;
    let outcome = restore(&settings_of(&server.url(&db)), &archive, plan(RestoreMode::Drop)).await.unwrap();
    assert_eq!(outcome.warnings, Vec::<String>::new());
    assert_eq!(names(&client, &db).await, ["customers", "orders", "seen"]);
    assert_eq!((rows(&client, &db, "orders").await, rows(&client, &db, "seen").await), (2500, 2500));
    let indexes = client.database(&db).collection::<Document>("customers").list_index_names().await.unwrap();
    assert_eq!(indexes, ["_id_", "n_1"], "indexes go along");
}

#[tokio::test]
async fn clean_replaces_what_the_backup_holds_and_nothing_else() {
    let server = shared();
    let (db, client, archive) = shop(server).await;
    let chosen = RestorePlan { tables: vec!["orders".into()], ..plan(RestoreMode::Clean) };
    client.database(&db).collection::<Document>("customers").delete_many(doc! {}).await.unwrap();
    let outcome = restore(&settings_of(&server.url(&db)), &archive, chosen).await.unwrap();
    assert_eq!(outcome.tables.iter().map(|table| (table.label(), table.rows)).collect::<Vec<_>>(), [("orders".to_owned(), 2500)]);
    assert_eq!((rows(&client, &db, "orders").await, rows(&client, &db, "customers").await), (2500, 0));
    restore(&settings_of(&server.url(&db)), &archive, plan(RestoreMode::Clean)).await.unwrap();
    assert_eq!(rows(&client, &db, "customers").await, 10);
    assert_eq!(names(&client, &db).await, ["customers", "orders", "other", "seen"]);
}

#[tokio::test]
async fn append_adds_and_what_a_unique_index_refuses_is_counted() {
    let server = shared();
    let (db, client, archive) = shop(server).await;
    let customers = client.database(&db).collection::<Document>("customers");
    customers.delete_many(doc! {}).await.unwrap();
    customers.insert_one(doc! { "_id": "other", "n": 3 }).await.unwrap();
    let settings = settings_of(&server.url(&db));
    let parts = ["customers: 1 of 10 documents refused (1 for a duplicate key)", r#"{"_id":{"$numberInt":"3"}}"#, "still there"];
    expect_error(restore(&settings, &archive, plan(RestoreMode::Append)).await, &parts);
    customers.delete_many(doc! { "_id": { "$ne": "other" } }).await.unwrap();
    client.database(&db).collection::<Document>("orders").delete_many(doc! { "_id": { "$ne": "changed" } }).await.unwrap();
    let outcome = restore(&settings, &archive, with(RestoreMode::Append, json!({"exitOnError": false}))).await.unwrap();
    assert!(outcome.warnings.iter().any(|warning| warning.contains("1 of 10")), "{:?}", outcome.warnings);
    assert_eq!((rows(&client, &db, "orders").await, rows(&client, &db, "customers").await), (2501, 10));
}

#[tokio::test]
async fn schema_alone_then_documents_alone_make_the_whole() {
    let server = shared();
    let (_, client, archive) = shop(server).await;
    let db = server.database("parts");
    let settings = settings_of(&server.url(&db));
    restore(&settings, &archive, RestorePlan { content: RestoreContent::Schema, ..plan(RestoreMode::New) }).await.unwrap();
    assert_eq!(names(&client, &db).await, ["customers", "orders", "seen"]);
    assert_eq!(rows(&client, &db, "orders").await, 0);
    let outcome = restore(&settings, &archive, RestorePlan { content: RestoreContent::Data, ..plan(RestoreMode::Append) }).await.unwrap();
    assert_eq!(outcome.tables.len(), 2);
    assert_eq!((rows(&client, &db, "orders").await, rows(&client, &db, "customers").await), (2500, 10));
}

/// Does something at the first progress of a stage with documents.
struct Hook(&'static str, Box<dyn Fn() + Send + Sync>);

impl Observer for Hook {
    fn log(&self, _: LogLevel, _: &str) {}

    fn progress(&self, progress: &Progress) {
        if progress.stage == self.0 {
            (self.1)();
        }
    }
}

#[tokio::test]
async fn a_cancel_leaves_the_database_as_it_was_at_every_stage() {
    let server = shared();
    let (db, client, archive) = shop(server).await;
    for stage in ["restoring", "counting", "indexing"] {
        let mut place = place();
        let cancel = place.run.cancel.clone();
        place.run.observer = Arc::new(Hook(stage, Box::new(move || cancel.cancel())));
        let stopped = restore_in(&settings_of(&server.url(&db)), &archive, &[], plan(RestoreMode::Drop), &place.run).await;
        assert!(stopped.unwrap_err().is_cancelled(), "{stage}");
        assert_eq!(names(&client, &db).await, ["customers", "orders", "other", "seen"], "{stage}");
        assert_eq!(rows(&client, &db, "orders").await, 1, "{stage}");
    }
}

#[tokio::test]
async fn a_server_that_crashes_is_told_of() {
    let server = Arc::new(Server::start(&Options::default()));
    let mut settings = settings_of(&server.url("crashed"));
    settings.insert("connectTimeout".into(), 2.into());
    let archive = one_collection((0..20_000).map(|id| doc! { "_id": id, "text": "x".repeat(200) }));
    let mut place = place();
    let (dying, once) = (server.clone(), Once::new());
    place.run.observer = Arc::new(Hook("restoring", Box::new(move || once.call_once(|| dying.crash()))));
    let failed = restore_in(&settings, &archive, &[], plan(RestoreMode::New), &place.run).await;
    expect_error(failed, &["restoring into", "half-built collections are left", "crashed.c"]);
}
