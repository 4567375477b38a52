//! Reads leaves that lie side by side in the file with one call, as long as they are read one after the other.

use bytes::Bytes;

use super::{container::Reader, index::Entry};
use crate::error::Result;

/// Bytes of the second read in a row; each further one has four times as many.
const FIRST: u64 = 128 * 1024;
/// Bytes of the largest read, unless a single leaf is larger.
const LARGEST: u64 = 2 * 1024 * 1024;
/// Index nodes may lie between leaves that are read one after the other.
const GAP: u64 = 256 * 1024;

/// What was read last.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// The file's bytes from `start` on.
    bytes: Bytes,
    start: u64,
    /// Where a reader that goes on would read next.
    next: u64,
    length: u64,
}

impl ReadAhead {
    /// The bytes in the file of the first of these neighbouring leaves.
    pub fn block(&mut self, file: &Reader, leaves: &[Entry]) -> Result<Bytes> {
        let block = leaves[0].block;
        if block.offset < self.start || block.end() > self.start + self.bytes.len() as u64 {
            let goes_on = block.offset.checked_sub(self.next).is_some_and(|gap| gap < GAP) && self.next > 0;
            self.length = if goes_on { (self.length * 4).clamp(FIRST, LARGEST) } else { 0 };
            let mut end = block.end();
            for leaf in &leaves[1..] {
                if leaf.block.offset != end || leaf.block.end() - block.offset > self.length {
                    break;
                }
                end = leaf.block.end();
            }
            self.bytes = file.span(block, end - block.offset)?;
            self.start = block.offset;
        }
        self.next = block.end();
        let at = (block.offset - self.start) as usize;
        Ok(self.bytes.slice(at..at + block.stored as usize))
    }
}
