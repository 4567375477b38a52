//! The last step towards a store: encryption in chunks (STREAM), or none. docs/format.md, section 1.

use aes_gcm::{AeadInOut, Aes256Gcm};
use bytes::{Bytes, BytesMut};

use super::{
    header::Header,
    keys::{MasterKey, cipher},
    layers::{Compressed, Stored},
};
use crate::domain::stream::PIECE;

pub(super) const TAG: usize = 16;

/// The nonce of a chunk: an 11-byte big-endian counter from 0 and a byte that is 1 for the last chunk only. A file
/// whose chunks were cut off, added, reordered or taken from elsewhere then fails to open.
pub(super) fn nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Turns compressed bytes into stored ones, gathered into pieces.
pub(super) struct Protector {
    /// Finished bytes, then those of the open chunk.
    buffer: BytesMut,
    /// Where the open chunk begins.
    open: usize,
    chunks: Option<Chunks>,
}

struct Chunks {
    cipher: Box<Aes256Gcm>,
    counter: u64,
    size: usize,
}

impl Protector {
    /// Encrypts under `key`; `None` stores the bytes as they are.
    pub fn new(key: Option<&MasterKey>) -> Self {
        let mut buffer = BytesMut::with_capacity(2 * PIECE);
        let chunks = key.map(|key| {
            let header = Header::generate(key);
            let preamble = header.preamble();
            buffer.extend_from_slice(&preamble);
            let cipher = Box::new(cipher(&key.file_key(&header.file_salt, &preamble)));
            Chunks { cipher, counter: 0, size: header.chunk_size }
        });
        let open = buffer.len();
        Self { buffer, open, chunks }
    }

    /// Takes bytes; call [`Protector::take`] after each.
    pub fn push(&mut self, Compressed(mut bytes): Compressed<'_>) {
        let Some(chunks) = &mut self.chunks else {
            self.buffer.extend_from_slice(bytes);
            self.open = self.buffer.len();
            return;
        };
        while !bytes.is_empty() {
            let room = chunks.size - (self.buffer.len() - self.open);
            if room == 0 {
                // Only now is it known that this chunk is not the last.
                chunks.seal(&mut self.buffer, &mut self.open, false);
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
    }

    /// A piece to store, once there are enough bytes for one.
    pub fn take(&mut self) -> Option<Stored> {
        (self.open >= PIECE).then(|| self.split())
    }

    /// The rest of the file. It always has the last chunk, which is empty when the whole file is.
    pub fn finish(mut self) -> Stored {
        if let Some(chunks) = &mut self.chunks {
            chunks.seal(&mut self.buffer, &mut self.open, true);
        }
        self.split()
    }

    fn split(&mut self) -> Stored {
        let piece: Bytes = self.buffer.split_to(self.open).freeze();
        self.open = 0;
        self.buffer.reserve(2 * PIECE);
        Stored(piece)
    }
}

impl Chunks {
    /// Encrypts `buffer[open..]` in place and adds its tag.
    fn seal(&mut self, buffer: &mut BytesMut, open: &mut usize, last: bool) {
        let nonce = nonce(self.counter, last).into();
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce, b"", (&mut buffer[*open..]).into())
            .expect("a chunk is far below the limit of AES-GCM");
        buffer.extend_from_slice(&tag);
        *open = buffer.len();
        self.counter += 1;
    }
}
