//! Ranges of keys as conditions in SQL.

use super::{
    catalog::{KeyColumn, KeyKind},
    connect::literal,
};
use crate::{
    engines::KeyRange,
    error::{Error, Result},
    snapshot::{Part, parts},
};

/// The condition for keys in the range; `None` where it is open on both sides or the table has no key.
pub fn condition(key: &[KeyColumn], range: &KeyRange) -> Result<Option<String>> {
    if key.is_empty() {
        return Ok(None);
    }
    let mut conditions = Vec::new();
    for (bound, sign) in [(&range.after, ">"), (&range.to, "<=")] {
        if let Some(bound) = bound {
            conditions.push(format!("{} {sign} {}", row(key.iter().map(|column| column.expression.clone())), values(key, bound)?));
        }
    }
    Ok((!conditions.is_empty()).then(|| conditions.join(" AND ")))
}

/// The key as a row of literals.
pub fn values(key: &[KeyColumn], bytes: &[u8]) -> Result<String> {
    let parts = parts(bytes)?;
    if parts.len() != key.len() {
        return Err(misfit());
    }
    let literals = key.iter().zip(&parts).map(|(column, part)| value(column.kind, part)).collect::<Result<Vec<_>>>()?;
    Ok(row(literals.into_iter()))
}

/// One part of a key as a literal.
pub fn value(kind: KeyKind, part: &Part<'_>) -> Result<String> {
    Ok(match (kind, part) {
        // Without a type: whatever its width, the number is compared as what it is.
        (KeyKind::Integer, Part::Integer(number)) => format!("({number})"),
        (KeyKind::Uuid, Part::Uuid(uuid)) => format!("'{}'::uuid", uuid::Uuid::from_bytes(*uuid).hyphenated()),
        (KeyKind::Bytes, Part::Bytes(bytes)) => format!("decode('{}', 'hex')", hex::encode(bytes)),
        (KeyKind::Text, Part::Bytes(text)) => format!("{}::text", literal(std::str::from_utf8(text).map_err(|_| misfit())?)),
        _ => return Err(misfit()),
    })
}

fn row(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    format!("({})", parts.join(", "))
}

fn misfit() -> Error {
    Error::validation("a range of keys does not have the types of the table's key: it is another table by now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{push_integer, push_text};

    #[test]
    fn bounds_are_compared_as_rows() {
        let column = |name: &str, kind| KeyColumn { expression: name.into(), kind };
        let key = [column("a", KeyKind::Integer), column("b COLLATE \"C\"", KeyKind::Text)];
        let mut after = Vec::new();
        push_integer(&mut after, -5);
        push_text(&mut after, b"it's");
        let range = KeyRange { after: Some(after.clone()), to: None };
        let expect = "(a, b COLLATE \"C\") > ((-5), 'it''s'::text)";
        assert_eq!(condition(&key, &range).unwrap().as_deref(), Some(expect));
        assert_eq!(condition(&key, &KeyRange::all()).unwrap(), None);
        assert_eq!(condition(&[], &range).unwrap(), None);
        assert!(
            condition(&key[..1], &range).is_err() && condition(&[column("a", KeyKind::Uuid), column("b", KeyKind::Text)], &range).is_err()
        );
    }
}
