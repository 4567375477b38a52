//! Canonical extended JSON (version 2), as <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>
//! has it. The order of keys, which an index lives by, is kept both ways.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, oid::ObjectId, spec::BinarySubtype,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::snapshot::bson_text;

/// A document as text.
pub fn write(document: &Document) -> String {
    let mut out = String::new();
    // Only a name that holds a zero has no BSON, and no server takes one.
    bson_text(&document.to_vec().unwrap_or_default(), &mut out);
    out
}

/// A value as text.
pub fn write_value(value: &Bson) -> String {
    let mut alone = Document::new();
    alone.insert("", value.clone());
    let text = write(&alone);
    // The braces, the empty name and the colon.
    text[4..text.len() - 1].to_owned()
}

/// A value from text. Errors with the reason.
pub fn read_value(text: &str) -> Result<Bson, String> {
    value_of(serde_json::from_str(text).map_err(|cause| cause.to_string())?)
}

/// A document from text, canonical or relaxed. Errors with the reason.
pub fn read(text: &str) -> Result<Document, String> {
    match serde_json::from_str(text).map_err(|cause| cause.to_string())? {
        Json::Object(fields) => document(fields),
        _ => Err("it is no JSON object".to_owned()),
    }
}

fn pointer(namespace: &str, id: ObjectId) -> Result<Bson, String> {
    let text_length = i32::try_from(namespace.len() + 1).map_err(|cause| cause.to_string())?;
    let mut bytes = (text_length + 23).to_le_bytes().to_vec();
    bytes.extend([0x0c, 0]);
    bytes.extend(text_length.to_le_bytes());
    bytes.extend(namespace.as_bytes());
    bytes.push(0);
    bytes.extend(id.bytes());
    bytes.push(0);
    let mut alone = Document::from_reader(bytes.as_slice()).map_err(|cause| cause.to_string())?;
    alone.remove("").ok_or_else(|| "a pointer without a value".to_owned())
}

/// JSON with the order of its keys.
#[derive(Clone)]
enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Double(value as f64), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(field) = fields.next_entry()? {
            all.push(field);
        }
        Ok(Json::Object(all))
    }
}

fn document(fields: Vec<(String, Json)>) -> Result<Document, String> {
    fields.into_iter().map(|(key, value)| Ok((key, value_of(value)?))).collect()
}

fn value_of(json: Json) -> Result<Bson, String> {
    Ok(match json {
        Json::Null => Bson::Null,
        Json::Bool(yes) => Bson::Boolean(yes),
        // Relaxed JSON has plain numbers.
        Json::Int(number) => i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32),
        Json::Double(number) => Bson::Double(number),
        Json::Text(text) => Bson::String(text),
        Json::Array(items) => Bson::Array(items.into_iter().map(value_of).collect::<Result<_, _>>()?),
        Json::Object(fields) => match tagged(&fields) {
            Some(value) => value?,
            None => Bson::Document(document(fields)?),
        },
    })
}

