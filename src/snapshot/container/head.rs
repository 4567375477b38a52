//! The beginning of a file of blocks: a magic, a length, and a JSON header in clear.

use serde::{Deserialize, Serialize};

use super::FileKind;
use crate::{
    error::{Error, Kind, Result},
    snapshot::access::KeyNote,
};

/// Longest header read or written, in bytes; most have about 350.
const HEADER_MAX: usize = 4096;
/// Magic and header length.
const PREFIX: usize = 10;
/// Bytes that always hold the whole beginning.
pub(super) const HEAD_MAX: usize = PREFIX + HEADER_MAX;
const VERSION: u32 = 1;
const AES: &str = "AES-256-GCM";
const NO_CIPHER: &str = "none";

/// What stands in clear at the beginning. None of it is trusted before the footer has opened, which proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub engine: String,
    pub database: String,
    /// How the key is made; `None` in a file that is not encrypted.
    pub note: Option<KeyNote>,
    pub file_salt: [u8; 32],
}

/// The header as its JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    version: u32,
    engine: String,
    #[serde(default)]
    database: String,
    cipher: String,
    #[serde(flatten)]
    note: Option<KeyNote>,
    file_salt: String,
}

impl Header {
    /// Every byte of the file before its first block. Errors when the names in it are too long.
    pub(super) fn preamble(&self, kind: FileKind) -> Result<Vec<u8>> {
        let wire = Wire {
            version: VERSION,
            engine: self.engine.clone(),
            database: self.database.clone(),
            cipher: if self.note.is_some() { AES } else { NO_CIPHER }.to_owned(),
            note: self.note.clone(),
            file_salt: hex::encode(self.file_salt),
        };
        let json = serde_json::to_vec(&wire).expect("text and numbers are JSON");
        if json.len() > HEADER_MAX {
            return Err(Error::validation(format!("the name of the database is too long for the header of a {}", kind.name)));
        }
        Ok([&kind.magic[..], &(json.len() as u16).to_be_bytes(), &json].concat())
    }

    /// Reads the header from the first bytes of a file, [`HEAD_MAX`] of them or the whole file; returns it and the length
    /// of everything before the first block.
    pub(in crate::snapshot) fn read(head: &[u8], kind: FileKind) -> Result<(Self, usize)> {
        let Some((prefix, rest)) = head.split_first_chunk::<PREFIX>().filter(|(prefix, _)| prefix.starts_with(kind.magic)) else {
            return Err(Error::validation(format!("this is not a {} of dbsnap: it does not begin as one", kind.name)));
        };
        let length = usize::from(u16::from_be_bytes([prefix[8], prefix[9]]));
        let json = rest.get(..length).filter(|json| json.len() <= HEADER_MAX).ok_or_else(|| damaged(kind))?;
        Ok((Self::parse(json, kind)?, PREFIX + length))
    }

    fn parse(json: &[u8], kind: FileKind) -> Result<Self> {
        /// Only this is read first: a newer version may have other fields.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(json).map_err(|cause| damaged(kind).source(cause))?;
        if version != VERSION {
            let text = format!("{} version {version} is not known (only {VERSION})", kind.name);
            return Err(Error::validation(text).hint("use a newer dbsnap"));
        }
        let wire: Wire = serde_json::from_slice(json).map_err(|cause| damaged(kind).source(cause))?;
        let mut file_salt = [0; 32];
        hex::decode_to_slice(&wire.file_salt, &mut file_salt).map_err(|cause| damaged(kind).source(cause))?;
        let note = match wire.cipher.as_str() {
            NO_CIPHER => None,
            AES => Some(wire.note.ok_or_else(|| damaged(kind))?),
            other => {
                let text = format!("cipher '{}' is not known (only {AES} and {NO_CIPHER})", other.escape_debug());
                return Err(Error::validation(text).hint("use a newer dbsnap"));
            }
        };
        Ok(Self { engine: wire.engine, database: wire.database, note, file_salt })
    }
}

fn damaged(kind: FileKind) -> Error {
    Error::new(Kind::Storage, format!("the {} is damaged: its header cannot be read", kind.name)).hint(super::seal::OTHER_COPY)
}
