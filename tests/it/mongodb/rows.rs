//! Documents and definitions of one moment, from a server with real storage and from a scripted replica set.

use dbsnap::{
    domain::{database::Settings, fields::validate, run::Run},
    engines::{KeyRange, Order, RowSource},
    error::Result,
    snapshot::{Key, Layout, ObjectKind, RowRef, Table, document_id_json, document_key, rows},
};
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, Regex, Timestamp, bson, doc, oid::ObjectId, spec::BinarySubtype};
use serde_json::{Value, json};

use super::{engine, expect_error, of, peer::every_type, place, settings_of};
use crate::support::{
    mongo_script::{Reply, Script},
    mongodb::shared,
};

pub async fn open(settings: &Settings, options: Value, run: &Run) -> Result<Box<dyn RowSource>> {
    let options = validate(engine().info().dump_options, options.as_object().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    engine().open_source(settings, &options, run).await
}

pub fn table(source: &dyn RowSource, name: &str) -> Table {
    source.schema().tables.iter().find(|table| table.name.name == name).unwrap_or_else(|| panic!("no collection {name}")).clone()
}

/// Documents of a range as they come, with their keys.
pub async fn gather(source: &mut dyn RowSource, table: &Table, range: &KeyRange, run: &Run) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let layout = Layout::of(table)?;
    let (sender, mut receiver) = rows(table)?;
    let gathering = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(batch) = receiver.recv().await {
            for row in batch.iter() {
                let RowRef { key, value } = row.unwrap();
                let row = layout.decode(RowRef { key, value }).unwrap();
                all.push((key.to_vec(), row.cells[0].clone().unwrap().to_vec()));
            }
        }
        all
    });
    source.rows(table, range, sender, run).await?;
    Ok(gathering.await.unwrap())
}

async fn documents(source: &mut dyn RowSource, name: &str) -> Vec<Vec<u8>> {
    let table = table(source, name);
    let all = gather(source, &table, &KeyRange::all(), &place().run).await.unwrap_or_else(|error| panic!("{error}"));
    all.into_iter().map(|(_, document)| document).collect()
}

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().unwrap()
}

/// An `_id` of every kind that a server takes, in the order in which MongoDB holds them.
fn ids() -> Vec<Bson> {
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() });
    vec![
        Bson::MinKey,
        Bson::Null,
        bson!(f64::NAN),
        bson!(f64::NEG_INFINITY),
        bson!(i64::MIN),
        bson!(-100),
        decimal("-12.5"),
        bson!(-2),
        bson!(-0.1),
        bson!(0),
        decimal("0.1"),
        bson!(0.1),
        bson!(1),
        bson!(1.5),
        decimal("2.50"),
        bson!(9),
        bson!(10_i64),
        bson!(9_007_199_254_740_992.0),
        bson!(9_007_199_254_740_993_i64),
        bson!(1e300),
        bson!(f64::INFINITY),
        bson!(""),
        bson!("A"),
        bson!("a"),
        bson!("aa"),
        bson!("é"),
        bson!("\u{1f418}"),
        bson!({}),
        bson!({ "b": 1 }),
        bson!({ "b": 1, "a": 2 }),
        bson!({ "b": 2 }),
        bson!({ "a": "x" }),
        binary(0, b""),
        binary(0, b"b"),
        binary(4, &[1; 16]),
        bson!(ObjectId::from_bytes([1; 12])),
        bson!(ObjectId::from_bytes([200; 12])),
        bson!(false),
        bson!(true),
        bson!(DateTime::from_millis(-5)),
        bson!(DateTime::from_millis(5)),
        Timestamp { time: 1, increment: 1 }.into(),
        Timestamp { time: u32::MAX, increment: 1 }.into(),
        Bson::MaxKey,
    ]
}

#[tokio::test]
async fn every_type_comes_as_the_server_keeps_it_and_so_does_the_largest_document() {
    let server = shared();
    let name = server.database("rows");
    let database = server.connect().await.database(&name);
    database.collection::<Document>("types").insert_many(every_type()).await.unwrap();
    let largest = doc! { "_id": 1, "text": "x".repeat(16 * 1024 * 1024 - 100) };
    database.collection::<Document>("large").insert_one(&largest).await.unwrap();
    database.create_collection("empty").await.unwrap();
    let place = place();
    let mut source = open(&settings_of(&server.url(&name)), json!({}), &place.run).await.unwrap();
    let mut expected: Vec<_> = every_type().iter().map(bytes).collect();
    let mut found = documents(&mut *source, "types").await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(documents(&mut *source, "large").await == [bytes(&largest)], "the largest document differs");
    assert!(documents(&mut *source, "empty").await.is_empty());
    let types = table(&*source, "types");
    assert_eq!((&types.key, source.estimate(&types)), (&Key::Columns { columns: vec!["document".into()] }, Some(10)));
    assert!(source.facts().warnings.iter().any(|warning| warning.contains("not point in time")), "{:?}", source.facts());
    assert!(source.facts().server_version.starts_with("MongoDB "), "{:?}", source.facts());
}

