//! Sealing and opening whole byte strings.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use dbsnap::{
    domain::{
        compression::Compression,
        secret::Secret,
        stream::{ByteStream, channel},
    },
    error::Result,
    pipeline::{Expected, Kdf, KeyRing, MasterKey, OpenSpec, SealSpec, Sealed, open, seal},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;

pub const PASSPHRASE: &str = "correct horse battery staple, twice over";

/// The fewest iterations that files may have, to be quick.
pub fn kdf(salt: u8) -> Kdf {
    Kdf { iterations: 100_000, salt: [salt; 16] }
}

pub fn ring(passphrase: &str, kdf: Kdf) -> KeyRing {
    let passphrase = Secret::new(passphrase);
    let key = MasterKey::derive(&passphrase, kdf);
    KeyRing::new(passphrase, key)
}

/// One ring for all tests: deriving takes time.
pub static KEYS: LazyLock<KeyRing> = LazyLock::new(|| ring(PASSPHRASE, kdf(7)));

pub fn spec(compression: Compression, key: Option<Arc<MasterKey>>) -> SealSpec {
    SealSpec { compression, multi_thread: false, key }
}

pub fn encrypted(compression: Compression) -> SealSpec {
    spec(compression, Some(KEYS.current()))
}

/// Seals `plain`, fed in pieces of `piece` bytes.
pub async fn seal_all(plain: &[u8], piece: usize, spec: SealSpec) -> Result<(Vec<u8>, Sealed)> {
    let (sender, input) = channel();
    let (commit, committed) = oneshot::channel();
    let (stream, sealed) = seal(input, committed, spec, Box::new(()));
    let plain = Bytes::copy_from_slice(plain);
    let feeding = async move {
        for at in (0..plain.len()).step_by(piece) {
            sender.send(plain.slice(at..plain.len().min(at + piece))).await.expect("the pipeline reads to the end");
        }
        drop(sender);
        commit.send(()).expect("the pipeline waits for the commit");
    };
    let (stored, ()) = tokio::join!(collect(stream), feeding);
    let sealed = sealed.await.expect("the pipeline does not panic")?;
    Ok((stored?, sealed))
}

/// Opens `stored`, fed in pieces of `piece` bytes.
pub async fn open_all(stored: &[u8], piece: usize, spec: OpenSpec) -> Result<Vec<u8>> {
    collect(open(pieces(stored, piece), spec)).await
}

pub fn pieces(bytes: &[u8], piece: usize) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

pub async fn collect(stream: ByteStream) -> Result<Vec<u8>> {
    stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

pub fn expected(sealed: &Sealed) -> Expected {
    Expected {
        plain_size: sealed.plain_size,
        stored_size: sealed.stored_size,
        plain_sha256: sealed.plain_sha256.clone(),
        stored_sha256: sealed.stored_sha256.clone(),
    }
}

/// Opens with the common keys, and insists on what was sealed.
pub fn whole(sealed: &Sealed) -> OpenSpec {
    OpenSpec { keys: Some(KEYS.clone()), expect: Some(expected(sealed)), ..OpenSpec::default() }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(size: usize, seed: u8) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(seed);
    std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(size)
    .collect()
}
