//! BSON documents compared field by field, on their bytes. The layout is that of bsonspec.org, version 1.1.

use std::collections::HashMap;

use super::values::{Rules, Verdict};
use crate::error::{Error, Result};

/// One field of a document, or one item of an array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element<'a> {
    pub tag: u8,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

const DOUBLE: u8 = 0x01;
const TEXT: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const DATE: u8 = 0x09;

/// Nested deeper than this, documents are compared by their bytes.
const DEEPEST: usize = 200;

/// The fields of a document, in their order. Errors when the bytes are no document.
pub fn elements(document: &[u8]) -> Result<Vec<Element<'_>>> {
    let mut rest = body(document).ok_or_else(damaged)?;
    let mut elements = Vec::new();
    while let [tag, after @ ..] = rest {
        let name = memchr::memchr(0, after).ok_or_else(damaged)?;
        let value = &after[name + 1..];
        let (value, next) = size(*tag, value).and_then(|size| value.split_at_checked(size)).ok_or_else(damaged)?;
        elements.push(Element { tag: *tag, name: &after[..name], value });
        rest = next;
    }
    Ok(elements)
}

/// Tells every field that is not equal, under its name, and returns whether the order of the fields differs.
/// Errors when one of them is no document.
pub fn compare(rules: &Rules, before: &[u8], after: &[u8], mut tell: impl FnMut(&[u8], Verdict)) -> Result<bool> {
    walk(rules, &elements(before)?, &elements(after)?, 0, &mut tell)
}

fn walk(rules: &Rules, before: &[Element<'_>], after: &[Element<'_>], depth: usize, tell: &mut dyn FnMut(&[u8], Verdict)) -> Result<bool> {
    let mut judge = |before: &Element<'_>, after: &Element<'_>| -> Result<()> {
        let verdict = element(rules, before, after, depth)?;
        if verdict != Verdict::Equal {
            tell(before.name, verdict);
        }
        Ok(())
    };
    if before.iter().map(|element| element.name).eq(after.iter().map(|element| element.name)) {
        before.iter().zip(after).try_for_each(|(before, after)| judge(before, after))?;
        return Ok(false);
    }
    let places: HashMap<_, _> = after.iter().enumerate().map(|(at, element)| (element.name, at)).collect();
    let mut met = vec![false; after.len()];
    let mut furthest = None;
    let mut moved = false;
    let mut gone = Vec::new();
    for element in before {
        match places.get(element.name) {
            Some(at) => {
                met[*at] = true;
                moved |= furthest.is_some_and(|furthest| *at < furthest);
                furthest = furthest.max(Some(*at));
                judge(element, &after[*at])?;
            }
            None => gone.push(element.name),
        }
    }
    gone.into_iter().for_each(|name| tell(name, Verdict::Different));
    after.iter().zip(met).filter(|(_, met)| !met).for_each(|(element, _)| tell(element.name, Verdict::Different));
    Ok(moved)
}

fn element(rules: &Rules, before: &Element<'_>, after: &Element<'_>, depth: usize) -> Result<Verdict> {
    if before.tag != after.tag {
        return Ok(Verdict::Different);
    }
    if before.value == after.value {
        return Ok(Verdict::Equal);
    }
    Ok(match before.tag {
        DOCUMENT | ARRAY if depth < DEEPEST => {
            let mut worst = Verdict::Equal;
            let (inside, beside) = (elements(before.value)?, elements(after.value)?);
            let moved = walk(rules, &inside, &beside, depth + 1, &mut |_, verdict| worst = worst.max(verdict))?;
            if moved { worst.max(Verdict::Order) } else { worst }
        }
        DOUBLE => rules.floats(f64::from_bits(word(before.value)), f64::from_bits(word(after.value))),
        DATE => rules.apart(i128::from(word(before.value) as i64) * 1_000_000, i128::from(word(after.value) as i64) * 1_000_000),
        TEXT => rules.texts(text(before.value), text(after.value)),
        _ => Verdict::Different,
    })
}

fn word(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The characters of a string element, without its length and its last zero.
fn text(value: &[u8]) -> &[u8] {
    value.get(4..value.len().saturating_sub(1)).unwrap_or_default()
}

fn length(value: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*value.first_chunk()?)).ok()
}

/// What stands between a document's length and its last zero.
fn body(document: &[u8]) -> Option<&[u8]> {
    let whole = length(document)? == document.len() && document.last() == Some(&0);
    if whole { document.get(4..document.len() - 1) } else { None }
}

/// Bytes of an element's value.
fn size(tag: u8, value: &[u8]) -> Option<usize> {
    Some(match tag {
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x08 => 1,
        0x10 => 4,
        DOUBLE | DATE | 0x11 | 0x12 => 8,
        0x07 => 12,
        0x13 => 16,
        TEXT | 0x0d | 0x0e => length(value)?.checked_add(4)?,
        0x05 => length(value)?.checked_add(5)?,
        0x0c => length(value)?.checked_add(16)?,
        DOCUMENT | ARRAY | 0x0f => length(value)?.max(5),
        0x0b => {
            let pattern = memchr::memchr(0, value)?;
            pattern + 2 + memchr::memchr(0, &value[pattern + 1..])?
        }
        _ => return None,
    })
}

