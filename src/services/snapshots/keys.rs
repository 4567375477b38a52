//! The keys of snapshots, from the product's key ring.

use crate::{
    error::Result,
    pipeline::keys::{KDF_NAME, Kdf, KeyRing},
    snapshot::{FileKeys, KeyNote, Lock, Unlock},
};

impl Unlock for KeyRing {
    fn unlock(&self, note: &KeyNote, file_salt: &[u8; 32], preamble: &[u8]) -> Result<FileKeys> {
        let kdf = Kdf::from_outside(&note.kdf, note.iterations, &note.salt)?;
        let key = self.for_kdf(&kdf, &note.key_id)?;
        Ok(FileKeys { seal: key.snapshot_key(file_salt, preamble), hash: key.leaf_key() })
    }
}

/// What new snapshots are sealed with.
pub fn lock(keys: &KeyRing) -> Lock<'_> {
    let key = keys.current();
    let note =
        KeyNote { key_id: key.id().to_owned(), kdf: KDF_NAME.to_owned(), iterations: key.kdf().iterations, salt: key.kdf().salt_hex() };
    Lock { note, keys }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::secret::Secret, pipeline::MasterKey};

    fn ring(passphrase: &str, salt: u8) -> KeyRing {
        let passphrase = Secret::new(passphrase);
        let key = MasterKey::derive(&passphrase, Kdf { iterations: 100_000, salt: [salt; 16] });
        KeyRing::new(passphrase, key)
    }

    #[test]
    fn a_file_opens_under_its_own_passphrase_and_leaves_of_one_master_key_share_a_hash_key() {
        let writer = ring("correct horse battery staple, twice over", 7);
        let lock = lock(&writer);
        let keys = lock.keys.unlock(&lock.note, &[1; 32], b"preamble").unwrap();
        // Another catalogue's ring of the same passphrase derives the key that the note tells.
        let same = ring("correct horse battery staple, twice over", 8).unlock(&lock.note, &[1; 32], b"preamble").unwrap();
        assert_eq!((&*keys.seal, &*keys.hash), (&*same.seal, &*same.hash));
        let other_file = writer.unlock(&lock.note, &[2; 32], b"preamble").unwrap();
        assert_ne!(keys.seal, other_file.seal);
        assert_eq!(keys.hash, other_file.hash);
        assert_ne!(keys.seal, writer.unlock(&lock.note, &[1; 32], b"altered").unwrap().seal);
        let refused = ring("another passphrase of many characters", 7).unlock(&lock.note, &[1; 32], b"preamble");
        assert!(refused.err().unwrap().to_string().contains("the ENCRYPTION_KEY given makes key"));
    }
}
