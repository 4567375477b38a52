//! Random tokens: session cookies, API keys, the setup token. Only their SHA-256 is stored; with 256 random bits no
//! slow hash is needed, and looking one up by its hash gives nothing away by timing.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::domain::secret::Secret;

/// What API keys begin with, so that people and secret scanners know one when they see it.
pub const API_KEY_PREFIX: &str = "dbsnap_";

/// 256 random bits, URL-safe.
pub fn generate() -> Secret {
    Secret::new(random())
}

pub fn generate_api_key() -> Secret {
    Secret::new(format!("{API_KEY_PREFIX}{}", random()))
}

/// What is stored of a token: hex SHA-256.
pub fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_all_different() {
        let tokens: std::collections::HashSet<_> = (0..100).map(|_| generate().expose().to_owned()).collect();
        assert_eq!(tokens.len(), 100);
        assert!(tokens.iter().all(|token| token.len() == 43));
        assert!(generate_api_key().expose().starts_with("dbsnap_"));
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