#[tokio::test]
async fn ids_of_every_kind_come_in_the_order_of_their_keys_and_by_range() {
    let server = shared();
    let name = server.database("ids");
    let database = server.connect().await.database(&name);
    // Shuffled by a step that is prime to the number of them.
    let all: Vec<_> = (0..ids().len()).map(|at| doc! { "_id": ids()[at * 17 % ids().len()].clone(), "v": "x" }).collect();
    database.collection::<Document>("c").insert_many(all).await.unwrap();
    let place = place();
    let mut source = open(&settings_of(&server.url(&name)), json!({}), &place.run).await.unwrap();
    let table = table(&*source, "c");
    assert_eq!(source.order(&table), Order::Key);
    let rows = gather(&mut *source, &table, &KeyRange::all(), &place.run).await.unwrap();
    let shown: Vec<_> = rows.iter().map(|(_, document)| document_id_json(document)).collect();
    let expected: Vec<_> = ids().into_iter().map(|id| document_id_json(&bytes(&doc! { "_id": id }))).collect();
    assert_eq!(shown, expected);
    assert!(rows.is_sorted_by(|one, other| one.0 < other.0), "the server's order is not that of the keys");

    for (after, to) in
        [(Some(11), Some(13)), (None, Some(0)), (Some(42), None), (Some(22), Some(22)), (Some(4), Some(35)), (Some(3), Some(40))]
    {
        let key = |at: Option<usize>| at.map(|at| rows[at].0.clone());
        let range = KeyRange { after: key(after), to: key(to) };
        let found = gather(&mut *source, &table, &range, &place.run).await.unwrap();
        let expected = &rows[after.map_or(0, |at| at + 1)..to.map_or(rows.len(), |at| at + 1)];
        assert_eq!(found, expected, "{after:?} {to:?}");
    }
}

#[tokio::test]
async fn equal_numbers_of_another_type_have_the_same_key() {
    let of = |id: Bson| document_key(&bytes(&doc! { "_id": id }));
    assert_eq!(of(bson!(7)), of(bson!(7_i64)));
    assert_eq!(of(bson!(7)), of(bson!(7.0)));
    let server = shared();
    let name = server.database("wider");
    let collection = server.connect().await.database(&name).collection::<Document>("c");
    collection.insert_one(doc! { "_id": 7 }).await.unwrap();
    // The server takes them for equal too.
    assert!(collection.insert_one(doc! { "_id": 7.0 }).await.is_err());
}

