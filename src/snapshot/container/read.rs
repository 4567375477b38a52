//! Reads blocks of a file by reference.

use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;
use zstd::bulk::Decompressor;

use super::{BlockRef, FileKind, Header, TRAILER, head::HEAD_MAX, read_trailer, seal};
use crate::{
    error::{Context, Error, Kind, Result},
    snapshot::access::{ReadAt, Unlock},
};

/// Bytes read at the end of a file at once: most footers are in them.
const TAIL: u64 = 64 * 1024;
/// Plain bytes that one stored byte can become in zstd, whatever it holds: a block of 128 KiB takes at least four.
const RATIO: u64 = 32 * 1024;

/// What opens the blocks of one file.
pub(super) struct Opening {
    pub kind: FileKind,
    pub header: Header,
    pub seal: seal::Seal,
    pub hash: Option<Zeroizing<[u8; 32]>>,
}

/// Reads blocks; many threads may share it.
#[derive(Clone)]
pub struct Reader {
    file: Arc<dyn ReadAt>,
    opening: Arc<Opening>,
}

impl Reader {
    pub(super) fn new(file: Arc<dyn ReadAt>, opening: Arc<Opening>) -> Self {
        Self { file, opening }
    }

    /// Opens a whole file; returns the plain bytes of its footer too. Errors when it is of another kind, cut, altered, or
    /// encrypted under a key that `keys` does not give.
    pub fn open(file: Arc<dyn ReadAt>, kind: FileKind, keys: Option<&dyn Unlock>) -> Result<(Self, Vec<u8>)> {
        let size = file.size();
        let head = file.read(0, size.min(HEAD_MAX as u64) as usize)?;
        let (header, length) = Header::read(&head, kind)?;
        let preamble = &head[..length];
        let keys = match (&header.note, keys) {
            (None, _) => None,
            (Some(note), Some(keys)) => Some(keys.unlock(note, &header.file_salt, preamble)?),
            (Some(note), None) => {
                let text = format!("the {} is encrypted under key {}", kind.name, note.key_id.escape_debug());
                return Err(Error::validation(text).hint("give the ENCRYPTION_KEY that was set when it was written"));
            }
        };
        let seal = seal::Seal::new(keys.as_ref(), preamble);
        let reader = Self::new(file, Arc::new(Opening { kind, header, seal, hash: keys.map(|keys| keys.hash) }));
        let footer = reader.footer(size, length as u64)?;
        Ok((reader, footer))
    }

    fn footer(&self, size: u64, start: u64) -> Result<Vec<u8>> {
        let tail = self.file.read(size - size.min(TAIL), size.min(TAIL) as usize)?;
        let trailer = tail.last_chunk::<TRAILER>().filter(|_| size >= start + TRAILER as u64);
        let Some(footer) = trailer.and_then(|trailer| read_trailer(trailer, self.opening.kind)) else {
            let text = format!("the {} is cut or was never finished: its end is missing", self.opening.kind.name);
            return Err(Error::new(Kind::Storage, text).hint(seal::OTHER_COPY));
        };
        if footer.end() != size - TRAILER as u64 || footer.offset < start {
            return Err(self.damaged(footer, "its place is not the end of the file"));
        }
        let stored = match (size - footer.offset).cmp(&(tail.len() as u64)) {
            std::cmp::Ordering::Greater => self.stored(footer)?,
            _ => tail.slice(tail.len() - (size - footer.offset) as usize..tail.len() - TRAILER),
        };
        let mut plain = Vec::new();
        self.decoder()?.decode_as(footer, true, &stored, &mut plain)?;
        Ok(plain)
    }

    pub fn header(&self) -> &Header {
        &self.opening.header
    }

    /// The key of the file's hashes; `None` where nothing is encrypted.
    pub fn hash_key(&self) -> Option<&[u8; 32]> {
        self.opening.hash.as_deref()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// The plain bytes of a block. Errors when the file cannot be read, or it is not the block that was written.
    pub fn read(&self, block: BlockRef) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        self.decoder()?.decode(block, &self.stored(block)?, &mut plain)?;
        Ok(plain)
    }

    /// The bytes of a block as they are in the file.
    pub fn stored(&self, block: BlockRef) -> Result<Bytes> {
        self.span(block, u64::from(block.stored))
    }

    /// `length` bytes from where `block` begins.
    pub(in crate::snapshot) fn span(&self, block: BlockRef, length: u64) -> Result<Bytes> {
        let end = block.offset.checked_add(length).filter(|end| *end <= self.file.size());
        end.ok_or_else(|| self.damaged(block, "it lies outside the file"))?;
        self.file.read(block.offset, length as usize)
    }

    /// Opens blocks one after the other, with buffers of its own.
    pub fn decoder(&self) -> Result<Decoder> {
        let decompressor = Decompressor::new().context(Kind::Internal, || "starting zstd".into())?;
        Ok(Decoder { reader: self.clone(), sealed: Vec::new(), decompressor })
    }

    /// What is wrong with a block.
    pub(in crate::snapshot) fn damaged(&self, block: BlockRef, why: &str) -> Error {
        let name = self.opening.kind.name;
        Error::new(Kind::Storage, format!("the {name} is damaged: block {} at byte {}: {why}", block.number, block.offset))
            .hint(seal::OTHER_COPY)
    }
}

/// Opens blocks of one file.
pub struct Decoder {
    reader: Reader,
    sealed: Vec<u8>,
    decompressor: Decompressor<'static>,
}

impl Decoder {
    /// Replaces `plain` by the plain bytes of a block, whose bytes in the file are `stored`.
    pub fn decode(&mut self, block: BlockRef, stored: &[u8], plain: &mut Vec<u8>) -> Result<()> {
        self.decode_as(block, false, stored, plain)
    }

    fn decode_as(&mut self, block: BlockRef, footer: bool, stored: &[u8], plain: &mut Vec<u8>) -> Result<()> {
        self.sealed.clear();
        self.sealed.extend_from_slice(stored);
        if !self.reader.opening.seal.open(block.number, footer, &mut self.sealed) {
            return Err(self.reader.damaged(block, "its bytes are not those that were written"));
        }
        plain.clear();
        // A hostile file cannot make this take more memory than its own size calls for.
        if u64::from(block.plain) <= RATIO * self.sealed.len() as u64 {
            plain.reserve_exact(block.plain as usize);
            let whole = self.decompressor.decompress_to_buffer(&self.sealed, plain);
            if whole.is_ok_and(|length| length == block.plain as usize) {
                return Ok(());
            }
        }
        Err(self.reader.damaged(block, "it does not decompress to the length it should have"))
    }
}
