//! Row keys: bytes that compare as the values do, part by part.
//!
//! A part is a tag and its bytes. Tags keep kinds of values apart: the text `1` is not the number 1. What numbers of any
//! width say the same has the same bytes, so that a key that became wider still pairs its rows.

use std::borrow::Cow;

use super::{document::document_key, schema::Class};
use crate::error::{Error, Result};

/// One part of a key, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    Integer(i128),
    /// Text or bytes of any other class.
    Bytes(Cow<'a, [u8]>),
    Uuid([u8; 16]),
}

const INTEGER: u8 = 0x10;
const BYTES: u8 = 0x20;
const UUID: u8 = 0x30;
/// The first byte of a positive integer is this and its length, of a negative one this less its length.
const ZERO: u8 = 0x80;

/// Appends the part for a value of a class. Integers that are no digits and uuids that are not in their canonical form are
/// kept as text: never equal to a number.
pub fn encode_part(out: &mut Vec<u8>, class: Class, value: &[u8]) {
    match class {
        Class::Integer => match canonical_integer(value) {
            Some(number) => push_integer(out, number),
            None => push_text(out, value),
        },
        Class::Uuid => match canonical_uuid(value) {
            Some(uuid) => {
                out.push(UUID);
                out.extend_from_slice(&uuid);
            }
            None => push_text(out, value),
        },
        Class::Bson => push_text(out, &document_key(value)),
        _ => push_text(out, value),
    }
}

/// Appends an integer of any width.
pub fn push_integer(out: &mut Vec<u8>, number: i128) {
    out.push(INTEGER);
    let magnitude = number.unsigned_abs().to_be_bytes();
    let digits = &magnitude[magnitude.iter().position(|byte| *byte != 0).unwrap_or(magnitude.len())..];
    let length = digits.len() as u8;
    if number < 0 {
        out.push(ZERO - length);
        out.extend(digits.iter().map(|byte| !byte));
    } else {
        out.push(ZERO + length);
        out.extend_from_slice(digits);
    }
}

/// Appends text or bytes: a zero becomes `00 ff`, and `00` ends it.
pub fn push_text(out: &mut Vec<u8>, value: &[u8]) {
    out.push(BYTES);
    let mut rest = value;
    while let Some(at) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(0xff);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(0);
}

/// The parts of a key. Errors when the bytes are no key.
pub fn parts(mut key: &[u8]) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::with_capacity(2);
    while let [tag, rest @ ..] = key {
        let (part, after) = match *tag {
            INTEGER => integer(rest)?,
            BYTES => text(rest)?,
            UUID => {
                let (uuid, after) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
                (Part::Uuid(*uuid), after)
            }
            _ => return Err(damaged()),
        };
        parts.push(part);
        key = after;
    }
    Ok(parts)
}

impl Part<'_> {
    /// Appends the value as the column's cells have it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Part::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Part::Bytes(bytes) => out.extend_from_slice(bytes),
            Part::Uuid(uuid) => out.extend_from_slice(uuid::Uuid::from_bytes(*uuid).hyphenated().to_string().as_bytes()),
        }
    }
}

fn integer(bytes: &[u8]) -> Result<(Part<'_>, &[u8])> {
    let (sign, rest) = bytes.split_first().ok_or_else(damaged)?;
    let length = usize::from(sign.abs_diff(ZERO));
    let (digits, after) = rest.split_at_checked(length).filter(|_| length <= 16).ok_or_else(damaged)?;
    let negative = *sign < ZERO;
    let magnitude = digits.iter().fold(0_u128, |number, byte| number << 8 | u128::from(if negative { !byte } else { *byte }));
    let number = if negative { magnitude.wrapping_neg().cast_signed() } else { magnitude.cast_signed() };
    Ok((Part::Integer(number), after))
}

