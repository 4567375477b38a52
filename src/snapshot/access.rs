//! What a snapshot needs of its surroundings: bytes of a file, and keys.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Context, Error, Kind, Result};

/// A file or object that can be read anywhere. Blocking: called on threads where that is allowed.
pub trait ReadAt: Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Exactly `length` bytes from `offset`. Errors when the file ends before.
    fn read(&self, offset: u64, length: usize) -> Result<Bytes>;
}

/// A file in memory.
impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(length)?)).filter(|range| range.end <= self.len());
        range.map(|range| self.slice(range)).ok_or_else(|| Error::new(Kind::Storage, "reading after the end of a file in memory"))
    }
}

/// A local file.
pub struct FileAt {
    file: File,
    path: PathBuf,
    size: u64,
}

impl FileAt {
    /// Errors when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context(Kind::Storage, || format!("opening {}", path.display()))?;
        let size = file.metadata().context(Kind::Storage, || format!("reading the size of {}", path.display()))?.len();
        Ok(Self { file, path: path.to_owned(), size })
    }
}

impl ReadAt for FileAt {
    fn size(&self) -> u64 {
        // Another part of the program may still be writing it.
        self.file.metadata().map_or(self.size, |file| file.len())
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.context(Kind::Storage, || format!("reading {length} bytes of {} from byte {offset}", self.path.display()))?;
        Ok(bytes.into())
    }
}

/// How the key of a file is made from the passphrase; it stands in the file in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyNote {
    /// 8 hex digits.
    pub key_id: String,
    pub kdf: String,
    pub iterations: u32,
    /// Hex, 16 bytes.
    pub salt: String,
}

/// The keys of one file.
pub struct FileKeys {
    /// AES-256-GCM, for this file alone.
    pub seal: Zeroizing<[u8; 32]>,
    /// BLAKE3 of leaves and boundaries: the same for every file of the same master key, so that their leaves compare.
    pub hash: Zeroizing<[u8; 32]>,
}

/// Makes the keys of files.
pub trait Unlock: Send + Sync {
    /// The keys of the file with this note, salt and preamble (every byte before its first block).
    /// Errors when the passphrase is another one.
    fn unlock(&self, note: &KeyNote, file_salt: &[u8; 32], preamble: &[u8]) -> Result<FileKeys>;
}

/// What a new file is sealed with; files without it are neither encrypted nor keyed.
pub struct Lock<'a> {
    pub note: KeyNote,
    pub keys: &'a dyn Unlock,
}
