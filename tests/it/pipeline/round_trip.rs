//! Whatever is sealed opens to the same bytes.

use dbsnap::domain::compression::Compression;
use proptest::prelude::*;

use super::support::*;

/// Sizes at and around the borders of chunks (64 KiB) and pieces (256 KiB).
fn sizes() -> impl Strategy<Value = usize> {
    let border = prop::sample::select(vec![0usize, 1, 64 << 10, 128 << 10, 256 << 10, 320 << 10, 1 << 20]);
    (border, -17isize..=17).prop_map(|(border, off)| border.saturating_add_signed(off))
}

fn compressions() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![Compression::None, Compression::Zstd(1), Compression::Zstd(5), Compression::Gzip(1), Compression::Gzip(0)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sealed_opens_to_the_same_bytes(
        size in sizes(), compression in compressions(), encrypt: bool, multi_thread: bool, random: bool, seed: u8,
        fed in prop::sample::select(vec![1usize << 10, 4093, 64 << 10, 256 << 10, 3 << 20]),
        read in prop::sample::select(vec![1usize << 10, 4093, (64 << 10) + 16, 256 << 10, 3 << 20]),
    ) {
        let plain: Vec<u8> = if random { noise(size, seed) } else { (0..size).map(|at| (at / 100) as u8 ^ seed).collect() };
        let spec = dbsnap::pipeline::SealSpec { multi_thread, ..spec(compression, encrypt.then(|| KEYS.current())) };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (stored, sealed) = seal_all(&plain, fed, spec).await.unwrap();
            prop_assert_eq!((sealed.plain_size, sealed.stored_size), (size as u64, stored.len() as u64));
            // `none` is named: plain bytes may look like anything.
            let compression = (compression == Compression::None).then_some(compression);
            let opened = open_all(&stored, read, dbsnap::pipeline::OpenSpec { compression, ..whole(&sealed) }).await.unwrap();
            prop_assert!(opened == plain);
            Ok(())
        })?;
    }
}
