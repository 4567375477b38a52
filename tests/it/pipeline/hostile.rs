//! Decoders take any bytes: they neither panic nor yield more than they should.

use std::io::Write;

use dbsnap::{
    domain::{compression::Compression, manifest::Manifest},
    pipeline::{Limits, OpenSpec, describe},
};
use proptest::prelude::*;

use super::support::*;

async fn check(bytes: &[u8], compression: Option<Compression>, whole: Option<&[u8]>) {
    let limits = Limits { max_plain: Some(64 << 20), max_ratio: Some(1000) };
    let opened = open_all(bytes, 1000, OpenSpec { compression, limits, keys: Some(KEYS.clone()), ..OpenSpec::default() }).await;
    match whole {
        Some(plain) => assert!(opened.unwrap() == plain),
        None => drop(opened.expect_err("it must not open")),
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn frames_and_members_may_follow_each_other_but_nothing_else_may() {
    let (one, two) = (noise(300_000, 1), vec![7; 600_000]);
    let both = [&one[..], &two[..]].concat();
    type Compress = fn(&[u8]) -> Vec<u8>;
    for (compression, compress) in
        [(Compression::Zstd(1), (|plain| zstd::encode_all(plain, 3).unwrap()) as Compress), (Compression::Gzip(1), gzip)]
    {
        let file = [compress(&one), compress(&two)].concat();
        check(&file, None, Some(&both)).await;
        check(&file, Some(compression), Some(&both)).await;
        check(&compress(b""), None, Some(b"")).await;
        for (what, wrong) in
            [("x", &b"x"[..]), ("zeros", &[0; 100]), ("the other kind", b"\x1f\x8b\x28\xb5\x2f\xfd"), ("its own start", &file[..9])]
        {
            println!("{compression} followed by {what}");
            check(&[&file[..], wrong].concat(), None, None).await;
        }
        for cut in [4, 10, 11, 18, 100, 1000, file.len() - 1, file.len() - 4, file.len() - 9] {
            println!("{compression} cut at {cut}");
            check(&file[..cut], None, None).await;
        }
        // Sealed as compressed, and replaced by nothing or by something else.
        check(b"", Some(compression), None).await;
        check(b"PGDMP", Some(compression), None).await;
    }
    // A skippable frame first, as parallel compressors write it.
    check(&[&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &zstd::encode_all(&two[..], 1).unwrap()].concat(), None, Some(&two))
        .await;
    // Too short to be anything.
    for plain in [&b""[..], b"a", b"\x28\xb5", b"\x89DBSNA"] {
        check(plain, None, Some(plain)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_a_decoder_panic(
        start in prop::sample::select(vec![
            &b""[..], b"\x89DBSNAP\n", b"\x89DBSNAP\n\x00\x02{}", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x1f\x8b\x08\x00", b"v1.", b"{\"version\":1",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..3000),
        piece in 1usize..500,
    ) {
        let bytes = [start, &rest].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for compression in [None, Some(Compression::Zstd(1)), Some(Compression::Gzip(1))] {
            let limits = Limits { max_plain: Some(16 << 20), max_ratio: None };
            let spec = OpenSpec { compression, limits, keys: Some(KEYS.clone()), ..OpenSpec::default() };
            if let Err(error) = runtime.block_on(open_all(&bytes, piece, spec)) {
                prop_assert!(error.kind != dbsnap::error::Kind::Internal, "{}", error);
            }
        }
        let _ = describe(&bytes);
        let _ = Manifest::parse(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(KEYS.current().open_text("purpose", &text).is_err());
    }

    #[test]
    fn a_damaged_compressed_stream_never_opens_to_other_bytes(at: prop::sample::Index, to: u8, gz: bool) {
        let plain: Vec<u8> = (0..40_000u32).flat_map(|n| (n / 7).to_be_bytes()).collect();
        let mut file = if gz { gzip(&plain) } else {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        };
        // Not the magic: what begins otherwise is taken as not compressed. Not the rest of gzip's header either, which
        // holds a time and a name that nothing checks.
        let from = if gz { 10 } else { 4 };
        let at = from + at.index(file.len() - from);
        file[at] = to;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(opened) = runtime.block_on(open_all(&file, 1000, OpenSpec::default())) {
            prop_assert!(opened == plain, "byte {}", at);
        }
    }
}
