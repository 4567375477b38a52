//! BSON documents compared field by field, under the rules of the options.

use std::collections::HashMap;

use super::values::{Rules, Verdict};
use crate::{
    error::{Error, Result},
    snapshot::{BsonField, bson_fields, bson_kind as kind},
};

/// Nested deeper than this, documents are compared by their bytes.
const DEEPEST: usize = 200;

/// The fields of a document, in their order. Errors when the bytes are no document.
pub fn fields_of(document: &[u8]) -> Result<Vec<BsonField<'_>>> {
    let damaged = |_| Error::validation("a document cannot be read: its bytes are no BSON");
    bson_fields(document).map(|field| field.map_err(damaged)).collect()
}

/// Tells every field that is not equal, under its name, and returns whether the order of the fields differs.
/// Errors when one of them is no document.
pub fn compare(rules: &Rules, before: &[u8], after: &[u8], mut tell: impl FnMut(&[u8], Verdict)) -> Result<bool> {
    walk(rules, &fields_of(before)?, &fields_of(after)?, 0, &mut tell)
}

fn walk(
    rules: &Rules,
    before: &[BsonField<'_>],
    after: &[BsonField<'_>],
    depth: usize,
    tell: &mut dyn FnMut(&[u8], Verdict),
) -> Result<bool> {
    let mut judge = |before: &BsonField<'_>, after: &BsonField<'_>| -> Result<()> {
        let verdict = field(rules, before, after, depth)?;
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

fn field(rules: &Rules, before: &BsonField<'_>, after: &BsonField<'_>, depth: usize) -> Result<Verdict> {
    let (before, after) = (before.value, after.value);
    if before == after {
        return Ok(Verdict::Equal);
    }
    if before.kind != after.kind {
        return Ok(Verdict::Different);
    }
    let verdict = match before.kind {
        kind::DOCUMENT | kind::ARRAY if depth < DEEPEST => {
            let mut worst = Verdict::Equal;
            let (inside, beside) = (fields_of(before.bytes)?, fields_of(after.bytes)?);
            let moved = walk(rules, &inside, &beside, depth + 1, &mut |_, verdict| worst = worst.max(verdict))?;
            Some(if moved { worst.max(Verdict::Order) } else { worst })
        }
        kind::DOUBLE => {
            before.fixed().zip(after.fixed()).map(|(one, other)| rules.floats(f64::from_le_bytes(one), f64::from_le_bytes(other)))
        }
        kind::DATE => before.fixed().zip(after.fixed()).map(|(one, other)| {
            let nanoseconds = |bytes| i128::from(i64::from_le_bytes(bytes)) * 1_000_000;
            rules.apart(nanoseconds(one), nanoseconds(other))
        }),
        kind::STRING => before.text().zip(after.text()).map(|(one, other)| rules.texts(one, other)),
        _ => None,
    };
    Ok(verdict.unwrap_or(Verdict::Different))
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
            (0x02, "name", string("Ann")),
            (0x01, "zero", real(0.0)),
            (0x01, "near", real(1.0)),
            (0x09, "at", 1000_i64.to_le_bytes().to_vec()),
            (0x10, "gone", int(1)),
            (0x03, "in", document(&[(0x10, "a", int(1)), (0x10, "b", int(2))])),
            (0x04, "list", document(&[(0x10, "0", int(1))])),
        ]);
        let after = document(&[
            (0x10, "_id", int(1)),
            (0x02, "name", string("ann")),
            (0x01, "zero", real(-0.0)),
            (0x01, "near", real(1.25)),
            (0x09, "at", 1004_i64.to_le_bytes().to_vec()),
            (0x03, "in", document(&[(0x10, "b", int(2)), (0x10, "a", int(1))])),
            (0x04, "list", document(&[(0x10, "0", int(1)), (0x10, "1", int(2))])),
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
    fn what_is_no_document_is_refused() {
        let cut = document(&[(0x02, "cut", int(100))]);
        for bytes in [&b""[..], &cut, &document(&[])[..4]] {
            assert!(compare(&Rules::default(), bytes, &document(&[]), |_, _| {}).is_err());
        }
    }
}
