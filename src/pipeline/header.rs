//! The beginning of an encrypted file: a magic, a length, and a JSON header in clear. docs/format.md, section 1.

use serde::{Deserialize, Serialize};

use super::keys::{KDF_NAME, Kdf, MasterKey};
use crate::error::{Context, Error, Kind, Result};

/// Not text, not the start of any dump, and broken by a transfer that changes line ends.
pub(super) const MAGIC: &[u8; 8] = b"\x89DBSNAP\n";
/// Magic and header length.
pub(super) const PREFIX: usize = MAGIC.len() + 2;
/// Longest header read, in bytes; those written have about 300.
const HEADER_MAX: usize = 4096;
/// Plain bytes in every chunk but the last.
pub(super) const CHUNK: usize = 64 * 1024;
/// Chunk sizes read: the upper end bounds memory.
const CHUNKS_READ: std::ops::RangeInclusive<usize> = 4 * 1024..=1024 * 1024;

const VERSION: u32 = 1;
const CIPHER: &str = "AES-256-GCM";

/// What the header of an encrypted file says. None of it is secret; none is trusted until a chunk has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// See [`MasterKey::id`].
    pub key_id: String,
    pub kdf: Kdf,
    pub file_salt: [u8; 32],
    /// Plain bytes in every chunk but the last.
    pub chunk_size: usize,
}

/// The header as its JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    version: u32,
    cipher: String,
    key_id: String,
    kdf: String,
    iterations: u32,
    salt: String,
    file_salt: String,
    chunk_size: usize,
}

impl Header {
    /// The header of a new file under `key`.
    pub(super) fn generate(key: &MasterKey) -> Self {
        Self { key_id: key.id().to_owned(), kdf: *key.kdf(), file_salt: rand::random(), chunk_size: CHUNK }
    }

    /// Every byte of the file before its first chunk.
    pub(super) fn preamble(&self) -> Vec<u8> {
        let wire = Wire {
            version: VERSION,
            cipher: CIPHER.to_owned(),
            key_id: self.key_id.clone(),
            kdf: KDF_NAME.to_owned(),
            iterations: self.kdf.iterations,
            salt: self.kdf.salt_hex(),
            file_salt: hex::encode(self.file_salt),
            chunk_size: self.chunk_size,
        };
        let json = serde_json::to_vec(&wire).expect("strings and numbers are JSON");
        let length = u16::try_from(json.len()).expect("a header has about 300 bytes");
        [&MAGIC[..], &length.to_be_bytes(), &json].concat()
    }

    /// Reads the header at the start of a file. `Ok(None)` when `head` is too short to hold it whole; otherwise the
    /// header and the length of everything before the first chunk, in bytes.
    /// Errors when it is damaged, out of bounds, or of a version this build does not know.
    pub(super) fn read(head: &[u8]) -> Result<Option<(Self, usize)>> {
        let Some((prefix, rest)) = head.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if !prefix.starts_with(MAGIC) {
            return Err(damaged("it does not begin as an encrypted file of dbsnap"));
        }
        let length = usize::from(u16::from_be_bytes([prefix[8], prefix[9]]));
        if length > HEADER_MAX {
            return Err(damaged(format!("a header of {length} bytes is longer than {HEADER_MAX}")));
        }
        match rest.get(..length) {
            Some(json) => Ok(Some((Self::parse(json)?, PREFIX + length))),
            None => Ok(None),
        }
    }

    fn parse(json: &[u8]) -> Result<Self> {
        /// Only this is read first: a newer version may have other fields.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let not_json = || "damaged or truncated at byte 0: the header of the encrypted file cannot be read".to_owned();
        let Version { version } = serde_json::from_slice(json).context(Kind::Storage, not_json)?;
        if version != VERSION {
            return Err(
                Error::validation(format!("encrypted file version {version} is not known (only {VERSION})")).hint("use a newer dbsnap")
            );
        }
        let wire: Wire = serde_json::from_slice(json).context(Kind::Storage, not_json)?;
        if wire.cipher != CIPHER {
            return Err(Error::validation(format!("cipher '{}' is not known (only {CIPHER})", wire.cipher.escape_debug())));
        }
        if !CHUNKS_READ.contains(&wire.chunk_size) {
            return Err(Error::validation(format!("a chunk size of {} bytes is outside 4096 to 1048576", wire.chunk_size)));
        }
        if wire.key_id.len() != 8 || !wire.key_id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(damaged("the key id is not 8 hex digits"));
        }
        let mut file_salt = [0; 32];
        hex::decode_to_slice(&wire.file_salt, &mut file_salt).context(Kind::Storage, not_json)?;
        let kdf = Kdf::from_outside(&wire.kdf, wire.iterations, &wire.salt)?;
        Ok(Self { key_id: wire.key_id, kdf, file_salt, chunk_size: wire.chunk_size })
    }
}

/// The header of an encrypted file, from its first bytes (4,106 are always enough). `None` when they do not begin an
/// encrypted file, or its header is damaged.
pub fn describe(head: &[u8]) -> Option<Header> {
    Header::read(head).ok().flatten().map(|(header, _)| header)
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Storage, format!("damaged or truncated at byte 0: {why}"))
}
