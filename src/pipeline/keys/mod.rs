//! The keys that come from ENCRYPTION_KEY.
//!
//! PBKDF2 turns the passphrase and a salt into a master key. It is never used itself: every use has a subkey of its
//! own, by HKDF-SHA256 with a distinct `info`. docs/format.md lists them.

mod ring;
mod text;

use std::fmt;

use aes_gcm::Aes256Gcm;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::Algorithm;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use self::ring::KeyRing;
use crate::{
    domain::{manifest::ManifestMac, secret::Secret},
    error::{Context, Error, Kind, Result},
};

/// The name of the key derivation function, as headers and manifests write it.
pub const KDF_NAME: &str = "PBKDF2-HMAC-SHA256";
/// The name of the manifest's MAC.
pub const MAC_NAME: &str = "HMAC-SHA256";

/// A key of AES-256 or HMAC-SHA256; wiped when dropped.
pub type Subkey = Zeroizing<[u8; 32]>;

/// How a master key is derived from the passphrase. It is public: headers and manifests carry it in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kdf {
    pub iterations: u32,
    pub salt: [u8; 16],
}

impl Kdf {
    pub const DEFAULT_ITERATIONS: u32 = 600_000;
    /// What is accepted from outside: fewer would be weak, more would let a file keep a core busy for long.
    const ACCEPTED: std::ops::RangeInclusive<u32> = 100_000..=10_000_000;

    /// The default number of iterations with a fresh random salt.
    pub fn generate() -> Self {
        Self { iterations: Self::DEFAULT_ITERATIONS, salt: rand::random() }
    }

    /// Parameters read from a file. Errors when the function is another one, the iterations are out of bounds
    /// (100,000 to 10,000,000), or the salt is not 16 bytes of hex.
    pub fn from_outside(name: &str, iterations: u32, salt: &str) -> Result<Self> {
        if name != KDF_NAME {
            return Err(Error::validation(format!("key derivation '{}' is not known (only {KDF_NAME})", name.escape_debug())));
        }
        if !Self::ACCEPTED.contains(&iterations) {
            return Err(Error::validation(format!("{iterations} key derivation iterations are outside 100000 to 10000000")));
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(salt, &mut bytes).context(Kind::Validation, || "the key derivation salt is not 16 bytes of hex".into())?;
        Ok(Self { iterations, salt: bytes })
    }

    pub fn salt_hex(&self) -> String {
        hex::encode(self.salt)
    }
}

/// The key that a passphrase and a [`Kdf`] make. Wiped when dropped; `Debug` shows its id only.
pub struct MasterKey {
    secret: Subkey,
    id: String,
    kdf: Kdf,
}

impl MasterKey {
    /// Takes 0.1 to 0.5 s of CPU by intention: call it where blocking is allowed.
    ///
    /// # Panics
    /// When `kdf` has fewer than 1,000 iterations, which neither [`Kdf::generate`] nor [`Kdf::from_outside`] makes.
    pub fn derive(passphrase: &Secret, kdf: Kdf) -> Self {
        let mut secret = Subkey::default();
        let params = pbkdf2::Params::new(kdf.iterations).expect("at least 1,000 iterations");
        // Not the generic function: this one is compiled in its own crate, optimised in the dev profile too.
        pbkdf2::pbkdf2_hmac_with_params(passphrase.expose().as_bytes(), &kdf.salt, Algorithm::Pbkdf2Sha256, params, &mut *secret);
        let id = hex::encode(&expand(&secret, None, &[b"dbsnap/v1/key-id"])[..4]);
        Self { secret, id, kdf }
    }

    /// A master key with a fresh random salt. Takes as long as [`MasterKey::derive`].
    pub fn generate(passphrase: &Secret) -> Self {
        Self::derive(passphrase, Kdf::generate())
    }

    /// 8 hex digits that tell keys apart, shown to people. They say nothing of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn kdf(&self) -> &Kdf {
        &self.kdf
    }

