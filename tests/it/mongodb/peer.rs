//! Dumps of a server with real storage: DocumentDB behind the protocol of MongoDB.

use dbsnap::error::Kind;
use mongodb::bson::{
    Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, bson, doc, oid::ObjectId,
    spec::BinarySubtype,
};
use serde_json::json;

use super::{dump, engine, expect_error, place, settings_of};
use crate::support::mongodb::{PASSWORD, READER, shared};

/// One document of every type, and `_id`s of many.
pub fn every_type() -> Vec<Document> {
    let id = ObjectId::from_bytes([7; 12]);
    let all = doc! {
        "_id": "all", "z": 1, "a": 1_i64, "double": 1.5, "nan": f64::NAN, "minus": -0.0, "text": "\u{1f418}\n\u{0}\"", "": "no name", "a.b": 1, "$set": 2,
        "document": { "z": { "y": 1 }, "a": [] }, "array": [1, [2], { "k": Bson::Null }], "yes": true, "id": id,
        "date": DateTime::from_millis(-62_135_596_800_000), "far": DateTime::MAX, "time": Timestamp { time: u32::MAX, increment: 2 },
        "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined, "symbol": Bson::Symbol("s".into()),
        "decimal": "-1.10E+6000".parse::<mongodb::bson::Decimal128>().unwrap(), "code": Bson::JavaScriptCode("f()".into()),
        "scope": Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "f".into(), scope: doc! { "b": 1, "a": 2 } }),
        "binary": Binary { subtype: BinarySubtype::UserDefined(0x81), bytes: vec![0, 255] },
        "uuid": Binary { subtype: BinarySubtype::Uuid, bytes: vec![9; 16] },
        "regex": Regex { pattern: "^a/b".try_into().unwrap(), options: "ix".try_into().unwrap() },
    };
    let ids = [
        bson!(1),
        bson!(2.5),
        bson!(3_i64),
        bson!({ "b": 1, "a": 2 }),
        bson!(true),
        Bson::Null,
        Bson::MinKey,
        bson!(id),
        bson!(DateTime::MIN),
    ];
    ids.into_iter().map(|id| doc! { "_id": id }).chain([all]).collect()
}

#[tokio::test]
async fn every_type_is_dumped_byte_for_byte_and_so_is_the_largest_document() {
    let server = shared();
    let name = server.database("types");
    let database = server.connect().await.database(&name);
    database.collection::<Document>("types").insert_many(every_type()).await.unwrap();
    let largest = doc! { "_id": 1, "text": "x".repeat(16 * 1024 * 1024 - 100) };
    database.collection::<Document>("large").insert_one(&largest).await.unwrap();
    let archive = dump(&settings_of(&server.url(&name)), json!({})).await.unwrap().archive;

    let bytes = |document: &Document| RawDocumentBuf::try_from(document).unwrap().into_bytes();
    let mut expected: Vec<Vec<u8>> = every_type().iter().map(bytes).collect();
    let mut dumped = archive.raw("types").to_vec();
    expected.sort();
    dumped.sort();
    assert!(dumped == expected, "{:?}", archive.documents("types"));
    assert!(archive.raw("large") == [bytes(&largest)], "the largest document differs");
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_authentication_database_are_told() {
    let server = shared();
    let name = server.database("guarded");
    server.connect().await.database(&name).collection::<Document>("c").insert_one(doc! { "_id": 1 }).await.unwrap();
    let wrong = settings_of(&server.url_as(READER, "wr0ng-s3cret", &name));
    let error = expect_error(dump(&wrong, json!({})).await, &["Authentication failed", "another database than admin: set authSource"]);
    assert!(error.kind == Kind::Database && !error.retryable && !error.to_string().contains("wr0ng"), "{error}");
    let mut nobody = settings_of(&server.url(&name));
    nobody.remove("user");
    nobody.remove("password");
    expect_error(dump(&nobody, json!({})).await, &["set user and password"]);
}

#[tokio::test]
async fn an_account_that_may_only_read_makes_a_whole_backup_and_is_known_for_it() {
    let server = shared();
    let name = server.database("read");
    let database = server.connect().await.database(&name);
    database.collection::<Document>("c").insert_many((0..5000).map(|id| doc! { "_id": id })).await.unwrap();
    let reader = settings_of(&server.url_as(READER, PASSWORD, &name));
    let dumped = dump(&reader, json!({})).await.unwrap();
    assert_eq!(dumped.archive.raw("c").len(), 5000);
    let probe = engine().probe(&reader, &place().run).await.unwrap();
    assert_eq!((probe.read_only, probe.account.unwrap().user.as_str()), (Some(true), READER), "{:?}", probe.warnings);
    let admin = engine().probe(&settings_of(&server.url(&name)), &place().run).await.unwrap();
    assert_eq!(admin.read_only, Some(false));
}
