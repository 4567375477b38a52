//! Writes a file of blocks in one pass.

use std::sync::Arc;

use bytes::Bytes;
use zstd::bulk::Compressor;

use super::{BlockRef, FileKind, Header, Reader, read::Opening, seal::Seal, trailer};
use crate::{
    error::{Context, Error, Kind, Result},
    snapshot::access::{Lock, ReadAt},
};

/// Where the bytes of a file go, in order. It may block.
pub type Output = Box<dyn FnMut(Bytes) -> Result<()> + Send>;

/// Measured: as small as level 3 on rows and nearly twice as fast.
const LEVEL: i32 = 1;

/// Writes blocks and gives references to them.
pub struct Writer {
    out: Output,
    opening: Arc<Opening>,
    compressor: Compressor<'static>,
    position: u64,
    number: u64,
}

impl Writer {
    /// Begins a file, sealed as `lock` says. `engine` and `database` stand in clear in its header.
    pub fn new(kind: FileKind, engine: &str, database: &str, lock: Option<Lock<'_>>, out: Output) -> Result<Self> {
        Self::begin(kind, engine, database, lock, rand::random(), out)
    }

    /// Begins a file that is not encrypted and, for the same content, salt and version of zstd, always has the same bytes.
    pub fn reproducible(kind: FileKind, engine: &str, database: &str, file_salt: [u8; 32], out: Output) -> Result<Self> {
        Self::begin(kind, engine, database, None, file_salt, out)
    }

    fn begin(kind: FileKind, engine: &str, database: &str, lock: Option<Lock<'_>>, file_salt: [u8; 32], mut out: Output) -> Result<Self> {
        let note = lock.as_ref().map(|lock| lock.note.clone());
        let header = Header { engine: engine.to_owned(), database: database.to_owned(), note, file_salt };
        let preamble = header.preamble(kind)?;
        let keys = lock.map(|lock| lock.keys.unlock(&lock.note, &file_salt, &preamble)).transpose()?;
        let opening = Opening { kind, header, seal: Seal::new(keys.as_ref(), &preamble), hash: keys.map(|keys| keys.hash) };
        let position = preamble.len() as u64;
        out(preamble.into())?;
        let compressor = Compressor::new(LEVEL).context(Kind::Internal, || "starting zstd".into())?;
        Ok(Self { out, opening: Arc::new(opening), compressor, position, number: 0 })
    }

    /// The key of the file's hashes; `None` where nothing is encrypted.
    pub fn hash_key(&self) -> Option<&[u8; 32]> {
        self.opening.hash.as_deref()
    }

    /// Bytes so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes one block. Errors when it is longer than 2 GiB, or when `out` does.
    pub fn block(&mut self, plain: &[u8]) -> Result<BlockRef> {
        self.put(plain, false)
    }

    /// Ends the file. Returns its size in bytes.
    pub fn finish(mut self, footer: &[u8]) -> Result<u64> {
        let footer = self.put(footer, true)?;
        let trailer = trailer(footer, self.opening.kind);
        (self.out)(Bytes::copy_from_slice(&trailer))?;
        Ok(self.position + trailer.len() as u64)
    }

    /// Reads the blocks written so far from `file`, where they have arrived.
    pub fn reader(&self, file: Arc<dyn ReadAt>) -> Reader {
        Reader::new(file, self.opening.clone())
    }

    fn put(&mut self, plain: &[u8], footer: bool) -> Result<BlockRef> {
        if plain.len() > i32::MAX as usize {
            let text = format!("{} bytes in one block of a {}: more than 2 GiB", plain.len(), self.opening.kind.name);
            return Err(Error::new(Kind::Backup, text));
        }
        let mut block = self.compressor.compress(plain).context(Kind::Internal, || "compressing with zstd".into())?;
        self.opening.seal.close(self.number, footer, &mut block);
        let at = BlockRef { number: self.number, offset: self.position, stored: block.len() as u32, plain: plain.len() as u32 };
        self.number += 1;
        self.position += block.len() as u64;
        (self.out)(block.into())?;
        Ok(at)
    }
}
