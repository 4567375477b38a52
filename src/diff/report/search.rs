//! Text within changes, whatever its case.

use super::{entry::Entry, heading::Rows, show};
use crate::{
    diff::{bits, bson::fields_of, pair::Which, values::storage},
    error::Result,
    snapshot::{ChangeKind, Class},
};

/// What is searched for.
pub struct Needle {
    lower: String,
    /// Hex digits of bytes, where the text can be such.
    hex: Option<String>,
}

impl Needle {
    /// `None` where the text is empty.
    pub fn of(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        let digits = lower.strip_prefix("\\x").unwrap_or(&lower);
        let hex = (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digits.to_owned());
        (!lower.is_empty()).then_some(Self { lower, hex })
    }

    /// Whether the key or a value that was added, removed or changed holds the text.
    pub fn meets(&self, rows: &Rows, fields: &[String], entry: &Entry<'_>) -> Result<bool> {
        for which in [Which::Before, Which::After] {
            let (Some(row), Some(side)) = (rows.row(entry, which)?, rows.side(which)) else { continue };
            if rows.heading.documents {
                let document = row.cells.first().and_then(|cell| cell.as_deref()).unwrap_or_default();
                if self.in_document(document, fields, entry)? {
                    return Ok(true);
                }
                continue;
            }
            let keys: Vec<_> = rows.heading.key_columns().filter_map(|column| rows.heading.place(column, which)).collect();
            let changed = |place: usize| {
                entry.kind != ChangeKind::Changed
                    || bits::iter(entry.columns).any(|column| rows.heading.place(column, which) == Some(place))
            };
            for (place, (cell, class)) in row.cells.iter().zip(&side.classes).enumerate() {
                if let Some(value) = cell
                    && self.is_in(*class, value)
                    && (keys.contains(&place) || changed(place))
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn in_document(&self, document: &[u8], fields: &[String], entry: &Entry<'_>) -> Result<bool> {
        for field in fields_of(document)? {
            let name = String::from_utf8_lossy(field.name);
            let place = || fields.iter().position(|other| *other == name);
            let wanted = entry.kind != ChangeKind::Changed || name == "_id" || place().is_none_or(|at| bits::has(entry.columns, at));
            if wanted && self.in_text(show::field_text(field.value).as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_in(&self, class: Class, value: &[u8]) -> bool {
        match class {
            Class::Any => {
                let (class, value) = storage(value);
                self.is_in(class, value)
            }
            Class::Bytes => self.hex.as_ref().is_some_and(|digits| hex::encode(value).contains(digits)),
            Class::Boolean | Class::Bson => self.in_text(show::text(class, value).as_bytes()),
            _ => self.in_text(value),
        }
    }

    fn in_text(&self, text: &[u8]) -> bool {
        let needle = self.lower.as_bytes();
        if !self.lower.is_ascii() || !text.is_ascii() {
            return String::from_utf8_lossy(text).to_lowercase().contains(&self.lower);
        }
        let (first, upper) = (needle[0], needle[0].to_ascii_uppercase());
        memchr::memchr2_iter(first, upper, text)
            .any(|at| text.get(at..at + needle.len()).is_some_and(|part| part.eq_ignore_ascii_case(needle)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_whatever_its_case_and_bytes_by_their_digits() {
        let found = |needle: &str, class, value: &[u8]| Needle::of(needle).unwrap().is_in(class, value);
        assert!(found("ANN", Class::Text, b"Joanna") && found("straße", Class::Text, "STRAßE 5".as_bytes()));
        assert!(found("é", Class::Text, "É".as_bytes()) && !found("anna", Class::Text, b"Ann"));
        assert!(found("\\x01FF", Class::Bytes, b"\x01\xff\x02") && !found("zz", Class::Bytes, b"zz"));
        assert!(found("tru", Class::Boolean, b"t") && found("7", Class::Any, b"i17") && !found("i", Class::Any, b"i17"));
        assert!(Needle::of("").is_none());
    }
}
