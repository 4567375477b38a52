//! What a snapshot needs of its surroundings: bytes of a file, and keys.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Result;

/// A file or object that can be read anywhere. Blocking: called on threads where that is allowed.
pub trait ReadAt: Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Exactly `length` bytes from `offset`. Errors when the file ends before.
    fn read(&self, offset: u64, length: usize) -> Result<Bytes>;
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