#[tokio::test]
async fn collections_views_and_indexes_are_told_apart_and_leftovers_are_left_out() {
    let server = shared();
    let name = server.database("schema");
    let database = server.connect().await.database(&name);
    database.collection::<Document>("orders").insert_one(doc! { "_id": 1, "n": 2 }).await.unwrap();
    database
        .run_command(doc! { "createIndexes": "orders", "indexes": [{ "key": { "n": 1, "m": -1 }, "name": "by_n", "unique": true }] })
        .await
        .unwrap();
    database.run_command(doc! { "create": "big", "viewOn": "orders", "pipeline": [{ "$match": { "n": { "$gt": 1 } } }] }).await.unwrap();
    database.run_command(doc! { "create": "checked", "validator": { "n": { "$type": "int" } } }).await.unwrap();
    database.collection::<Document>("dbsnap_restore_1_orders").insert_one(doc! { "_id": 1 }).await.unwrap();
    let place = place();
    let source = open(&settings_of(&server.url(&name)), json!({}), &place.run).await.unwrap();
    let names: Vec<_> = source.schema().tables.iter().map(|table| table.name.to_string()).collect();
    assert_eq!(names, ["checked", "orders"]);
    let validator: Value = serde_json::from_str(&table(&*source, "checked").options["validator"]).unwrap();
    assert_eq!(validator, json!({"n": {"$type": "int"}}));
    let objects: Vec<_> =
        source.schema().objects.iter().map(|object| (object.kind, object.name.name.as_str(), object.definition.as_str())).collect();
    assert_eq!(objects.len(), 2, "{objects:?}");
    let view = objects.iter().find(|(kind, ..)| *kind == ObjectKind::View).unwrap();
    assert_eq!(view.1, "big");
    let definition: Value = serde_json::from_str(view.2).unwrap();
    assert_eq!(definition["viewOn"], json!("orders"));
    let index = objects.iter().find(|(kind, ..)| *kind == ObjectKind::Index).unwrap();
    assert!(index.1 == "by_n" && index.2.starts_with(r#"{"key":{"n":{"$numberInt":"1"},"m":{"$numberInt":"-1"}},"#), "{index:?}");
    assert!(index.2.contains(r#""unique":true"#) && !index.2.contains(r#""v":"#), "{index:?}");
}

#[tokio::test]
async fn rows_are_of_the_dumps_own_moment_where_the_server_has_one() {
    let script = Script::primary();
    script.store().add("shop", "orders", (0..300).map(|id| doc! { "_id": id }));
    let place = place();
    let options = validate(engine().info().dump_options, &Settings::new()).unwrap();
    let mut dump = engine().open_dump(&of(&script, "shop"), &options, true, &place.run).await.unwrap();
    script.store().add("shop", "orders", [doc! { "_id": 9999 }]);
    let mut source = dump.source(&place.run).await.unwrap();
    assert_eq!(documents(&mut *source, "orders").await.len(), 300, "what came later is in it");
    assert_eq!((source.facts().moment, &source.facts().warnings), (dump.facts().moment, &Vec::new()));
    let find = script.received("find").pop().unwrap().body;
    assert_eq!((find.get_document("sort").unwrap(), find.get_document("hint").unwrap()), (&doc! { "_id": 1 }, &doc! { "_id": 1 }));
    assert!(find.get_document("readConcern").unwrap().get_timestamp("atClusterTime").is_ok());
}

#[tokio::test]
async fn a_moment_that_the_server_forgot_is_renewed_between_collections_and_told() {
    let script = Script::primary();
    for name in ["first", "second"] {
        script.store().add("shop", name, (0..3).map(|id| doc! { "_id": id }));
    }
    let place = place();
    let mut source = open(&of(&script, "shop"), json!({}), &place.run).await.unwrap();
    assert_eq!(documents(&mut *source, "first").await.len(), 3);
    let opened = script.received("find").len();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    script.on("find", move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Reply::Error(239, "SnapshotTooOld", "Read timestamp is older than the oldest available timestamp."),
        _ => Reply::Default,
    });
    assert_eq!(documents(&mut *source, "second").await.len(), 3);
    assert!(script.received("find").len() > opened);
    assert!(source.facts().warnings[0].contains("no longer keeps the moment"), "{:?}", source.facts().warnings);

    let mut source = open(&of(&script, "shop"), json!({"pointInTime": "require"}), &place.run).await.unwrap();
    script.on("find", |_| Reply::Error(239, "SnapshotTooOld", "Read timestamp is older than the oldest available timestamp."));
    let second = table(&*source, "second");
    expect_error(gather(&mut *source, &second, &KeyRange::all(), &place.run).await, &["no longer keeps the moment", "setParameter"]);
}

#[tokio::test]
async fn a_standalone_says_that_rows_are_not_of_the_dumps_moment() {
    let script = Script::standalone();
    script.store().add("shop", "orders", [doc! { "_id": 1 }]);
    let place = place();
    let options = validate(engine().info().dump_options, &Settings::new()).unwrap();
    let mut dump = engine().open_dump(&of(&script, "shop"), &options, true, &place.run).await.unwrap();
    let source = dump.source(&place.run).await.unwrap();
    assert!(source.facts().warnings[0].contains("not the dump's own moment"), "{:?}", source.facts().warnings);
}

#[tokio::test]
async fn what_no_index_orders_comes_in_any_order_and_series_by_their_buckets() {
    let script = Script::standalone();
    script.store().add("shop", "plain", [doc! { "_id": 1 }]);
    script.store().collection_mut("shop", "german").options = doc! { "collation": { "locale": "de" } };
    script.store().collection_mut("shop", "loose").indexes = vec![doc! { "v": 1, "key": { "n": 1 }, "name": "n" }];
    script.store().add("shop", "loose", [doc! { "n": 1 }, doc! { "n": 1 }]);
    script.store().collection_mut("shop", "series").options = doc! { "timeseries": { "timeField": "t" } };
    script.store().add("shop", "system.buckets.series", [doc! { "_id": 5, "data": {} }]);
    let place = place();
    let mut source = open(&of(&script, "shop"), json!({}), &place.run).await.unwrap();
    let order = |name| (source.order(&table(&*source, name)), table(&*source, name).key == Key::Row);
    assert_eq!(
        ["plain", "german", "loose", "series"].map(order),
        [(Order::Key, false), (Order::Any, false), (Order::Any, true), (Order::Any, false)]
    );
    assert_eq!(table(&*source, "series").options["type"], "\"timeseries\"");
    assert_eq!(documents(&mut *source, "series").await, [bytes(&doc! { "_id": 5, "data": {} })]);
    let loose = documents(&mut *source, "loose").await;
    assert!(loose.len() == 2 && loose[0] == loose[1]);
    assert!(!script.received("find").last().unwrap().body.contains_key("sort"));

    script.store().add("blog", "posts", [doc! { "_id": Regex { pattern: "x".try_into().unwrap(), options: "i".try_into().unwrap() } }]);
    let source = open(&of(&script, ""), json!({}), &place.run).await.unwrap();
    assert!(source.schema().tables.iter().any(|table| table.name.to_string() == "blog.posts"));
}
