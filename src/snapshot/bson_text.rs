//! Documents as canonical extended JSON (version 2), as
//! <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md> has it.

use std::fmt::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{
    bson::{BsonValue, bson_fields, kind},
    number::{Decimal, decimal},
};

/// Values inside one another; a server takes fewer.
const DEEPEST: usize = 200;

/// Appends a document as text. What cannot be read in it is shown as `{"$damaged": "<hex>"}`.
pub fn bson_text(document: &[u8], out: &mut String) {
    value(BsonValue { kind: kind::DOCUMENT, bytes: document }, out, 0);
}

/// Appends one value as text.
pub fn write_value(of: BsonValue<'_>, out: &mut String) {
    value(of, out, 0);
}

/// Appends an `_id` for people: hex, text and digits as they are, any other value as [`write_value`] has it.
pub fn write_id(of: BsonValue<'_>, out: &mut String) {
    match (of.kind, of.text()) {
        (kind::OBJECT_ID, _) => out.push_str(&hex::encode(of.bytes)),
        (kind::STRING | kind::SYMBOL, Some(text)) => out.push_str(&String::from_utf8_lossy(text)),
        _ => match number_text(of) {
            Some(text) => out.push_str(&text),
            None => write_value(of, out),
        },
    }
}

/// A number's digits without its type; `None` when it is none.
pub fn number_text(of: BsonValue<'_>) -> Option<String> {
    match of.kind {
        kind::INT32 => of.fixed().map(|bytes| i32::from_le_bytes(bytes).to_string()),
        kind::INT64 => of.fixed().map(|bytes| i64::from_le_bytes(bytes).to_string()),
        kind::DOUBLE => of.fixed().map(|bytes| double(f64::from_le_bytes(bytes))),
        kind::DECIMAL128 => of.fixed().map(|bytes| decimal_text(decimal(bytes))),
        _ => None,
    }
}

/// Appends JSON's form of a text.
pub fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn value(of: BsonValue<'_>, out: &mut String, depth: usize) {
    let start = out.len();
    if depth > DEEPEST || write(of, out, depth).is_none() {
        out.truncate(start);
        out.push_str(&format!(r#"{{"$damaged":"{}"}}"#, hex::encode(of.bytes)));
    }
}

fn write(of: BsonValue<'_>, out: &mut String, depth: usize) -> Option<()> {
    match of.kind {
        kind::DOUBLE => tagged("$numberDouble", &number_text(of)?, out),
        kind::INT32 => tagged("$numberInt", &number_text(of)?, out),
        kind::INT64 => tagged("$numberLong", &number_text(of)?, out),
        kind::DECIMAL128 => tagged("$numberDecimal", &number_text(of)?, out),
        kind::OBJECT_ID => tagged("$oid", &hex::encode(of.bytes), out),
        kind::SYMBOL => tagged("$symbol", &lossy(of.text()?), out),
        kind::CODE => tagged("$code", &lossy(of.text()?), out),
        kind::STRING => quote(&lossy(of.text()?), out),
        kind::BOOLEAN => out.push_str(match of.bytes {
            [0] => "false",
            [1] => "true",
            _ => return None,
        }),
        kind::NULL => out.push_str("null"),
        kind::UNDEFINED => out.push_str(r#"{"$undefined":true}"#),
        kind::MIN_KEY => out.push_str(r#"{"$minKey":1}"#),
        kind::MAX_KEY => out.push_str(r#"{"$maxKey":1}"#),
        kind::DOCUMENT => document(of.bytes, out, depth)?,
        kind::ARRAY => array(of.bytes, out, depth)?,
        kind::DATE => {
            let millis = i64::from_le_bytes(of.fixed()?);
            write!(out, r#"{{"$date":{{"$numberLong":"{millis}"}}}}"#).ok()?;
        }
        kind::TIMESTAMP => {
            let both = u64::from_le_bytes(of.fixed()?);
            write!(out, r#"{{"$timestamp":{{"t":{},"i":{}}}}}"#, both >> 32, both as u32).ok()?;
        }
        kind::BINARY => {
            let (subtype, bytes) = of.binary()?;
            // The old subtype has its length once more among its bytes.
            let bytes = if subtype == 2 { bytes.get(4..)? } else { bytes };
            let bytes = BASE64.encode(bytes);
            write!(out, r#"{{"$binary":{{"base64":"{bytes}","subType":"{subtype:02x}"}}}}"#).ok()?;
        }
        kind::REGEX => {
            let (pattern, options) = of.regex()?;
            out.push_str(r#"{"$regularExpression":{"pattern":"#);
            quote(&lossy(pattern), out);
            out.push_str(r#","options":"#);
            quote(&lossy(options), out);
            out.push_str("}}");
        }
        kind::CODE_WITH_SCOPE => {
            let (code, scope) = of.code_with_scope()?;
            out.push_str(r#"{"$code":"#);
            quote(&lossy(code), out);
            out.push_str(r#","$scope":"#);
            document(scope, out, depth)?;
            out.push('}');
        }
        kind::DB_POINTER => {
            let (namespace, id) = of.db_pointer()?;
            out.push_str(r#"{"$dbPointer":{"$ref":"#);
            quote(&lossy(namespace), out);
            write!(out, r#","$id":{{"$oid":"{}"}}}}}}"#, hex::encode(id)).ok()?;
        }
        _ => return None,
    }
    Some(())
}

fn document(bytes: &[u8], out: &mut String, depth: usize) -> Option<()> {
    out.push('{');
    for (at, field) in bson_fields(bytes).enumerate() {
        let field = field.ok()?;
        if at > 0 {
            out.push(',');
        }
        quote(&lossy(field.name), out);
        out.push(':');
        value(field.value, out, depth + 1);
    }
    out.push('}');
    Some(())
}

fn array(bytes: &[u8], out: &mut String, depth: usize) -> Option<()> {
    out.push('[');
    for (at, field) in bson_fields(bytes).enumerate() {
        if at > 0 {
            out.push(',');
        }
        value(field.ok()?.value, out, depth + 1);
    }
    out.push(']');
    Some(())
}

fn tagged(tag: &str, text: &str, out: &mut String) {
    out.push_str("{\"");
    out.push_str(tag);
    out.push_str("\":");
    quote(text, out);
    out.push('}');
}

fn lossy(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// As the shortest text that reads back as the same number.
fn double(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        _ if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        _ if number.fract() == 0.0 && number.abs() < 1e16 => format!("{number:.1}"),
        _ => format!("{number:?}"),
    }
}

/// As the Decimal128 specification writes it: the exponent stays as it is.
fn decimal_text(number: Decimal) -> String {
    let (negative, coefficient, exponent) = match number {
        Decimal::NaN => return "NaN".to_owned(),
        Decimal::Infinity { negative } => return if negative { "-Infinity" } else { "Infinity" }.to_owned(),
        Decimal::Finite { negative, coefficient, exponent } => (negative, coefficient.to_string(), exponent),
    };
    let sign = if negative { "-" } else { "" };
    let adjusted = exponent + coefficient.len() as i32 - 1;
    if exponent > 0 || adjusted < -6 {
        let (first, rest) = coefficient.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}E{adjusted:+}");
    }
    let places = exponent.unsigned_abs() as usize;
    if places == 0 {
        return format!("{sign}{coefficient}");
    }
    let padded = format!("{coefficient:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}
