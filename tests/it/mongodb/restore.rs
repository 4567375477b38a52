//! Round trips through a real server: what was dumped is there again, byte for byte.

use dbsnap::domain::restore::{RestoreMode, RestorePlan};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use mongodb::{
    Client, IndexModel,
    bson::{
        Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc, oid::ObjectId,
        spec::BinarySubtype,
    },
    options::IndexOptions,
};
use serde_json::json;

use super::{
    Archive,
    bench::{dump_bytes, plan, restore},
    settings_of,
};
use crate::support::mongodb::shared;

async fn insert(client: &Client, db: &str, name: &str, documents: &[Document]) {
    client.database(db).collection::<Document>(name).insert_many(documents).await.unwrap_or_else(|error| panic!("{db}.{name}: {error}"));
}

/// Dumps, restores under another name, dumps that; the documents of both, in the order of `_id` bytes.
async fn there_and_back(db: &str) -> (Archive, Archive) {
    let server = shared();
    let first = dump_bytes(&settings_of(&server.url(db)), json!({})).await;
    let copy = format!("{db}_copy");
    let into = RestorePlan { target_name: Some(copy.clone()), ..plan(RestoreMode::New) };
    let outcome = restore(&settings_of(&server.url(db)), &first, into).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outcome.warnings, Vec::<String>::new());
    let second = dump_bytes(&settings_of(&server.url(&copy)), json!({})).await;
    (Archive::read(&first), Archive::read(&second))
}

fn sorted(archive: &Archive, name: &str) -> Vec<Vec<u8>> {
    let mut all = archive.raw(name).to_vec();
    all.sort();
    all
}

fn values() -> Vec<Bson> {
    let decimal = |text: &str| Bson::Decimal128(text.parse::<Decimal128>().unwrap());
    let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype, bytes: bytes.to_vec() });
    vec![
        Bson::Double(-0.0),
        Bson::Double(f64::NAN),
        Bson::Double(f64::from_bits(0x7ff8_0000_dead_beef)),
        Bson::Double(f64::NEG_INFINITY),
        Bson::Double(5e-324),
        Bson::String("a\0b 🐘 \u{feff}".into()),
        Bson::String(String::new()),
        Bson::Document(doc! { "z": 1, "a": { "": [] }, "1": doc! {} }),
        Bson::Array(vec![1.into(), 1_i64.into(), 1.0.into(), Bson::Null]),
        binary(BinarySubtype::Generic, b"\0\xff"),
        binary(BinarySubtype::Uuid, &[7; 16]),
        binary(BinarySubtype::UserDefined(0x85), b"own"),
        Bson::Undefined,
        Bson::ObjectId(ObjectId::from_bytes([0xab; 12])),
        Bson::Boolean(false),
        Bson::DateTime(DateTime::from_millis(-1)),
        Bson::DateTime(DateTime::MIN),
        Bson::DateTime(DateTime::MAX),
        Bson::Null,
        Bson::RegularExpression(Regex { pattern: "^a/b$".try_into().unwrap(), options: "imx".try_into().unwrap() }),
        Bson::JavaScriptCode("function () {}".into()),
        Bson::Symbol("symbol".into()),
        Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "x".into(), scope: doc! { "x": -0.0 } }),
        Bson::Int32(i32::MIN),
        Bson::Timestamp(Timestamp { time: u32::MAX, increment: 1 }),
        Bson::Timestamp(Timestamp { time: 0, increment: 0 }),
        Bson::Int64(i64::MIN),
        decimal("-0E+3"),
        decimal("1.000"),
        decimal("9.999999999999999999999999999999999E+6144"),
        decimal("NaN"),
        decimal("-Infinity"),
        Bson::MaxKey,
        Bson::MinKey,
    ]
}

#[tokio::test]
async fn every_type_comes_back_byte_for_byte_as_a_value_and_as_an_id() {
    let server = shared();
    let (db, client) = (server.database("types"), server.connect().await);
    let as_values: Vec<_> =
        values().into_iter().enumerate().map(|(id, value)| doc! { "_id": id as i32, "z": value.clone(), "a": [value] }).collect();
    insert(&client, &db, "values", &as_values).await;
    // The server takes none of these as an `_id`; and numbers that are equal are one.
    let no_id = |value: &Bson| matches!(value, Bson::Array(_) | Bson::RegularExpression(_) | Bson::Undefined);
    let mut ids: Vec<Document> = values().into_iter().filter(|value| !no_id(value)).map(|id| doc! { "_id": id, "n": 1 }).collect();
    ids.dedup_by_key(|document| document.to_string());
    let handle = client.database(&db).collection::<Document>("ids");
    let mut taken = 0;
    for document in &ids {
        taken += u64::from(handle.insert_one(document).await.is_ok());
    }
    assert!(taken > 24, "{taken} of {}", ids.len());
    let (first, second) = there_and_back(&db).await;
    for name in ["values", "ids"] {
        assert!(sorted(&first, name) == sorted(&second, name), "{name}");
    }
    let sent: Vec<_> = as_values.iter().map(|document| document.to_vec().unwrap()).collect();
    let mut found = second.raw("values").to_vec();
    found.sort_by_key(|bytes| RawDocumentBuf::from_bytes(bytes.clone()).unwrap().get_i32("_id").unwrap());
    let different: Vec<_> = sent
        .iter()
        .zip(&found)
        .filter(|(one, other)| one != other)
        .map(|(one, _)| Document::from_reader(one.as_slice()).unwrap())
        .collect();
    assert!(different.is_empty(), "{different:?}");
    assert_eq!(second.raw("ids").len() as u64, taken);
}

