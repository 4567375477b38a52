//! The first step from a store: decryption, where the file begins as an encrypted one.

use std::sync::Arc;

use aes_gcm::{AeadInOut, Aes256Gcm, Tag};
use bytes::{Buf, BytesMut};

use super::{
    encrypt::{TAG, nonce},
    header::{Header, MAGIC},
    keys::{KeyRing, MasterKey, cipher},
    layers::{Compressed, Stored},
};
use crate::error::{Error, Kind, Result};

/// Takes stored bytes and hands on compressed ones, none of which is unauthenticated when the file is encrypted.
pub(super) struct Unprotector {
    keys: Option<KeyRing>,
    encrypted: Option<bool>,
    buffer: BytesMut,
    state: State,
}

enum State {
    /// Too few bytes to tell.
    Head,
    Clear,
    Chunks(Box<Chunks>),
}

struct Chunks {
    cipher: Aes256Gcm,
    counter: u64,
    size: usize,
    /// Where the next chunk begins in the file, for messages.
    at: u64,
}

impl Unprotector {
    /// `encrypted` says what the file must be; `None` asks its first bytes.
    pub fn new(keys: Option<KeyRing>, encrypted: Option<bool>) -> Self {
        Self { keys, encrypted, buffer: BytesMut::new(), state: State::Head }
    }

    pub fn push(&mut self, Stored(bytes): Stored, sink: &mut dyn FnMut(Compressed<'_>) -> Result<()>) -> Result<()> {
        if let State::Clear = self.state {
            return sink(Compressed(&bytes));
        }
        self.buffer.extend_from_slice(&bytes);
        if let State::Head = self.state {
            self.begin(sink)?;
        }
        if let State::Chunks(chunks) = &mut self.state {
            // A chunk that is full may still be the last: one more byte shows that it is not.
            while self.buffer.len() > chunks.size + TAG {
                let mut chunk = self.buffer.split_to(chunks.size + TAG);
                sink(chunks.open(&mut chunk, false)?)?;
            }
        }
        Ok(())
    }

    /// The end of the file. Errors when an encrypted file ends anywhere but after its last chunk.
    pub fn finish(mut self, sink: &mut dyn FnMut(Compressed<'_>) -> Result<()>) -> Result<()> {
        match self.state {
            State::Clear => Ok(()),
            State::Chunks(mut chunks) => {
                let first = chunks.counter == 0;
                let plain = chunks.open(&mut self.buffer, true)?;
                if plain.0.is_empty() && !first {
                    return Err(damaged(chunks.at, "an empty chunk follows a full one"));
                }
                sink(plain)
            }
            State::Head if self.encrypted == Some(true) || self.buffer.len() >= MAGIC.len() => {
                Err(damaged(self.buffer.len() as u64, "it ends within the header of the encrypted file"))
            }
            State::Head => sink(Compressed(&self.buffer)),
        }
    }

    fn begin(&mut self, sink: &mut dyn FnMut(Compressed<'_>) -> Result<()>) -> Result<()> {
        let seen = self.buffer.len().min(MAGIC.len());
        let clear = match self.encrypted {
            Some(encrypted) => !encrypted,
            None => self.buffer[..seen] != MAGIC[..seen],
        };
        if clear {
            self.state = State::Clear;
            return sink(Compressed(&std::mem::take(&mut self.buffer)));
        }
        if let Some((header, length)) = Header::read(&self.buffer)? {
            let key = self.key(&header)?;
            let cipher = cipher(&key.file_key(&header.file_salt, &self.buffer[..length]));
            self.buffer.advance(length);
            self.state = State::Chunks(Box::new(Chunks { cipher, counter: 0, size: header.chunk_size, at: length as u64 }));
        }
        Ok(())
    }

    fn key(&self, header: &Header) -> Result<Arc<MasterKey>> {
        match &self.keys {
            Some(keys) => keys.for_kdf(&header.kdf, &header.key_id),
            None => Err(Error::validation(format!("encrypted under key {}, and no ENCRYPTION_KEY was given", header.key_id))
                .hint("set ENCRYPTION_KEY to the one that was set when this was written")),
        }
    }
}

impl Chunks {
    /// Decrypts a chunk with its tag in place.
    fn open<'a>(&mut self, chunk: &'a mut [u8], last: bool) -> Result<Compressed<'a>> {
        let whole = chunk.len() as u64;
        let Some((plain, tag)) = chunk.split_last_chunk_mut::<TAG>() else {
            return Err(damaged(self.at, "the last chunk is not whole"));
        };
        let nonce = nonce(self.counter, last).into();
        if self.cipher.decrypt_inout_detached(&nonce, b"", (&mut *plain).into(), &Tag::from(*tag)).is_err() {
            return Err(damaged(self.at, format!("chunk {} does not authenticate", self.counter)));
        }
        self.counter += 1;
        self.at += whole;
        Ok(Compressed(plain))
    }
}

fn damaged(at: u64, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Storage, format!("damaged or truncated at byte {at}: {why}")).hint("use another backup, or another copy of this one")
}