fn text(bytes: &[u8]) -> Result<(Part<'_>, &[u8])> {
    let mut whole: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut rest = bytes;
    loop {
        let at = memchr::memchr(0, rest).ok_or_else(damaged)?;
        let escaped = rest.get(at + 1) == Some(&0xff);
        let piece = &rest[..at + usize::from(escaped)];
        if whole.is_empty() {
            whole = Cow::Borrowed(piece);
        } else {
            whole.to_mut().extend_from_slice(piece);
        }
        rest = &rest[at + 1 + usize::from(escaped)..];
        if !escaped {
            return Ok((Part::Bytes(whole), rest));
        }
    }
}

/// The number, when `text` is exactly how it is written.
fn canonical_integer(text: &[u8]) -> Option<i128> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.len() <= 38
        && digits.iter().all(u8::is_ascii_digit)
        && (digits[0] != b'0' || (digits.len() == 1 && text.len() == 1));
    if !plain {
        return None;
    }
    let magnitude = digits.iter().fold(0_i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    Some(if text.len() == digits.len() { magnitude } else { -magnitude })
}

fn canonical_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let form = text.len() == 36 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    let uuid = uuid::Uuid::try_parse_ascii(text).ok()?;
    form.then(|| uuid.into_bytes())
}

fn damaged() -> Error {
    Error::validation("the snapshot is damaged: a row's key cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(class: Class, value: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode_part(&mut out, class, value.as_bytes());
        out
    }

    #[test]
    fn integers_of_any_width_compare_as_numbers_and_return() {
        let numbers = [
            "-99999999999999999999999999999999999999",
            "-9223372036854775808",
            "-65536",
            "-256",
            "-255",
            "-1",
            "0",
            "1",
            "255",
            "256",
            "18446744073709551615",
        ];
        let keys: Vec<_> = numbers.iter().map(|number| key(Class::Integer, number)).collect();
        assert!(keys.is_sorted());
        for (number, key) in numbers.iter().zip(&keys) {
            let mut text = Vec::new();
            parts(key).unwrap()[0].write(&mut text);
            assert_eq!(text, number.as_bytes());
        }
        assert_ne!(key(Class::Integer, "1"), key(Class::Text, "1"));
        for odd in ["", "-", "-0", "01", "+1", "1e3"] {
            assert_eq!(parts(&key(Class::Integer, odd)).unwrap(), [Part::Bytes(odd.as_bytes().into())]);
        }
    }

    #[test]
    fn text_compares_bytewise_whatever_follows_it() {
        let values: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\0a", b"a", b"a\0"];
        let pairs: Vec<_> = values
            .iter()
            .map(|value| {
                let mut key = Vec::new();
                push_text(&mut key, value);
                push_integer(&mut key, 5);
                (value.to_vec(), key)
            })
            .collect();
        assert!(pairs.is_sorted_by(|a, b| a.1 < b.1));
        for (value, key) in &pairs {
            assert_eq!(parts(key).unwrap(), [Part::Bytes(value.into()), Part::Integer(5)]);
        }
    }

    #[test]
    fn uuids_take_sixteen_bytes_and_odd_ones_stay_text() {
        let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let bytes = key(Class::Uuid, uuid);
        assert_eq!(bytes.len(), 17);
        let mut text = Vec::new();
        parts(&bytes).unwrap()[0].write(&mut text);
        assert_eq!(text, uuid.as_bytes());
        assert_eq!(key(Class::Uuid, "6BA7B810-9dad-11d1-80b4-00c04fd430c8")[0], BYTES);
    }

    #[test]
    fn a_document_is_named_by_its_id() {
        let document = |name: u8| [17, 0, 0, 0, 0x10, b'_', b'i', b'd', 0, 7, 0, 0, 0, 0x0a, name, 0, 0];
        let key = |document: &[u8]| {
            let mut out = Vec::new();
            encode_part(&mut out, Class::Bson, document);
            out
        };
        assert_eq!(key(&document(b'a')), key(&document(b'b')));
    }

    #[test]
    fn damaged_keys_are_refused() {
        for bytes in [&[0xee][..], &[INTEGER], &[INTEGER, 0x85, 1], &[INTEGER, 0xff], &[BYTES, b'a'], &[UUID, 1]] {
            assert!(parts(bytes).is_err(), "{bytes:?}");
        }
    }
}
