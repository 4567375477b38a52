//! One change as a report's block has it.

use crate::{
    diff::merge::ChangeRef,
    error::{Error, Kind, Result},
    snapshot::{ChangeKind, varint},
};

const BEFORE: u8 = 4;
const AFTER: u8 = 8;

/// One change, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub kind: ChangeKind,
    /// The bytes of the set of columns that changed.
    pub columns: &'a [u8],
    pub key: &'a [u8],
    pub before: Option<&'a [u8]>,
    pub after: Option<&'a [u8]>,
}

pub fn put(out: &mut Vec<u8>, change: &ChangeRef<'_>) {
    let sides = if change.before.is_some() { BEFORE } else { 0 } | if change.after.is_some() { AFTER } else { 0 };
    out.push(kind_number(change.kind) as u8 | sides);
    for bytes in [Some(change.columns.bytes()), Some(change.key), change.before, change.after].into_iter().flatten() {
        varint::put(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

/// Reads one at the start of `bytes`; returns it and what follows.
pub fn take(bytes: &[u8]) -> Result<(Entry<'_>, &[u8])> {
    let (head, rest) = bytes.split_first().ok_or_else(damaged)?;
    let kind = kind_of(usize::from(head & 3)).ok_or_else(damaged)?;
    let (columns, rest) = varint::take_slice(rest)?;
    let (key, mut rest) = varint::take_slice(rest)?;
    let mut side = |there: u8| -> Result<Option<_>> {
        if head & there == 0 {
            return Ok(None);
        }
        let (value, after) = varint::take_slice(rest)?;
        rest = after;
        Ok(Some(value))
    };
    let (before, after) = (side(BEFORE)?, side(AFTER)?);
    Ok((Entry { kind, columns, key, before, after }, rest))
}

/// The changes of a block, in their order.
pub fn entries(block: &[u8]) -> impl Iterator<Item = Result<Entry<'_>>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = take(rest);
        rest = taken.as_ref().map_or(&[], |(_, after)| after);
        Some(taken.map(|(entry, _)| entry))
    })
}

/// A kind's place in counts by kind.
pub fn kind_number(kind: ChangeKind) -> usize {
    match kind {
        ChangeKind::Added => 0,
        ChangeKind::Removed => 1,
        ChangeKind::Changed => 2,
    }
}

pub fn kind_of(number: usize) -> Option<ChangeKind> {
    [ChangeKind::Added, ChangeKind::Removed, ChangeKind::Changed].get(number).copied()
}

pub fn damaged() -> Error {
    Error::new(Kind::Storage, "the report of the comparison is damaged: a change cannot be read").hint("run the comparison again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Bits;

    #[test]
    fn changes_return_as_they_were_and_cut_ones_are_refused() {
        let columns: Bits = [3].into_iter().collect();
        let mut block = Vec::new();
        let changes = [
            ChangeRef { kind: ChangeKind::Added, key: b"k", before: None, after: Some(b"new"), columns: &Bits::default() },
            ChangeRef { kind: ChangeKind::Removed, key: b"", before: Some(b""), after: None, columns: &Bits::default() },
            ChangeRef { kind: ChangeKind::Changed, key: b"l", before: Some(b"old"), after: Some(b"new"), columns: &columns },
        ];
        changes.iter().for_each(|change| put(&mut block, change));
        let read: Vec<_> = entries(&block).map(|entry| entry.unwrap()).collect();
        for (entry, change) in read.iter().zip(&changes) {
            assert_eq!((entry.kind, entry.key, entry.before, entry.after), (change.kind, change.key, change.before, change.after));
            assert_eq!(entry.columns, change.columns.bytes());
        }
        assert!(entries(&block[..block.len() - 1]).any(|entry| entry.is_err()) && take(&[3]).is_err() && take(&[]).is_err());
    }
}
