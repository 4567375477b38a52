//! Changes written into a database: guarded by the old documents, tried, refused, and made of a snapshot alone.

use dbsnap::{
    domain::database::Settings,
    engines::{Applied, KeyRange, OnConflict, RowTarget},
    snapshot::{ChangeKind, Key, Row, RowChange, Table},
};
use mongodb::bson::{Bson, DateTime, Decimal128, Document, RawDocumentBuf, Timestamp, bson, doc};
use serde_json::json;

use super::{
    engine, expect_error, of,
    peer::every_type,
    place,
    rows::{gather, open, table},
    settings_of,
};
use crate::support::{
    mongo_script::Script,
    mongodb::{Server, shared},
    rows::{OVERWRITE, SKIP, STOP, apply, assert_eq_content, changes, everything, find, load, reverse},
};

fn row(document: &Document) -> Row {
    Row { cells: vec![Some(document.to_vec().unwrap().into())], count: 1 }
}

fn change(before: Option<Document>, after: Option<Document>) -> RowChange {
    let kind = match (&before, &after) {
        (None, _) => ChangeKind::Added,
        (_, None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    RowChange { kind, before: before.as_ref().map(row), after: after.as_ref().map(row) }
}

/// A database with the documents of one collection, `c`.
async fn filled(server: &Server, purpose: &str, documents: Vec<Document>) -> Settings {
    let name = server.database(purpose);
    let database = server.connect().await.database(&name);
    database.create_collection("c").await.unwrap();
    if !documents.is_empty() {
        database.collection::<Document>("c").insert_many(documents).await.unwrap();
    }
    settings_of(&server.url(&name))
}

async fn target(settings: &Settings) -> (Box<dyn RowTarget>, Table) {
    let target = engine().open_target(settings, &place().run).await.unwrap_or_else(|error| panic!("{error}"));
    let table = find(target.schema(), "c");
    (target, table)
}

/// The documents of `c`, by `_id`.
async fn there(settings: &Settings) -> Vec<Document> {
    let place = place();
    let mut source = open(settings, json!({}), &place.run).await.unwrap();
    let table = table(&*source, "c");
    let rows = gather(&mut *source, &table, &KeyRange::all(), &place.run).await.unwrap();
    rows.into_iter().map(|(_, bytes)| RawDocumentBuf::from_bytes(bytes).unwrap().try_into().unwrap()).collect()
}

/// The documents of `c` as they are kept, for people: documents that are read compare whatever the order of their fields.
async fn there_as_kept(settings: &Settings) -> Vec<String> {
    let place = place();
    let mut source = open(settings, json!({}), &place.run).await.unwrap();
    let table = table(&*source, "c");
    let rows = gather(&mut *source, &table, &KeyRange::all(), &place.run).await.unwrap();
    rows.into_iter().map(|(_, bytes)| bytes.escape_ascii().to_string()).collect()
}

#[tokio::test]
async fn everything_is_made_anew_from_a_snapshot_alone() {
    let server = shared();
    let from = server.database("from");
    let database = server.connect().await.database(&from);
    database.collection::<Document>("types").insert_many(every_type()).await.unwrap();
    database.collection::<Document>("many").insert_many((0..3000).map(|id| doc! { "_id": id, "n": id % 7 })).await.unwrap();
    let largest = doc! { "_id": 1, "text": "x".repeat(16 * 1024 * 1024 - 100) };
    database.collection::<Document>("large").insert_one(&largest).await.unwrap();
    database.create_collection("empty").await.unwrap();
    database.run_command(doc! { "createIndexes": "many", "indexes": [{ "key": { "n": 1, "_id": -1 }, "name": "by_n" }] }).await.unwrap();
    database.run_command(doc! { "create": "some", "viewOn": "many", "pipeline": [{ "$match": { "n": 3 } }] }).await.unwrap();
    let place = place();
    let mut source = open(&settings_of(&server.url(&from)), json!({}), &place.run).await.unwrap();
    let content = everything(&mut *source, &place.run).await;

    let to = settings_of(&server.url(&server.database("to")));
    let target = engine().open_target(&to, &place.run).await.unwrap();
    let notes = load(target, source.schema(), &content, &place.run).await.unwrap();
    let mut copy = open(&to, json!({}), &place.run).await.unwrap();
    assert_eq_content(&everything(&mut *copy, &place.run).await, &content);
    assert_eq!(copy.schema(), source.schema(), "{notes:?}");
}

#[tokio::test]
async fn a_patch_makes_one_moment_the_other_and_its_reverse_takes_it_back() {
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    let before = vec![
        doc! { "_id": 1, "a": 1, "b": 2 },
        doc! { "_id": 2, "n": 1 },
        doc! { "_id": 3, "d": decimal("1.1") },
        doc! { "_id": "gone", "x": bson!({ "y": [1, 2] }) },
        doc! { "_id": 4, "same": true },
        doc! { "_id": DateTime::from_millis(7), "$set": { "a": 1 } },
        doc! { "_id": 8 },
    ];
    let after = vec![
        doc! { "_id": 1, "b": 2, "a": 1 },
        doc! { "_id": 2, "n": 1_i64 },
        doc! { "_id": 3, "d": decimal("1.10") },
        doc! { "_id": 4, "same": true },
        doc! { "_id": DateTime::from_millis(7), "$set": { "a": 2 }, "t": Timestamp { time: 0, increment: 0 } },
        doc! { "_id": 8_i64 },
        doc! { "_id": bson!({ "new": 1 }), "x": "y" },
    ];
    let server = shared();
    let settings = filled(server, "patch", before.clone()).await;
    let other = filled(server, "patched", after.clone()).await;
    let place = place();
    let mut contents = Vec::new();
    for settings in [&settings, &other] {
        let mut source = open(settings, json!({}), &place.run).await.unwrap();
        contents.push(everything(&mut *source, &place.run).await.remove(0).rows);
    }
    let patch = changes(&contents[0], &contents[1]);
    assert_eq!(patch.len(), 7);
    let (mut to, table) = target(&settings).await;
    let applied = apply(&mut *to, &table, patch.clone(), STOP, &place.run).await.unwrap();
    assert_eq!(applied, Applied { inserted: 1, updated: 5, deleted: 1, ..Applied::default() });
    assert_ne!(there(&settings).await, there(&other).await, "nothing is written before the commit");
    to.commit(&place.run).await.unwrap();
    assert_eq!(there_as_kept(&settings).await, there_as_kept(&other).await);

    let (mut to, table) = target(&settings).await;
    // What is there already is no conflict.
    let again = apply(&mut *to, &table, patch.clone(), STOP, &place.run).await.unwrap();
    assert_eq!(again, Applied { unchanged: 7, ..Applied::default() });
    apply(&mut *to, &table, reverse(patch), STOP, &place.run).await.unwrap();
    to.commit(&place.run).await.unwrap();
    let mut expected = before;
    let mut found = there(&settings).await;
    let by_text = |document: &Document| document.to_string();
    expected.sort_by_key(by_text);
    found.sort_by_key(by_text);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn conflicts_stop_everything_or_are_left_alone_or_overwritten() {
    let server = shared();
    let documents = || vec![doc! { "_id": 1, "v": "theirs", "w": 1 }, doc! { "_id": 2, "v": "old" }, doc! { "_id": 3, "v": 1 }];
    let patch = || {
        vec![
            change(Some(doc! { "_id": 1, "v": "old", "w": 1 }), Some(doc! { "_id": 1, "v": "new", "w": 1 })),
            change(Some(doc! { "_id": 2, "v": "old" }), Some(doc! { "_id": 2, "v": "new" })),
            // The same number of another type is another document.
            change(Some(doc! { "_id": 3, "v": 1_i64 }), None),
            change(None, Some(doc! { "_id": 2, "v": "another" })),
            change(Some(doc! { "_id": 9, "v": "gone" }), Some(doc! { "_id": 9, "v": "back" })),
            change(Some(doc! { "_id": 8 }), None),
        ]
    };
    let place = place();
    let settings = filled(server, "stop", documents()).await;
    let (mut to, table) = target(&settings).await;
    let mut conflicting = patch();
    conflicting.remove(3);
    let error = expect_error(
        apply(&mut *to, &table, conflicting, STOP, &place.run).await,
        &["c", "nothing was changed", r#"_id {"$numberInt":"1"}: it has other values in v"#, "it is not there", "skip or to overwrite"],
    );
    assert_eq!(error.kind, dbsnap::error::Kind::Conflict);
    expect_error(to.commit(&place.run).await, &["earlier step"]);
    assert_eq!(there(&settings).await, documents());

    let settings = filled(server, "skip", documents()).await;
    let (mut to, table) = target(&settings).await;
    let mut skipping = patch();
    skipping.remove(3);
    let applied = apply(&mut *to, &table, skipping, SKIP, &place.run).await.unwrap();
    to.commit(&place.run).await.unwrap();
    assert_eq!(
        (applied.updated, applied.deleted, applied.unchanged, applied.skipped, applied.conflicts.len()),
        (1, 0, 1, 3, 3),
        "{applied:?}"
    );
    assert_eq!(
        there(&settings).await,
        [doc! { "_id": 1, "v": "theirs", "w": 1 }, doc! { "_id": 2, "v": "new" }, doc! { "_id": 3, "v": 1 }]
    );

    let settings = filled(server, "overwrite", documents()).await;
    let (mut to, table) = target(&settings).await;
    let mut overwriting = patch();
    overwriting.remove(1);
    let applied = apply(&mut *to, &table, overwriting, OVERWRITE, &place.run).await.unwrap();
    to.commit(&place.run).await.unwrap();
    assert_eq!((applied.inserted, applied.updated, applied.deleted, applied.unchanged), (1, 2, 1, 1), "{applied:?}");
    assert_eq!(
        there(&settings).await,
        [doc! { "_id": 1, "v": "new", "w": 1 }, doc! { "_id": 2, "v": "another" }, doc! { "_id": 9, "v": "back" }]
    );
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_leaves_nothing() {
    let server = shared();
    let settings = filled(server, "dry", vec![doc! { "_id": 1, "v": 1 }]).await;
    let place = place();
    let (mut to, table) = target(&settings).await;
    let patch = vec![
        change(Some(doc! { "_id": 1, "v": 1 }), Some(doc! { "_id": 1, "v": 2 })),
        change(None, Some(doc! { "_id": 2 })),
        change(Some(doc! { "_id": 3 }), Some(doc! { "_id": 3, "v": 3 })),
    ];
    let mut wanted = to.schema().clone();
    let mut beside = table.clone();
    beside.name.name = "beside".into();
    wanted.tables.push(beside.clone());
    to.create(&wanted, false, &place.run).await.unwrap();
    let dry = |on_conflict| dbsnap::engines::ApplyOptions { on_conflict, dry_run: true };
    let applied = apply(&mut *to, &table, patch, dry(OnConflict::Skip), &place.run).await.unwrap();
    assert_eq!((applied.inserted, applied.updated, applied.skipped), (1, 1, 1), "{applied:?}");
    let new = vec![change(None, Some(doc! { "_id": 1 }))];
    assert_eq!(apply(&mut *to, &beside, new, dry(OnConflict::Stop), &place.run).await.unwrap().inserted, 1);
    to.commit(&place.run).await.unwrap();
    assert_eq!(there(&settings).await, [doc! { "_id": 1, "v": 1 }]);
    let to = engine().open_target(&settings, &place.run).await.unwrap();
    assert_eq!(to.schema().tables.len(), 1, "the collection of the trial is gone");
}

#[tokio::test]
async fn what_somebody_changes_between_the_look_and_the_write_is_not_overwritten() {
    let server = shared();
    let settings = filled(server, "race", (0..5).map(|id| doc! { "_id": id, "v": "old" }).collect()).await;
    let database = server.connect().await.database(settings["database"].as_str().unwrap());
    let place = place();
    let (mut to, table) = target(&settings).await;
    let change = |id: i32| change(Some(doc! { "_id": id, "v": "old" }), Some(doc! { "_id": id, "v": "new" }));
    apply(&mut *to, &table, (0..5).map(change).collect(), STOP, &place.run).await.unwrap();
    database.collection::<Document>("c").update_one(doc! { "_id": 3 }, doc! { "$set": { "v": "theirs" } }).await.unwrap();
    expect_error(
        to.commit(&place.run).await,
        &["the others are written", r#"_id {"$numberInt":"3"}"#, "4 documents were written before and stay"],
    );
    let values: Vec<_> = there(&settings).await.iter().map(|document| document.get_str("v").unwrap().to_owned()).collect();
    assert_eq!(values, ["new", "new", "new", "theirs", "new"]);
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_its_words() {
    let server = shared();
    let settings = filled(server, "refused", vec![doc! { "_id": 1, "u": 1 }, doc! { "_id": 2, "u": 2 }]).await;
    let database = server.connect().await.database(settings["database"].as_str().unwrap());
    database.run_command(doc! { "createIndexes": "c", "indexes": [{ "key": { "u": 1 }, "name": "u", "unique": true }] }).await.unwrap();
    let place = place();
    for patch in [change(None, Some(doc! { "_id": 3, "u": 1 })), change(Some(doc! { "_id": 2, "u": 2 }), Some(doc! { "_id": 2, "u": 1 }))] {
        let (mut to, table) = target(&settings).await;
        expect_error(apply(&mut *to, &table, vec![patch], SKIP, &place.run).await, &["c", "unique indexes"]);
    }
    assert_eq!(there(&settings).await, [doc! { "_id": 1, "u": 1 }, doc! { "_id": 2, "u": 2 }]);
    let (mut to, mut table) = target(&settings).await;
    table.name.name = "missing".into();
    expect_error(apply(&mut *to, &table, Vec::new(), STOP, &place.run).await, &["no collection missing", "restore the schema too"]);
}

#[tokio::test]
async fn collections_without_names_for_their_documents_are_only_made_anew() {
    let script = Script::standalone();
    script.store().collection_mut("shop", "c").indexes = vec![doc! { "v": 1, "key": { "n": 1 }, "name": "n" }];
    let place = place();
    let (mut to, table) = target(&of(&script, "shop")).await;
    assert_eq!(table.key, Key::Row);
    let patch = vec![change(None, Some(doc! { "n": 1 }))];
    expect_error(apply(&mut *to, &table, patch, STOP, &place.run).await, &["cannot be changed", "no index of _id"]);
    let mut to = engine().open_target(&of(&script, "new"), &place.run).await.unwrap();
    let wanted = dbsnap::snapshot::Schema { tables: vec![table.clone()], objects: Vec::new() };
    to.create(&wanted, false, &place.run).await.unwrap();
    let twice = RowChange { after: Some(Row { count: 2, ..row(&doc! { "n": 1 }) }), ..change(None, Some(doc! { "n": 1 })) };
    let applied = apply(&mut *to, &table, vec![twice], STOP, &place.run).await;
    assert_eq!(script.received("insert")[0].documents.len(), 2, "{applied:?}");
}

#[tokio::test]
async fn only_databases_of_verifications_are_dropped() {
    let server = shared();
    let client = server.connect().await;
    let name = format!("dbsnap_verify_{}", server.database("scratch"));
    client.database(&name).collection::<Document>("c").insert_one(doc! { "_id": 1 }).await.unwrap();
    let place = place();
    engine().drop_scratch(&settings_of(&server.url(&name)), &place.run).await.unwrap();
    assert!(!client.list_database_names().await.unwrap().contains(&name));
    let kept = filled(server, "kept", vec![doc! { "_id": 1 }]).await;
    expect_error(engine().drop_scratch(&kept, &place.run).await, &["no database of a verification"]);
    assert_eq!(there(&kept).await.len(), 1);
}