/// The value that an object such as `{"$numberInt": "1"}` stands for; `None` when it stands for itself (a query operator
/// looks alike). Errors when it has the form of such a value and its text is none.
fn tagged(fields: &[(String, Json)]) -> Option<Result<Bson, String>> {
    let [(tag, value), rest @ ..] = fields else { return None };
    let wrong = || format!("{tag} with a value that is none");
    if let ([(second, scope)], "$code", Json::Text(code)) = (rest, tag.as_str(), value) {
        let (Json::Object(scope), "$scope") = (scope, second.as_str()) else { return None };
        let code = code.clone();
        return Some(document(scope.clone()).map(|scope| Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope })));
    }
    if !rest.is_empty() {
        return None;
    }
    let value = match (tag.as_str(), value) {
        ("$numberInt", Json::Text(text)) => text.parse().ok().map(Bson::Int32),
        ("$numberLong", Json::Text(text)) => text.parse().ok().map(Bson::Int64),
        ("$numberDouble", Json::Text(text)) => text.parse().ok().map(Bson::Double),
        ("$numberDecimal", Json::Text(text)) => text.parse::<Decimal128>().ok().map(Bson::Decimal128),
        ("$oid", Json::Text(text)) => ObjectId::parse_str(text).ok().map(Bson::ObjectId),
        ("$symbol", Json::Text(text)) => Some(Bson::Symbol(text.clone())),
        ("$code", Json::Text(text)) => Some(Bson::JavaScriptCode(text.clone())),
        ("$undefined", Json::Bool(true)) => Some(Bson::Undefined),
        ("$minKey", Json::Int(1)) => Some(Bson::MinKey),
        ("$maxKey", Json::Int(1)) => Some(Bson::MaxKey),
        ("$date", Json::Text(text)) => DateTime::parse_rfc3339_str(text).ok().map(Bson::DateTime),
        ("$date", Json::Object(inner)) => match inner.as_slice() {
            [(tag, Json::Text(text))] if tag == "$numberLong" => {
                text.parse().ok().map(|millis| Bson::DateTime(DateTime::from_millis(millis)))
            }
            _ => None,
        },
        ("$timestamp", Json::Object(inner)) => match inner.as_slice() {
            [(t, Json::Int(time)), (i, Json::Int(increment))] if t == "t" && i == "i" => {
                let both = u32::try_from(*time).ok().zip(u32::try_from(*increment).ok());
                both.map(|(time, increment)| Bson::Timestamp(Timestamp { time, increment }))
            }
            _ => None,
        },
        ("$binary", Json::Object(inner)) => match inner.as_slice() {
            [(b, Json::Text(bytes)), (s, Json::Text(subtype))] if b == "base64" && s == "subType" => {
                let both = BASE64.decode(bytes).ok().zip(u8::from_str_radix(subtype, 16).ok());
                both.map(|(bytes, subtype)| Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes }))
            }
            _ => None,
        },
        ("$regularExpression", Json::Object(inner)) => match inner.as_slice() {
            [(p, Json::Text(pattern)), (o, Json::Text(options))] if p == "pattern" && o == "options" => {
                let both = pattern.as_str().try_into().ok().zip(options.as_str().try_into().ok());
                both.map(|(pattern, options)| Bson::RegularExpression(Regex { pattern, options }))
            }
            _ => None,
        },
        ("$dbPointer", Json::Object(inner)) => match inner.as_slice() {
            [(r, Json::Text(namespace)), (i, Json::Object(id))] if r == "$ref" && i == "$id" => match id.as_slice() {
                [(tag, Json::Text(text))] if tag == "$oid" => ObjectId::parse_str(text).ok().and_then(|id| pointer(namespace, id).ok()),
                _ => None,
            },
            _ => None,
        },
        _ => return None,
    };
    Some(value.ok_or_else(wrong))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn every_type_reads_back_as_it_was_written() {
        let id = ObjectId::from_bytes([7; 12]);
        let mut all = doc! {
            "z": 1, "a": 1_i64, "double": 1.5, "whole": 3.0, "tiny": 5e-324, "huge": f64::MAX, "minus": -0.0, "inf": f64::INFINITY,
            "text": "\"quoted\" \u{1f418}\n", "$gt": { "$type": "string" }, "null": Bson::Null, "yes": true,
            "list": [1, [2], { "k": "v" }], "id": id, "date": DateTime::from_millis(-1), "far": DateTime::MAX,
            "ts": Timestamp { time: u32::MAX, increment: 2 }, "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined,
            "decimal": "1.10E+3".parse::<Decimal128>().unwrap(), "symbol": Bson::Symbol("s".into()),
            "code": Bson::JavaScriptCode("f()".into()),
            "scope": Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "f".into(), scope: doc! { "b": 1, "a": 2 } }),
            "binary": Binary { subtype: BinarySubtype::UserDefined(0x81), bytes: vec![0, 255] },
            "regex": Regex { pattern: "^a/b".try_into().unwrap(), options: "ix".try_into().unwrap() },
        };
        all.insert("pointer", pointer("db.c", id).unwrap());
        let text = write(&all);
        // NaN is unlike itself; the bytes are compared.
        assert_eq!(read(&text).unwrap().to_vec().unwrap(), all.to_vec().unwrap(), "{text}");
        assert!(read(&write(&doc! { "n": f64::NAN })).unwrap().get_f64("n").unwrap().is_nan());
    }

    #[test]
    fn relaxed_numbers_are_read_and_values_that_are_none_are_refused() {
        assert_eq!(read(r#"{"a": 1, "b": 5000000000, "c": 1.5}"#).unwrap(), doc! { "a": 1, "b": 5_000_000_000_i64, "c": 1.5 });
        for wrong in [r#"{"a": {"$numberInt": "x"}}"#, r#"{"a": {"$oid": "12"}}"#, r#"{"a": {"$date": "soon"}}"#, "3", "{"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // What only looks like one is a document.
        assert_eq!(read(r#"{"a": {"$gt": 1}}"#).unwrap(), doc! { "a": { "$gt": 1 } });
    }
}
