//! Sealed text: secrets in the catalogue, as `v1.<key id>.<base64url of nonce, ciphertext and tag>`.

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroize;

use super::MasterKey;
use crate::{
    domain::secret::Secret,
    error::{Error, Result},
};

const NONCE: usize = 12;
const TAG: usize = 16;

impl MasterKey {
    /// Seals a secret. `purpose` says what it is for (such as `database/<id>`): it opens only under the same one, so
    /// that whoever can write to the catalogue cannot move a sealed secret to another place.
    pub fn seal_text(&self, purpose: &str, text: &str) -> String {
        let nonce: [u8; NONCE] = rand::random();
        let sealed = self
            .text_cipher()
            .encrypt(&nonce.into(), Payload { msg: text.as_bytes(), aad: purpose.as_bytes() })
            .expect("AES-GCM takes any text that fits in memory");
        let bytes = [&nonce[..], &sealed].concat();
        format!("v1.{}.{}", self.id(), URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what [`MasterKey::seal_text`] made. Errors when it was sealed under another key, for another purpose, or
    /// was altered since.
    pub fn open_text(&self, purpose: &str, sealed: &str) -> Result<Secret> {
        let mut parts = sealed.split('.');
        let (Some("v1"), Some(key_id), Some(encoded), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Error::validation("this is not a sealed secret of a version that this build knows"));
        };
        if key_id != self.id() {
            return Err(Error::validation(format!(
                "sealed under key {}; the ENCRYPTION_KEY given makes key {}",
                key_id.escape_debug(),
                self.id()
            ))
            .hint("give the ENCRYPTION_KEY that was set when this was written"));
        }
        let damaged = || Error::validation("a sealed secret is damaged, or was sealed for another purpose").hint("enter the secret again");
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| damaged())?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE>().filter(|(_, rest)| rest.len() >= TAG).ok_or_else(damaged)?;
        let plain =
            self.text_cipher().decrypt(&(*nonce).into(), Payload { msg: ciphertext, aad: purpose.as_bytes() }).map_err(|_| damaged())?;
        String::from_utf8(plain).map(Secret::new).map_err(|error| {
            error.into_bytes().zeroize();
            damaged()
        })
    }

    fn text_cipher(&self) -> Aes256Gcm {
        super::cipher(&self.text_key())
    }
}
