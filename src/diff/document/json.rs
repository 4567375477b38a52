//! JSON text, a level at a time: the members and elements of a value as slices of the text.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::node::{Member, Node};

/// The text without the space around it, when it is JSON.
pub fn valid(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(text.trim_matches([' ', '\t', '\r', '\n']))
}

/// At most one more than `limit` members, names decoded.
pub fn members(object: &str, limit: usize) -> Option<Vec<Member<'_>>> {
    let mut parts = Parts { rest: object.get(1..object.len() - 1)? };
    let mut all = Vec::new();
    while let Some(name) = parts.next() {
        let value = parts.next()?;
        all.push((text(name), Node::Json(value)));
        if all.len() > limit {
            break;
        }
    }
    Some(all)
}

/// At most one more than `limit` elements.
pub fn items(array: &str, limit: usize) -> Option<Vec<Node<'_>>> {
    Some(Parts { rest: array.get(1..array.len() - 1)? }.take(limit + 1).map(Node::Json).collect())
}

/// Equality of scalars by value, of anything else by its text.
pub fn same(one: &str, two: &str) -> bool {
    one == two || canonical(one) == canonical(two)
}

/// A scalar in a form that is the same for equal values; objects and arrays as they are.
pub fn canonical(value: &str) -> Cow<'_, str> {
    match value.as_bytes().first() {
        // With a quote in front it is unlike a number.
        Some(b'"') => Cow::Owned(format!("\"{}", text(value))),
        Some(b'-' | b'0'..=b'9') => number(value),
        _ => Cow::Borrowed(value),
    }
}

/// The text of a string; what is no text, such as half a surrogate pair, as it is escaped.
fn text(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or(quoted);
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// `-` and `0.ddd e exponent` without zeros at either end; a number whose exponent is absurd as it is.
fn number(value: &str) -> Cow<'_, str> {
    let (sign, digits) = value.strip_prefix('-').map_or(("", value), |rest| ("-", rest));
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else { return Cow::Borrowed(value) };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Cow::Borrowed("0");
    }
    let leading = (all.len() - significant.len()) as i64;
    let Some(exponent) = exponent.checked_add(whole.len() as i64 - leading) else { return Cow::Borrowed(value) };
    Cow::Owned(format!("{sign}{}e{exponent}", significant.trim_end_matches('0')))
}

/// The values inside an object or array: names and values of an object alternate.
struct Parts<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
        if rest.is_empty() {
            return None;
        }
        let (value, rest) = rest.split_at_checked(value_length(rest.as_bytes()))?;
        self.rest = rest;
        Some(value)
    }
}

/// Bytes of the value at the start of valid JSON.
fn value_length(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                at += string_length(&text[at..]);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Bytes of the string at the start, quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(next) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += next;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}
