//! BSON in place: the fields of a document as slices of its bytes. Nothing is believed, nothing is copied.

/// The type bytes of BSON.
pub mod kind {
    pub const DOUBLE: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const DOCUMENT: u8 = 0x03;
    pub const ARRAY: u8 = 0x04;
    pub const BINARY: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const OBJECT_ID: u8 = 0x07;
    pub const BOOLEAN: u8 = 0x08;
    pub const DATE: u8 = 0x09;
    pub const NULL: u8 = 0x0a;
    pub const REGEX: u8 = 0x0b;
    pub const DB_POINTER: u8 = 0x0c;
    pub const CODE: u8 = 0x0d;
    pub const SYMBOL: u8 = 0x0e;
    pub const CODE_WITH_SCOPE: u8 = 0x0f;
    pub const INT32: u8 = 0x10;
    pub const TIMESTAMP: u8 = 0x11;
    pub const INT64: u8 = 0x12;
    pub const DECIMAL128: u8 = 0x13;
    pub const MIN_KEY: u8 = 0xff;
    pub const MAX_KEY: u8 = 0x7f;
}

/// A value: its type byte and its bytes as the document has them, lengths included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BsonValue<'a> {
    pub kind: u8,
    pub bytes: &'a [u8],
}

/// One field; the name is UTF-8 as far as the server keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BsonField<'a> {
    pub name: &'a [u8],
    pub value: BsonValue<'a>,
}

/// The bytes are no BSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// The fields of a document or array, one after the other; after an error there are none.
#[derive(Debug, Clone)]
pub struct BsonFields<'a> {
    rest: &'a [u8],
    damaged: bool,
}

/// The fields of a whole document: its length, its fields and the zero at its end.
pub fn bson_fields(document: &[u8]) -> BsonFields<'_> {
    let framed = length(document).is_some_and(|length| length == document.len() && length >= 5) && document.last() == Some(&0);
    if framed { BsonFields { rest: &document[4..document.len() - 1], damaged: false } } else { BsonFields { rest: &[], damaged: true } }
}

impl<'a> Iterator for BsonFields<'a> {
    type Item = Result<BsonField<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.damaged {
            self.damaged = false;
            self.rest = &[];
            return Some(Err(Damaged));
        }
        let (kind, rest) = self.rest.split_first()?;
        let field = cstring(rest).and_then(|(name, rest)| {
            let (bytes, rest) = rest.split_at_checked(value_length(*kind, rest)?)?;
            self.rest = rest;
            Some(BsonField { name, value: BsonValue { kind: *kind, bytes } })
        });
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Damaged))
    }
}

impl<'a> BsonValue<'a> {
    /// The `N` bytes of a number, an id, a date.
    pub fn fixed<const N: usize>(self) -> Option<[u8; N]> {
        self.bytes.try_into().ok()
    }

    /// The text of a string, symbol or code, without its length and zero.
    pub fn text(self) -> Option<&'a [u8]> {
        string(self.bytes).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| text)
    }

    /// Subtype and bytes of binary data; of the old subtype 2, its inner length is among the bytes.
    pub fn binary(self) -> Option<(u8, &'a [u8])> {
        let (subtype, bytes) = self.bytes.get(4..)?.split_first()?;
        Some((*subtype, bytes))
    }

    /// Pattern and options.
    pub fn regex(self) -> Option<(&'a [u8], &'a [u8])> {
        let (pattern, rest) = cstring(self.bytes)?;
        cstring(rest).filter(|(_, rest)| rest.is_empty()).map(|(options, _)| (pattern, options))
    }

    /// Namespace and id.
    pub fn db_pointer(self) -> Option<(&'a [u8], &'a [u8])> {
        string(self.bytes).filter(|(_, id)| id.len() == 12)
    }

    /// Code and the document of its scope.
    pub fn code_with_scope(self) -> Option<(&'a [u8], &'a [u8])> {
        string(self.bytes.get(4..)?)
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<4>()?;
    usize::try_from(i32::from_le_bytes(*length)).ok()
}

fn cstring(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(0, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// A text with its length in front and a zero behind, and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.get(4..)?.split_at_checked(length(bytes)?)?;
    let (zero, text) = text.split_last()?;
    (*zero == 0).then_some((text, rest))
}

/// Bytes of a value at the start of `rest`; whether so many are there is left to the caller.
fn value_length(kind: u8, rest: &[u8]) -> Option<usize> {
    let prefixed = |more: usize| length(rest)?.checked_add(more);
    Some(match kind {
        kind::UNDEFINED | kind::NULL | kind::MIN_KEY | kind::MAX_KEY => 0,
        kind::BOOLEAN => 1,
        kind::INT32 => 4,
        kind::DOUBLE | kind::DATE | kind::TIMESTAMP | kind::INT64 => 8,
        kind::OBJECT_ID => 12,
        kind::DECIMAL128 => 16,
        kind::STRING | kind::CODE | kind::SYMBOL => prefixed(4)?,
        kind::BINARY => prefixed(5)?,
        kind::DB_POINTER => prefixed(16)?,
        kind::DOCUMENT | kind::ARRAY | kind::CODE_WITH_SCOPE => prefixed(0).filter(|length| *length >= 5)?,
        kind::REGEX => {
            let (pattern, after) = cstring(rest)?;
            let (options, _) = cstring(after)?;
            pattern.len() + options.len() + 2
        }
        _ => return None,
    })
}