fn damaged() -> Error {
    Error::validation("a document cannot be read: its bytes are no BSON")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A document of elements: tag, name and the value's bytes.
    pub fn document(elements: &[(u8, &str, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (tag, name, value) in elements {
            body.push(*tag);
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(value);
        }
        let mut document = (body.len() as i32 + 5).to_le_bytes().to_vec();
        document.extend_from_slice(&body);
        document.push(0);
        document
    }

    pub fn string(text: &str) -> Vec<u8> {
        let mut value = (text.len() as i32 + 1).to_le_bytes().to_vec();
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        value
    }

    pub fn int(number: i32) -> Vec<u8> {
        number.to_le_bytes().to_vec()
    }

    fn told(rules: &Rules, before: &[u8], after: &[u8]) -> (Vec<(String, Verdict)>, bool) {
        let mut fields = Vec::new();
        let moved = compare(rules, before, after, |name, verdict| fields.push((String::from_utf8_lossy(name).into_owned(), verdict)));
        (fields, moved.unwrap())
    }

    #[test]
    fn fields_that_differ_are_told_by_name() {
        let rules = Rules { float_tolerance: 0.5, time_tolerance: 5_000_000, ignore_case: true, ..Rules::default() };
        let real = |number: f64| number.to_le_bytes().to_vec();
        let before = document(&[
            (0x10, "_id", int(1)),
            (TEXT, "name", string("Ann")),
            (DOUBLE, "zero", real(0.0)),
            (DOUBLE, "near", real(1.0)),
            (DATE, "at", 1000_i64.to_le_bytes().to_vec()),
            (0x10, "gone", int(1)),
            (DOCUMENT, "in", document(&[(0x10, "a", int(1)), (0x10, "b", int(2))])),
            (ARRAY, "list", document(&[(0x10, "0", int(1))])),
        ]);
        let after = document(&[
            (0x10, "_id", int(1)),
            (TEXT, "name", string("ann")),
            (DOUBLE, "zero", real(-0.0)),
            (DOUBLE, "near", real(1.25)),
            (DATE, "at", 1004_i64.to_le_bytes().to_vec()),
            (DOCUMENT, "in", document(&[(0x10, "b", int(2)), (0x10, "a", int(1))])),
            (ARRAY, "list", document(&[(0x10, "0", int(1)), (0x10, "1", int(2))])),
            (0x10, "new", int(1)),
        ]);
        let hidden = |name: &str| (name.to_owned(), Verdict::Hidden);
        let different = |name: &str| (name.to_owned(), Verdict::Different);
        let expect = vec![
            hidden("name"),
            hidden("near"),
            hidden("at"),
            ("in".to_owned(), Verdict::Order),
            different("list"),
            different("gone"),
            different("new"),
        ];
        assert_eq!(told(&rules, &before, &after), (expect, false));
    }

    #[test]
    fn the_order_of_fields_alone_is_told() {
        let (a, b, c) = ((0x10, "a", int(1)), (0x10, "b", int(2)), (0x12, "a", vec![0; 8]));
        let one = document(&[a.clone(), b.clone()]);
        assert_eq!(told(&Rules::default(), &one, &document(&[b.clone(), a])), (vec![], true));
        assert_eq!(told(&Rules::default(), &one, &document(&[c, b])), (vec![("a".to_owned(), Verdict::Different)], false));
    }

    #[test]
    fn elements_of_every_type_are_walked_and_damaged_ones_refused() {
        let binary = [&int(2)[..], &[0], b"xy"].concat();
        let scoped = [&14_i32.to_le_bytes()[..], &string(""), &document(&[])].concat();
        let pointer = [&string("ns")[..], &[0; 12]].concat();
        let values = [
            (DOUBLE, vec![0; 8]),
            (TEXT, string("é")),
            (DOCUMENT, document(&[])),
            (ARRAY, document(&[])),
            (0x05, binary),
            (0x06, vec![]),
            (0x07, vec![0; 12]),
            (0x08, vec![1]),
            (DATE, vec![0; 8]),
            (0x0a, vec![]),
            (0x0b, b"a.*\0i\0".to_vec()),
            (0x0c, pointer),
            (0x0d, string("code")),
            (0x0e, string("symbol")),
            (0x0f, scoped),
            (0x10, int(7)),
            (0x11, vec![0; 8]),
            (0x12, vec![0; 8]),
            (0x13, vec![0; 16]),
            (0x7f, vec![]),
            (0xff, vec![]),
        ];
        for (tag, value) in values {
            let whole = document(&[(tag, "f", value.clone()), (0x0a, "end", vec![])]);
            let read = elements(&whole).unwrap();
            assert_eq!(read[0], Element { tag, name: b"f", value: &value });
            assert_eq!(read.len(), 2, "{tag:#x}");
            assert!(elements(&whole[..whole.len() - 1]).is_err());
        }
        assert!(elements(&document(&[(0x66, "odd", vec![])])).is_err());
        assert!(elements(&document(&[(TEXT, "cut", int(100))])).is_err());
        assert!(elements(b"").is_err());
    }
}
