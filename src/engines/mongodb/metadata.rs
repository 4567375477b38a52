//! What an archive tells of a collection beside its documents: options and indexes, as mongodump writes them, in
//! canonical extended JSON.

use mongodb::bson::{Bson, Document, doc};

use super::{archive::damaged, extjson};
use crate::error::Result;

/// A collection's or view's definition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// As listCollections gives them: validator, capped, timeseries, viewOn, collation...
    pub options: Document,
    /// As listIndexes gives them; none for a view.
    pub indexes: Vec<Document>,
    /// 32 hexadecimal digits; empty for a view and where the server tells none.
    pub uuid: String,
    pub collection: String,
    /// `collection`, `view`, `timeseries`; empty from old servers.
    pub kind: String,
}

impl Metadata {
    pub fn to_json(&self) -> String {
        let mut all = Document::new();
        if !self.options.is_empty() {
            all.insert("options", self.options.clone());
        }
        all.insert("indexes", self.indexes.clone());
        if !self.uuid.is_empty() {
            all.insert("uuid", self.uuid.clone());
        }
        all.extend(doc! { "collectionName": self.collection.clone() });
        if !self.kind.is_empty() {
            all.insert("type", self.kind.clone());
        }
        extjson::write(&all)
    }

    /// Errors when the text is not such JSON. Keys that are not known are left aside.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |what: &str| damaged(format!("the metadata of a collection: {what}"));
        let mut all = extjson::read(text).map_err(|cause| wrong(&cause))?;
        let mut take_text = |key: &str| match all.remove(key) {
            None | Some(Bson::Null) => Ok(String::new()),
            Some(Bson::String(text)) => Ok(text),
            Some(_) => Err(wrong(&format!("'{key}' is no text"))),
        };
        let (uuid, collection, kind) = (take_text("uuid")?, take_text("collectionName")?, take_text("type")?);
        let options = match all.remove("options") {
            None | Some(Bson::Null) => Document::new(),
            Some(Bson::Document(options)) => options,
            Some(_) => return Err(wrong("'options' is no document")),
        };
        let indexes = match all.remove("indexes") {
            None | Some(Bson::Null) => Vec::new(),
            Some(Bson::Array(indexes)) => indexes
                .into_iter()
                .map(|index| match index {
                    Bson::Document(index) => Ok(index),
                    _ => Err(wrong("an index is no document")),
                })
                .collect::<Result<_>>()?,
            Some(_) => return Err(wrong("'indexes' is no array")),
        };
        Ok(Self { options, indexes, uuid, collection, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_reads_back_with_its_order_and_types() {
        let metadata = Metadata {
            options: doc! { "validator": { "z": { "$gt": 1_i64 }, "a": { "$type": "string" } }, "capped": true, "size": 4096.0 },
            indexes: vec![doc! { "v": 2, "key": { "z": 1, "a": -1.0, "m": "2dsphere" }, "name": "z_1" }],
            uuid: "00112233445566778899aabbccddeeff".into(),
            collection: "c.🐘".into(),
            kind: "collection".into(),
        };
        assert_eq!(Metadata::from_json(&metadata.to_json()).unwrap(), metadata);
        assert!(
            metadata.to_json().starts_with(r#"{"options":{"validator":{"z":{"$gt":{"$numberLong":"1"}},"a""#),
            "{}",
            metadata.to_json()
        );
    }

    #[test]
    fn what_mongodump_writes_is_read_and_nonsense_is_refused() {
        let read = Metadata::from_json(
            r#"{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}],"uuid":"ab","collectionName":"c","type":"collection"}"#,
        );
        assert_eq!(read.unwrap().indexes, [doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" }]);
        for wrong in ["", "[]", "{", r#"{"indexes":3}"#, r#"{"indexes":[3]}"#, r#"{"options":"x"}"#, r#"{"uuid":1}"#] {
            assert!(Metadata::from_json(wrong).is_err(), "{wrong}");
        }
    }
}
