//! Generated content: every piece differs, nothing of it needs to be kept to compare it, and pieces alive are counted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use dbsnap::domain::stream::{ByteStream, PIECE};
use futures_util::{StreamExt, stream};

/// The piece that starts at `offset`.
fn piece(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![(offset >> 18) as u8; len];
    let stamp = offset.to_be_bytes();
    let stamped = stamp.len().min(len);
    bytes[..stamped].copy_from_slice(&stamp[..stamped]);
    bytes
}

/// Pieces that were handed out and not yet dropped.
#[derive(Clone, Default)]
pub struct Alive(Arc<Counts>);

#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Alive {
    /// The most pieces that were alive at once.
    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }
}

struct Counted(Vec<u8>, Alive);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream of `size` bytes in pieces of `PIECE`.
pub fn body(size: u64, alive: &Alive) -> ByteStream {
    let alive = alive.clone();
    let pieces = (0..size).step_by(PIECE).map(move |offset| {
        let now = alive.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        alive.0.most.fetch_max(now, Ordering::SeqCst);
        let len = (size - offset).min(PIECE as u64) as usize;
        Ok(Bytes::from_owner(Counted(piece(offset, len), alive.clone())))
    });
    stream::iter(pieces).boxed()
}

/// Reads a stream to its end and panics unless it is `body(size)`, however it is cut.
pub async fn assert_body(mut got: ByteStream, size: u64) {
    let (mut offset, mut expected) = (0u64, Vec::new());
    while let Some(bytes) = got.next().await {
        for part in bytes.expect("the stream goes on").chunks(PIECE) {
            let mut part = part;
            while !part.is_empty() {
                let at = (offset % PIECE as u64) as usize;
                if at == 0 {
                    assert!(offset < size, "more than {size} bytes came");
                    expected = piece(offset, (size - offset).min(PIECE as u64) as usize);
                }
                let len = part.len().min(expected.len() - at);
                assert!(part[..len] == expected[at..at + len], "the bytes from {offset} differ");
                part = &part[len..];
                offset += len as u64;
            }
        }
    }
    assert_eq!(offset, size, "bytes came in all");
}