    /// The manifest's MAC over `bytes` (see `Manifest::mac_input`), with what is needed to check it later.
    pub fn mac(&self, bytes: &[u8]) -> ManifestMac {
        ManifestMac {
            algorithm: MAC_NAME.to_owned(),
            key_id: self.id.clone(),
            kdf: KDF_NAME.to_owned(),
            iterations: self.kdf.iterations,
            salt: self.kdf.salt_hex(),
            mac: hex::encode(self.hmac(bytes).finalize().into_bytes()),
        }
    }

    /// Errors unless `mac`, in hex, is the MAC over `bytes`.
    fn check_mac(&self, mac: &str, bytes: &[u8]) -> Result<()> {
        let forged = || {
            Error::validation(format!("the manifest was altered: its MAC does not verify under key {}", self.id))
                .hint("do not trust this manifest")
        };
        let mac = hex::decode(mac).map_err(|_| forged())?;
        self.hmac(bytes).verify_slice(&mac).map_err(|_| forged())
    }

    /// The key of one encrypted file: bound to its salt and to every byte before its first chunk.
    pub(super) fn file_key(&self, file_salt: &[u8; 32], preamble: &[u8]) -> Subkey {
        expand(&self.secret, Some(file_salt), &[b"dbsnap/v1/file", &Sha256::digest(preamble)])
    }

    /// The key that a snapshot's blocks are sealed with: bound to the file's salt and to every byte before its first block.
    pub fn snapshot_key(&self, file_salt: &[u8; 32], preamble: &[u8]) -> Subkey {
        expand(&self.secret, Some(file_salt), &[b"dbsnap/v1/snapshot", &Sha256::digest(preamble)])
    }

    /// The key of the hashes of leaves: the same for every snapshot under this master key, so that their leaves compare.
    pub fn leaf_key(&self) -> Subkey {
        expand(&self.secret, None, &[b"dbsnap/v1/leaf"])
    }

    fn text_key(&self) -> Subkey {
        expand(&self.secret, None, &[b"dbsnap/v1/text"])
    }

    fn hmac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        let key = expand(&self.secret, None, &[b"dbsnap/v1/manifest"]);
        Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes keys of any length").chain_update(bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// The AES-256-GCM cipher of a subkey.
pub(super) fn cipher(key: &Subkey) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(&**key).expect("a subkey has 32 bytes")
}

