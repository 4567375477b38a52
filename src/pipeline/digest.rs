//! Size and SHA-256 of bytes as they pass.

use sha2::{Digest as _, Sha256};

/// Counts and hashes.
#[derive(Default)]
pub(super) struct Digest {
    size: u64,
    hash: Sha256,
}

impl Digest {
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// The size in bytes and the SHA-256 in hex.
    pub fn finish(self) -> (u64, String) {
        (self.size, hex::encode(self.hash.finalize()))
    }
}
