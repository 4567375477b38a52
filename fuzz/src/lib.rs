//! What the targets share: one key, the opening of a whole file, and an inspector fed in uneven pieces.

use std::sync::LazyLock;

use bytes::Bytes;
use dbsnap::{
    domain::{artifact::DumpFormat, secret::Secret, stream::PIECE},
    engines,
    error::Kind,
    pipeline::{Kdf, KeyRing, Limits, MasterKey, OpenSpec, open},
};
use futures_util::{StreamExt, stream};
use tokio::runtime::{Builder, Runtime};

/// The keys that tests/fixtures/format was written under: those files are good seeds.
pub static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let passphrase = Secret::new("correct horse battery staple, twice over");
    let key = MasterKey::derive(&passphrase, Kdf { iterations: 100_000, salt: [7; 16] });
    KeyRing::new(passphrase, key)
});

/// Most plain bytes that an input may become.
const MAX_PLAIN: u64 = 16 << 20;

/// Opens a file to its end. Whatever it holds, it may fail only as damaged, refused, or over the limit.
pub fn open_all(file: &[u8], encrypted: bool) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime starts"));
    let pieces: Vec<_> = file.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let limits = Limits { max_plain: Some(MAX_PLAIN), max_ratio: None };
    let spec = OpenSpec { encrypted: Some(encrypted), keys: Some(KEYS.clone()), limits, ..OpenSpec::default() };
    RUNTIME.block_on(async {
        let mut plain = open(stream::iter(pieces).boxed(), spec);
        let mut size = 0;
        while let Some(piece) = plain.next().await {
            match piece {
                Ok(piece) => size += piece.len() as u64,
                Err(error) => assert!(matches!(error.kind, Kind::Storage | Kind::Validation), "{error:?}"),
            }
        }
        assert!(size <= MAX_PLAIN + PIECE as u64);
    });
}

/// Feeds an engine's inspector. The first byte says how large the pieces are: what is split must read the same.
pub fn inspect(engine: &str, format: DumpFormat, input: &[u8]) {
    let Some((size, dump)) = input.split_first() else { return };
    let mut inspector = engines::find(engine).expect("the engine is built in").inspector(format);
    for piece in dump.chunks(1 + usize::from(*size) * 16) {
        if inspector.feed(piece).is_err() {
            return;
        }
        inspector.seen();
    }
    let _ = inspector.finish();
}
