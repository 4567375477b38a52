//! Files of blocks: each compressed and sealed on its own, found by reference, with a footer at the end.
//!
//! Snapshots and the reports of comparisons are such files. A block of another file, at another place, cut or with a bit
//! changed does not open, whether the file is encrypted or not. docs/format.md specifies every byte.

mod head;
mod read;
mod seal;
mod write;

use serde::{Deserialize, Serialize};

pub(super) use self::seal::Seal;
pub use self::{
    head::Header,
    read::{Decoder, Reader},
    write::{Output, Writer},
};
use super::varint;
use crate::error::{Error, Kind, Result};

/// What a file of blocks is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// Its first eight bytes, and its last ones.
    pub magic: &'static [u8; 8],
    /// As a person reads it, such as `snapshot`.
    pub name: &'static str,
}

/// Where a block is, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockRef {
    /// Its place among the blocks, from 0: it opens under no other.
    pub number: u64,
    /// Its first byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub stored: u32,
    /// Bytes once it is open.
    pub plain: u32,
}

impl BlockRef {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        for number in [self.number, self.offset, u64::from(self.stored), u64::from(self.plain)] {
            varint::put(out, number);
        }
    }

    /// Reads one at the start of `bytes`; returns it and what follows.
    pub fn take(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (number, rest) = varint::take(bytes)?;
        let (offset, rest) = varint::take(rest)?;
        let (stored, rest) = varint::take(rest)?;
        let (plain, rest) = varint::take(rest)?;
        let length = |number: u64| u32::try_from(number).map_err(|_| Error::new(Kind::Storage, "a block is longer than 4 GiB"));
        Ok((Self { number, offset, stored: length(stored)?, plain: length(plain)? }, rest))
    }

    /// The first byte after it.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.stored))
    }
}

/// Bytes at the end of a file: position, number and lengths of the footer, and the magic.
const TRAILER: usize = 32;

/// The trailer of a file whose footer is this block.
fn trailer(footer: BlockRef, kind: FileKind) -> [u8; TRAILER] {
    let mut bytes = [0; TRAILER];
    bytes[..8].copy_from_slice(&footer.offset.to_be_bytes());
    bytes[8..16].copy_from_slice(&footer.number.to_be_bytes());
    bytes[16..20].copy_from_slice(&footer.stored.to_be_bytes());
    bytes[20..24].copy_from_slice(&footer.plain.to_be_bytes());
    bytes[24..].copy_from_slice(kind.magic);
    bytes
}

/// The footer that a file's last bytes tell of. `None` when they are no trailer.
fn read_trailer(bytes: &[u8; TRAILER], kind: FileKind) -> Option<BlockRef> {
    let number = |at: usize, length: usize| bytes[at..at + length].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let footer = BlockRef { offset: number(0, 8), number: number(8, 8), stored: number(16, 4) as u32, plain: number(20, 4) as u32 };
    (bytes[24..] == kind.magic[..]).then_some(footer)
}
