//! SSH keys: what proves the server to us, and us to the server.

use std::{fmt, str::FromStr, sync::Arc};

use russh::keys::{
    Algorithm, EcdsaCurve, Error as KeyError, HashAlg, PrivateKey, PublicKey, decode_secret_key,
    ssh_key::{Error as FormatError, Fingerprint},
};

use super::route::SshServer;
use crate::error::{Error, Kind, Result};

/// A server's key, as it is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    fingerprint: Fingerprint,
    /// Known when the key itself was given, or seen.
    algorithm: Option<Algorithm>,
}

impl HostKey {
    /// Reads `SHA256:...`, a line of `ssh-keygen -l`, a public key, or a line of known_hosts.
    pub fn read(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        if let Some(fingerprint) = words.iter().find(|word| word.starts_with("SHA256:")) {
            let fingerprint = Fingerprint::from_str(fingerprint.trim_end_matches('=')).ok()?;
            return Some(Self { fingerprint, algorithm: None });
        }
        let key = words.windows(2).find_map(|pair| PublicKey::from_openssh(&pair.join(" ")).ok())?;
        Some(Self::of(&key))
    }

    pub fn of(key: &PublicKey) -> Self {
        Self { fingerprint: key.fingerprint(HashAlg::Sha256), algorithm: Some(key.algorithm()) }
    }

    pub fn is(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// The algorithms to offer, one list after the other until a server shows this key: a server has several keys, and
    /// shows the one of the first algorithm that is offered and that it has.
    pub fn offers(pin: Option<&Self>) -> Vec<Vec<Algorithm>> {
        let family = |of: &Algorithm| FAMILIES.iter().find(|family| family.iter().any(|one| same_family(one, of)));
        match pin.map(|pin| pin.algorithm.as_ref().and_then(family)) {
            // None known yet: the server's best one.
            None => vec![FAMILIES.concat()],
            Some(Some(known)) => vec![known.to_vec()],
            Some(None) => FAMILIES.iter().map(|family| family.to_vec()).collect(),
        }
    }
}

/// `SHA256:...`
impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint.fmt(f)
    }
}

/// Best first. RSA with SHA-1 is left out.
const FAMILIES: [&[Algorithm]; 3] = [
    &[Algorithm::Ed25519],
    &[
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ],
    &[Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }],
];

fn same_family(one: &Algorithm, other: &Algorithm) -> bool {
    one == other || (one.clone().is_rsa() && other.clone().is_rsa())
}

/// The private key of the settings. Deriving a key from a passphrase takes its time: call it on a thread for that.
pub fn private_key(server: &SshServer) -> Result<Option<Arc<PrivateKey>>> {
    let Some(text) = &server.key else { return Ok(None) };
    let passphrase = server.passphrase.as_ref().map(|passphrase| passphrase.expose());
    let wrong = |what: &str, hint: &str| Error::new(Kind::Validation, what).hint(hint);
    let key = decode_secret_key(text.expose().trim_start(), passphrase).map_err(|cause| match (cause, passphrase) {
        (KeyError::KeyIsEncrypted | KeyError::SshKey(FormatError::Encrypted), None) => {
            wrong("sshKey needs its passphrase", "give it in sshKeyPassphrase")
        }
        (KeyError::CouldNotReadKey | KeyError::Decode(_), _) if !text.expose().contains("PRIVATE KEY-----") => wrong(
            "sshKey holds no private key",
            "it must be the text of a private key, with its BEGIN and END lines; the file that ends in .pub is the public one",
        ),
        // What was decrypted with a wrong passphrase looks like anything.
        (_, Some(_)) => wrong("sshKey cannot be decrypted", "check sshKeyPassphrase"),
        (KeyError::UnsupportedKeyType { .. } | KeyError::UnknownAlgorithm(_), None) => {
            wrong("sshKey is of a kind that cannot be used", "use an Ed25519, ECDSA or RSA key")
        }
        (_, None) => wrong("sshKey cannot be read", "check that it was copied whole, with its BEGIN and END lines"),
    })?;
    Ok(Some(Arc::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHFZEmb5WYTVbM34cqPyTa0VEN8t4IJTzxTeGgYAJQ5X";

    #[test]
    fn a_pin_may_be_written_in_every_usual_way() {
        let key = HostKey::of(&PublicKey::from_openssh(KEY).unwrap());
        let fingerprint = key.to_string();
        for text in [
            KEY.to_owned(),
            format!("{KEY} me@there"),
            format!("bastion,10.0.0.1 {KEY}"),
            fingerprint.clone(),
            format!("{fingerprint}="),
            format!("256 {fingerprint} root@bastion (ED25519)"),
        ] {
            assert!(HostKey::read(&text).unwrap_or_else(|| panic!("{text}")).is(&key), "{text}");
        }
        for text in ["", "SHA256:short", "MD5:aa:bb", "ssh-ed25519", "ssh-ed25519 AAAA"] {
            assert!(HostKey::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_algorithm_of_a_known_key_is_offered_alone() {
        let key = HostKey::of(&PublicKey::from_openssh(KEY).unwrap());
        assert_eq!(HostKey::offers(Some(&key)), [vec![Algorithm::Ed25519]]);
        assert_eq!(HostKey::offers(HostKey::read(&key.to_string()).as_ref()).len(), 3);
        assert_eq!(HostKey::offers(None)[0].len(), 6);
    }
}
