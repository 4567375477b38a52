//! What an archive tells beside documents: options, indexes, views, time series, users and roles, several databases.

use mongodb::bson::doc;
use serde_json::json;

use super::{dump, expect_error, of, settings};
use crate::support::mongo_script::{Reply, Script};

#[tokio::test]
async fn definitions_are_written_as_mongodump_writes_them() {
    let script = Script::primary();
    {
        let mut store = script.store();
        store.add("shop", "orders", [doc! { "_id": 1 }]);
        let orders = store.collection_mut("shop", "orders");
        orders.options = doc! {
            "capped": true, "size": 4096_i64, "max": 5, "collation": { "locale": "de", "strength": 2 },
            "validator": { "$jsonSchema": { "required": ["z", "a"] } }, "validationAction": "warn",
        };
        orders.indexes.push(doc! { "v": 2, "key": { "z": 1, "a": -1.0, "loc": "2dsphere" }, "name": "z", "partialFilterExpression": { "n": { "$gt": 5_i64 } } });
        store.collection_mut("shop", "recent").options = doc! { "viewOn": "orders", "pipeline": [{ "$match": { "n": { "$gt": 1 } } }] };
        store.collection_mut("shop", "weather").options =
            doc! { "timeseries": { "timeField": "t", "granularity": "hours" }, "expireAfterSeconds": 60_i64 };
        store.add("shop", "system.buckets.weather", [doc! { "_id": 1, "control": { "version": 1 } }]);
        store.add("shop", "system.js", [doc! { "_id": "f" }]);
        for own in ["system.profile", "system.views", "system.resharding.x"] {
            store.add("shop", own, [doc! { "_id": 1 }]);
        }
    }
    let dumped = dump(&of(&script, "shop"), json!({})).await.unwrap();
    let archive = dumped.archive;
    assert_eq!(archive.names(), ["orders", "recent", "system.js", "system.buckets.weather"]);
    assert_eq!(archive.header.get_str("version").unwrap(), "0.1");
    assert_eq!(archive.header.get_str("server_version").unwrap(), "7.0.5");
    let kinds: Vec<_> =
        archive.listings.iter().map(|listing| (listing.get_str("collection").unwrap(), listing.get_str("type").unwrap())).collect();
    assert_eq!(kinds, [("orders", "collection"), ("recent", "view"), ("system.js", "collection"), ("weather", "timeseries")]);
    // The order of keys is part of an index: it is looked for in the text.
    let text = archive.listings[0].get_str("metadata").unwrap();
    assert!(text.contains(r#""key":{"z":{"$numberInt":"1"},"a":{"$numberDouble":"-1.0"},"loc":"2dsphere"}"#), "{text}");
    assert!(text.contains(r#""size":{"$numberLong":"4096"}"#) && text.contains(r#""strength":{"$numberInt":"2"}"#), "{text}");
    assert!(text.contains(r#""required":["z","a"]"#), "{text}");
    assert_eq!(archive.metadata("recent")["indexes"], json!([]));
    assert_eq!(archive.metadata("recent")["options"]["viewOn"], "orders");
    assert_eq!(archive.metadata("weather")["options"]["timeseries"]["granularity"], "hours");
    assert!(archive.raw("recent").is_empty() && archive.raw("system.buckets.weather").len() == 1);
    assert_eq!(dumped.facts.tables, Some(3), "views hold nothing");
}

#[tokio::test]
async fn time_series_without_buckets_of_their_own_are_read_raw() {
    let script = Script::primary();
    script.on("buildInfo", |_| Reply::Answer(doc! { "version": "8.3.0" }));
    script.store().add("shop", "weather", [doc! { "_id": 1 }]);
    script.store().collection_mut("shop", "weather").options = doc! { "timeseries": { "timeField": "t" } };
    let dumped = dump(&of(&script, "shop"), json!({})).await.unwrap();
    assert_eq!(dumped.archive.names(), ["weather"]);
    assert!(script.received("find").last().unwrap().body.get_bool("rawData").unwrap());
}

#[tokio::test]
async fn definitions_alone_read_no_document() {
    let script = Script::primary();
    script.store().add("shop", "orders", (0..300).map(|id| doc! { "_id": id }));
    let dumped = dump(&of(&script, "shop"), json!({"schemaOnly": true})).await.unwrap();
    assert!(dumped.archive.raw("orders").is_empty() && script.received("find").is_empty());
}

#[tokio::test]
async fn all_databases_but_the_servers_own() {
    let script = Script::primary();
    for database in ["admin", "config", "local", "shop", "stock"] {
        script.store().add(database, "things", [doc! { "_id": database }]);
    }
    script.store().add("admin", "system.users", [doc! { "_id": "shop.app", "db": "shop" }]);
    let all = settings(json!({"hosts": script.address(), "tlsMode": "off"}));
    let archive = dump(&all, json!({})).await.unwrap().archive;
    let names =
        |archive: &super::Archive| archive.collections.iter().map(|(db, name, _)| format!("{db}.{name}")).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&archive), "admin.things shop.things stock.things");
    let archive = dump(&all, json!({"includeCollections": ["s*.things"], "excludeCollections": ["stock.*"]})).await.unwrap().archive;
    assert_eq!(names(&archive), "shop.things");
    expect_error(dump(&all, json!({"includeCollections": ["things"]})).await, &["'things' names no database"]);

    let archive = dump(&all, json!({"usersAndRoles": true, "includeCollections": ["shop.*"]})).await.unwrap().archive;
    assert_eq!(names(&archive), "admin.system.users admin.system.roles admin.system.version shop.things");
    assert_eq!(archive.raw("system.users").len(), 1);

    // A list without what the account may not read would be a partial backup that nobody knows of.
    script.on("listDatabases", |command| match command.body.get_bool("authorizedDatabases") {
        Ok(false) => Reply::Error(13, "Unauthorized", "Insufficient permissions to list all databases"),
        _ => Reply::Default,
    });
    expect_error(dump(&all, json!({})).await, &["listing the databases", "Insufficient permissions"]);
}

#[tokio::test]
async fn users_and_roles_of_the_database_go_with_it() {
    let script = Script::primary();
    script.store().add("shop", "orders", [doc! { "_id": 1 }]);
    script.store().add("admin", "system.users", [doc! { "_id": "shop.app", "user": "app", "db": "shop" }]);
    script.store().add("admin", "system.version", [doc! { "_id": "authSchema", "currentVersion": 5 }]);
    let archive = dump(&of(&script, "shop"), json!({"usersAndRoles": true})).await.unwrap().archive;
    assert_eq!(archive.names(), ["$admin.system.users", "$admin.system.roles", "$admin.system.version", "orders"]);
    assert!(archive.collections.iter().all(|(db, ..)| db == "shop"));
    assert_eq!(archive.documents("$admin.system.version")[0].get_i32("currentVersion").unwrap(), 5);
    let find = script.received("find");
    let filter = |name: &str| find.iter().rfind(|find| find.collection() == name).unwrap().body.get_document("filter").unwrap().clone();
    assert_eq!(filter("system.users"), doc! { "db": "shop" });
    assert_eq!(filter("system.version"), doc! {});

    script.on("find", |find| match find.collection() {
        "system.users" => Reply::Error(13, "Unauthorized", "not authorized on admin to execute command find"),
        _ => Reply::Default,
    });
    expect_error(dump(&of(&script, "shop"), json!({"usersAndRoles": true})).await, &["admin.system.users", "role backup"]);
}

#[tokio::test]
async fn names_that_people_should_not_choose_and_do() {
    let script = Script::primary();
    let names = ["--help", "a.b.c", "back\\slash", "dol$lar", "new\nline", "quo\"te", "sp ace", "🐘 tötal"];
    for name in names {
        script.store().add("shop", name, [doc! { "_id": name, "a.b": 1, "$set": 2, "": 3 }]);
    }
    let archive = dump(&of(&script, "shop"), json!({})).await.unwrap().archive;
    assert_eq!(archive.names(), names);
    for name in names {
        assert_eq!(archive.documents(name), [doc! { "_id": name, "a.b": 1, "$set": 2, "": 3 }]);
        assert_eq!(archive.metadata(name)["collectionName"], name);
    }
}
