//! How a block is closed and opened: AES-256-GCM, or a check of its bytes where nothing is encrypted.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Tag};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::snapshot::access::FileKeys;

/// Bytes that follow a block's own: the tag of AES-GCM, or the beginning of a SHA-256.
pub(super) const TAG: usize = 16;

/// The next step for whoever has a damaged file.
pub(super) const OTHER_COPY: &str = "copy the file again from where it is stored, or use another backup";

pub(in crate::snapshot) enum Seal {
    Encrypted(Box<Aes256Gcm>),
    /// SHA-256 of the preamble, which has the random salt of the file in it.
    Checked([u8; 32]),
}

impl Seal {
    /// `keys` are those of an encrypted file.
    pub fn new(keys: Option<&FileKeys>, preamble: &[u8]) -> Self {
        match keys {
            Some(keys) => Self::Encrypted(Box::new(Aes256Gcm::new_from_slice(&keys.seal[..]).expect("a key of AES-256 has 32 bytes"))),
            None => Self::Checked(Sha256::digest(preamble).into()),
        }
    }

    /// Under a key that is nowhere else: for files that only this process reads.
    pub fn temporary() -> Self {
        Self::encrypted(&Zeroizing::new(rand::random()))
    }

    fn encrypted(key: &Zeroizing<[u8; 32]>) -> Self {
        Self::Encrypted(Box::new(Aes256Gcm::new_from_slice(&key[..]).expect("a key of AES-256 has 32 bytes")))
    }

    /// Encrypts the block's bytes in place and appends its tag.
    pub fn close(&self, number: u64, footer: bool, block: &mut Vec<u8>) {
        let nonce = nonce(number, footer);
        match self {
            Self::Encrypted(cipher) => {
                let sealed = cipher.encrypt_inout_detached(&nonce.into(), b"", block.as_mut_slice().into());
                block.extend_from_slice(&sealed.expect("a block is far below the limit of AES-GCM"));
            }
            Self::Checked(file) => {
                let check = check(file, &nonce, block);
                block.extend_from_slice(&check[..TAG]);
            }
        }
    }

    /// Proves the block and takes the tag off. False when it is not the block of this number in this file.
    pub fn open(&self, number: u64, footer: bool, block: &mut Vec<u8>) -> bool {
        let Some(length) = block.len().checked_sub(TAG) else { return false };
        let (body, tag) = block.split_at_mut(length);
        let nonce = nonce(number, footer);
        let proven = match self {
            Self::Encrypted(cipher) => {
                let tag: [u8; TAG] = tag.try_into().expect("it was cut to this length");
                cipher.decrypt_inout_detached(&nonce.into(), b"", body.into(), &Tag::from(tag)).is_ok()
            }
            Self::Checked(file) => check(file, &nonce, body)[..TAG] == *tag,
        };
        block.truncate(length);
        proven
    }
}

/// Of every block another one under the same key, and of the footer one that no other block has.
fn nonce(number: u64, footer: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(footer);
    nonce
}

fn check(file: &[u8; 32], nonce: &[u8; 12], block: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(file).chain_update(nonce).chain_update(block).finalize().into()
}