fn expand(master: &Subkey, salt: Option<&[u8]>, info: &[&[u8]]) -> Subkey {
    let mut key = Subkey::default();
    Hkdf::<Sha256>::new(salt, &**master).expand_multi_info(info, &mut *key).expect("32 bytes are one HKDF block");
    key
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const PASSPHRASE: &str = "correct horse battery staple, twice over";
    const KDF: Kdf = Kdf { iterations: 100_000, salt: [7; 16] };

    fn ring(passphrase: &str, kdf: Kdf) -> KeyRing {
        let passphrase = Secret::new(passphrase);
        let key = MasterKey::derive(&passphrase, kdf);
        KeyRing::new(passphrase, key)
    }

    #[test]
    fn a_key_is_what_docs_format_says() {
        // Computed with Python's hashlib and cryptography from docs/format.md.
        let key = MasterKey::derive(&Secret::new(PASSPHRASE), KDF);
        assert_eq!(key.id(), "88a7961a");
        assert_eq!(hex::encode(*key.text_key()), "bddef617eb84ec8ca611195fb5fa67198083aa65e56938221cbe4962243b83e4");
        assert_eq!(hex::encode(*key.file_key(&[9; 32], b"preamble")), "e159660fb0e46fd539635565ed198cfd10fda9a9a2fad3e91cea7fd5a3c74712");
        let snapshot = key.snapshot_key(&[9; 32], b"preamble");
        assert_eq!(hex::encode(*snapshot), "537fcc9d84da0a89df2283ec48ae29d0e6203b090a2ff5e01218f073932855a4");
        assert_eq!(hex::encode(*key.leaf_key()), "206cd2c195a52e303a508238185a3aca0e4fb3d06cc80cacc109a4571eabfece");
        assert_eq!(key.mac(b"{}").mac, "ae32028ac4b106b48bc39f96dd36f3f6c27f357f476ed1102d9d63ac8456998a");
    }

    #[test]
    fn a_sealed_text_opens_under_its_key_and_purpose_only() {
        let key = ring(PASSPHRASE, KDF).current();
        let sealed = key.seal_text("database/1", "pä55");
        assert_eq!(key.open_text("database/1", &sealed).unwrap().expose(), "pä55");
        assert_ne!(sealed, key.seal_text("database/1", "pä55"), "a nonce of its own each time");
        assert!(key.open_text("database/2", &sealed).unwrap_err().to_string().contains("another purpose"));
        let other = ring("another passphrase of many characters", KDF).current();
        let error = other.open_text("database/1", &sealed).unwrap_err().to_string();
        assert!(error.contains(&format!("sealed under key {}; the ENCRYPTION_KEY given makes key {}", key.id(), other.id())), "{error}");
        // The constant form: what was sealed once opens for ever.
        let golden = "v1.88a7961a.AAECAwQFBgcICQoLquEdPj7Ja_HNisPKPyvzhvqf59YzeyaXShG1giJiELQ";
        assert_eq!(key.open_text("golden", golden).unwrap().expose(), "a secret of 2026");
    }

    #[test]
    fn no_altered_sealed_text_opens() {
        let key = ring(PASSPHRASE, KDF).current();
        let sealed = key.seal_text("p", "text");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(key.open_text("p", &String::from_utf8(altered).unwrap()).is_err(), "byte {at}");
            assert!(key.open_text("p", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_ring_finds_older_keys_by_their_salt_and_refuses_other_passphrases() {
        let old = ring(PASSPHRASE, Kdf { salt: [1; 16], ..KDF }).current();
        let keys = ring(PASSPHRASE, KDF);
        assert_eq!(keys.for_kdf(old.kdf(), old.id()).unwrap().id(), old.id());
        assert!(Arc::ptr_eq(&keys.for_kdf(&KDF, keys.current().id()).unwrap(), &keys.current()));
        let error = ring("another passphrase of many characters", KDF).for_kdf(old.kdf(), old.id()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("encrypted under key {}; the ENCRYPTION_KEY given makes key", old.id())), "{error}");
    }

    #[test]
    fn a_mac_verifies_over_the_same_bytes_only() {
        let mac = ring(PASSPHRASE, Kdf { salt: [1; 16], ..KDF }).current().mac(b"manifest");
        let keys = ring(PASSPHRASE, KDF);
        keys.verify_mac(&mac, b"manifest").unwrap();
        assert!(keys.verify_mac(&mac, b"manifesto").unwrap_err().to_string().contains("altered"));
        let check = |change: &dyn Fn(&mut ManifestMac)| {
            let mut changed = mac.clone();
            change(&mut changed);
            keys.verify_mac(&changed, b"manifest").unwrap_err().to_string()
        };
        assert!(check(&|mac| mac.mac.replace_range(..2, "zz")).contains("altered"));
        assert!(check(&|mac| mac.mac.truncate(8)).contains("altered"));
        assert!(check(&|mac| mac.algorithm = "none".into()).contains("not known"));
        assert!(check(&|mac| mac.iterations = 1).contains("outside"));
        assert!(check(&|mac| mac.iterations = u32::MAX).contains("outside"));
        assert!(check(&|mac| mac.salt.push('0')).contains("16 bytes"));
        assert!(check(&|mac| mac.salt = "00".repeat(16)).contains("makes key"));
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = ring(PASSPHRASE, KDF);
        let shown = format!("{keys:?} {:?}", keys.current());
        assert_eq!(shown, format!("KeyRing({id}) MasterKey({id})", id = keys.current().id()));
    }
}
