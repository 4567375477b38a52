//! Values as people and other programs read them: the cells of CSV files and the values of JSON.

use std::borrow::Cow;

use crate::{
    error::Result,
    snapshot::{Class, bson_text},
};

/// The whole numbers that every reader of JSON takes exactly.
const EXACT: i64 = 1 << 53;

/// A value as text: bytes as hex with `\x` in front, documents as JSON. Text that is not UTF-8 is written as bytes.
pub fn text(class: Class, value: &[u8]) -> Result<Cow<'_, str>> {
    match (class, value) {
        (Class::Bytes, _) => Ok(hex(value).into()),
        (Class::Bson, _) => {
            let mut out = String::new();
            bson_text(value, &mut out);
            Ok(out.into())
        }
        (Class::Any, [b'b', bytes @ ..]) => Ok(hex(bytes).into()),
        (Class::Any, [_, rest @ ..]) => Ok(plain(rest)),
        _ => Ok(plain(value)),
    }
}

/// Appends a value as JSON: numbers that survive it as numbers, everything else as text.
pub fn json(out: &mut String, class: Class, value: Option<&[u8]>) -> Result<()> {
    let Some(value) = value else {
        out.push_str("null");
        return Ok(());
    };
    match (class, value) {
        (Class::Integer, _) => number(out, value),
        (Class::Any, [b'i', digits @ ..]) => number(out, digits),
        (Class::Float, _) => float(out, value),
        (Class::Any, [b'r', digits @ ..]) => float(out, digits),
        (Class::Boolean, b"t") => out.push_str("true"),
        (Class::Boolean, b"f") => out.push_str("false"),
        (Class::Json, _) if serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok() => one_line(out, &plain(value)),
        (Class::Bson, _) => out.push_str(&text(class, value)?),
        _ => quoted(out, &text(class, value)?),
    }
    Ok(())
}

/// Appends text as a JSON string.
pub fn quoted(out: &mut String, text: &str) {
    // A string is always written.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Appends a field of CSV (RFC 4180): NULL is an empty field, empty text is `""`.
pub fn csv(out: &mut String, class: Class, value: Option<&[u8]>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let text = text(class, value)?;
    let plain = !text.is_empty() && !text.contains(['"', ',', '\n', '\r']) && text.trim() == text;
    if plain {
        out.push_str(&text);
    } else {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    }
    Ok(())
}

fn number(out: &mut String, digits: &[u8]) {
    let text = plain(digits);
    match text.parse::<i64>() {
        Ok(number) if number.abs() <= EXACT => out.push_str(&text),
        _ => quoted(out, &text),
    }
}

fn float(out: &mut String, digits: &[u8]) {
    let text = plain(digits);
    // JSON knows no NaN and no infinity.
    if serde_json::from_str::<serde_json::Number>(&text).is_ok() { out.push_str(&text) } else { quoted(out, &text) }
}

/// JSON without the white space around its parts.
fn one_line(out: &mut String, json: &str) {
    let (mut within, mut escaped) = (false, false);
    for c in json.chars() {
        if within || !c.is_ascii_whitespace() {
            out.push(c);
        }
        within = match (within, escaped, c) {
            (true, false, '"') => false,
            (false, _, '"') => true,
            (within, ..) => within,
        };
        escaped = within && !escaped && c == '\\';
    }
}

fn plain(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => hex(value).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("\\x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_json(class: Class, value: &str) -> String {
        let mut out = String::new();
        json(&mut out, class, Some(value.as_bytes())).unwrap();
        out
    }

    #[test]
    fn numbers_stay_numbers_only_where_every_reader_takes_them_exactly() {
        assert_eq!(as_json(Class::Integer, "-42"), "-42");
        assert_eq!(as_json(Class::Integer, "9007199254740993"), "\"9007199254740993\"");
        assert_eq!(as_json(Class::Decimal, "1.50"), "\"1.50\"", "the scale counts");
        assert_eq!(as_json(Class::Float, "1e-7"), "1e-7");
        assert_eq!(as_json(Class::Float, "NaN"), "\"NaN\"");
        assert_eq!(as_json(Class::Any, "i7"), "7");
        assert_eq!(as_json(Class::Any, "t7"), "\"7\"");
        assert_eq!(as_json(Class::Boolean, "t"), "true");
    }

    #[test]
    fn json_comes_on_one_line_with_its_strings_as_they_are() {
        assert_eq!(as_json(Class::Json, "{ \"a b\" :\n [1,  \"x \\\" y\"] }"), "{\"a b\":[1,\"x \\\" y\"]}");
        assert_eq!(as_json(Class::Json, "{broken"), "\"{broken\"");
        assert_eq!(as_json(Class::Text, "a\n\u{1f980}"), "\"a\\n\u{1f980}\"");
        assert_eq!(as_json(Class::Bytes, "\0"), "\"\\\\x00\"");
    }

    #[test]
    fn csv_tells_null_from_empty_text_and_quotes_what_needs_it() {
        let field = |value: Option<&str>| {
            let mut out = String::new();
            csv(&mut out, Class::Text, value.map(str::as_bytes)).unwrap();
            out
        };
        assert_eq!(field(None), "");
        assert_eq!(field(Some("")), "\"\"");
        assert_eq!(field(Some("NULL")), "NULL");
        assert_eq!(field(Some("a \"b\", c\nd")), "\"a \"\"b\"\", c\nd\"");
        assert_eq!(field(Some(" x")), "\" x\"");
    }
}
