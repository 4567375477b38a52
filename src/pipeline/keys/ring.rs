//! The current key, and those that older files were made with.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Kdf, MAC_NAME, MasterKey};
use crate::{
    domain::{manifest::ManifestMac, secret::Secret},
    error::{Error, Result},
};

/// Derived keys kept, so that reading many files of one instance derives once.
const KEPT: usize = 16;

/// All the keys that one passphrase makes. Cheap to clone; clones share the derived keys.
#[derive(Clone)]
pub struct KeyRing(Arc<Inner>);

struct Inner {
    passphrase: Secret,
    current: Arc<MasterKey>,
    /// The least recently used first.
    derived: Mutex<Vec<Arc<MasterKey>>>,
}

impl KeyRing {
    /// A ring whose `current` key was derived from `passphrase`.
    pub fn new(passphrase: Secret, current: MasterKey) -> Self {
        Self(Arc::new(Inner { passphrase, current: Arc::new(current), derived: Mutex::default() }))
    }

    /// The key that new files and secrets are sealed with.
    pub fn current(&self) -> Arc<MasterKey> {
        self.0.current.clone()
    }

    /// The key with this id, derived when it is not the current one (see [`MasterKey::derive`] for how long that takes).
    /// Errors when the passphrase makes another key: the file is of another instance, or ENCRYPTION_KEY was changed.
    pub fn for_kdf(&self, kdf: &Kdf, key_id: &str) -> Result<Arc<MasterKey>> {
        let key = self.derive(kdf);
        if key.id() == key_id {
            return Ok(key);
        }
        Err(Error::validation(format!("encrypted under key {}; the ENCRYPTION_KEY given makes key {}", key_id.escape_debug(), key.id()))
            .hint("give the ENCRYPTION_KEY that was set when this was written; if it is that one, the header is damaged"))
    }

    /// Checks a manifest's MAC over `bytes` (see `Manifest::mac_input`). Errors when the passphrase makes another key,
    /// and when the manifest was altered.
    pub fn verify_mac(&self, mac: &ManifestMac, bytes: &[u8]) -> Result<()> {
        if mac.algorithm != MAC_NAME {
            return Err(Error::validation(format!("manifest MAC '{}' is not known (only {MAC_NAME})", mac.algorithm.escape_debug())));
        }
        let kdf = Kdf::from_outside(&mac.kdf, mac.iterations, &mac.salt)?;
        self.for_kdf(&kdf, &mac.key_id)?.check_mac(&mac.mac, bytes)
    }

    fn derive(&self, kdf: &Kdf) -> Arc<MasterKey> {
        if self.0.current.kdf() == kdf {
            return self.current();
        }
        let mut derived = self.0.derived.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match derived.iter().position(|key| key.kdf() == kdf) {
            Some(at) => derived.remove(at),
            None => Arc::new(MasterKey::derive(&self.0.passphrase, *kdf)),
        };
        if derived.len() == KEPT {
            derived.remove(0);
        }
        derived.push(key.clone());
        key
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({})", self.0.current.id())
    }
}