#[tokio::test]
async fn definitions_come_back_views_validators_and_indexes() {
    let server = shared();
    let (db, client) = (server.database("defined"), server.connect().await);
    let database = client.database(&db);
    database.create_collection("checked").validator(doc! { "n": { "$gt": 5 } }).await.unwrap();
    insert(&client, &db, "checked", &[doc! { "_id": 1, "n": 6, "at": DateTime::now() }]).await;
    let index = |keys: Document, options: IndexOptions| IndexModel::builder().keys(keys).options(options).build();
    let named = |name: &str| IndexOptions::builder().name(name.to_owned()).build();
    let mut unique = named("unique and partial");
    unique.unique = Some(true);
    unique.partial_filter_expression = Some(doc! { "n": { "$gt": 5 } });
    let mut ttl = named("ttl");
    ttl.expire_after = Some(std::time::Duration::from_secs(3600));
    let mut sparse = named("sparse");
    sparse.sparse = Some(true);
    let all = [
        index(doc! { "n": 1, "z": -1, "a": 1 }, unique),
        index(doc! { "at": 1 }, ttl),
        index(doc! { "s": 1 }, sparse),
        index(doc! { "where": "2dsphere" }, named("sphere")),
        index(doc! { "$**": 1 }, named("wildcard")),
        index(doc! { "h": "hashed" }, named("hashed")),
    ];
    database.collection::<Document>("checked").create_indexes(all).await.unwrap();
    database
        .create_collection("seen")
        .view_on("checked".to_owned())
        .pipeline([doc! { "$match": { "n": { "$gt": 5_i64 } } }])
        .await
        .unwrap();
    database.create_collection("seen twice").view_on("seen".to_owned()).await.unwrap();
    database.create_collection("empty").await.unwrap();
    let (first, second) = there_and_back(&db).await;
    for name in ["checked", "seen", "seen twice", "empty"] {
        let definition = |archive: &Archive| {
            let mut metadata = archive.metadata(name);
            metadata.as_object_mut().unwrap().remove("uuid");
            metadata
        };
        assert_eq!(definition(&first), definition(&second), "{name}");
    }
    assert_eq!(first.metadata("checked")["indexes"].as_array().unwrap().len(), 7);
    let refused = client.database(&format!("{db}_copy")).collection("checked").insert_one(doc! { "n": 1 }).await;
    assert!(refused.is_err(), "the validator is at work");
    assert_eq!(
        client
            .database(&format!("{db}_copy"))
            .collection::<Document>("seen twice")
            .find_one(doc! {})
            .await
            .unwrap()
            .unwrap()
            .get_i32("n")
            .unwrap(),
        6
    );
}

#[tokio::test]
async fn the_largest_documents_come_back() {
    let server = shared();
    let (db, client) = (server.database("large"), server.connect().await);
    let empty = doc! { "_id": 1, "b": Binary { subtype: BinarySubtype::Generic, bytes: Vec::new() } }.to_vec().unwrap().len();
    let large =
        |id: i32| doc! { "_id": id, "b": Binary { subtype: BinarySubtype::Generic, bytes: vec![id as u8; 16 * 1024 * 1024 - empty] } };
    insert(&client, &db, "c", &[large(1)]).await;
    insert(&client, &db, "c", &[doc! { "_id": 2 }]).await;
    let (first, second) = there_and_back(&db).await;
    assert!(first.raw("c").iter().any(|bytes| bytes.len() == 16 * 1024 * 1024));
    assert!(sorted(&first, "c") == sorted(&second, "c"));
}

#[tokio::test]
async fn files_of_gridfs_are_files_again() {
    let server = shared();
    let (db, client) = (server.database("files"), server.connect().await);
    let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at * 31 % 251) as u8).collect();
    let bucket = client.database(&db).gridfs_bucket(None);
    let mut upload = bucket.open_upload_stream("a \"file\"").await.unwrap();
    let id = upload.id().clone();
    upload.write_all(&content).await.unwrap();
    upload.close().await.unwrap();
    there_and_back(&db).await;
    let copy = client.database(&format!("{db}_copy")).gridfs_bucket(None);
    let mut found = Vec::new();
    copy.open_download_stream(id).await.unwrap().read_to_end(&mut found).await.unwrap();
    assert!(found == content);
}

#[tokio::test]
async fn names_of_collections_may_be_anything() {
    let server = shared();
    let (db, client) = (server.database("named"), server.connect().await);
    let names = ["a.b.c", "`\"'; drop", "🐘\nline", "-h", "%s%n", "  x"];
    for name in names {
        insert(&client, &db, name, &[doc! { "_id": name }]).await;
    }
    let (first, second) = there_and_back(&db).await;
    for name in names {
        assert_eq!(second.raw(name), first.raw(name), "{name:?}");
    }
}
