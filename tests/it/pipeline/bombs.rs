//! Decompression bombs are refused by the caps, early, and whatever they claim.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use dbsnap::{
    domain::{compression::Compression, stream::ByteStream},
    error::Kind,
    pipeline::{Limits, OpenSpec, open},
};
use futures_util::{StreamExt, stream};
use zstd::stream::raw::CParameter;

use super::support::*;

const ZEROS: usize = 64 << 20;

/// 10 GB of zeros as 160 frames of 64 MiB, and a count of the frames that were asked for.
async fn bomb(compression: Compression) -> (ByteStream, Arc<AtomicUsize>) {
    let (frame, _) = seal_all(&vec![0; ZEROS], 1 << 20, spec(compression, None)).await.unwrap();
    let frame = Bytes::from(frame);
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let frames = stream::iter(0..160).map(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(frame.clone())
    });
    (frames.boxed(), asked)
}

#[tokio::test]
async fn ten_gigabytes_of_zeros_are_refused_by_either_cap() {
    for compression in [Compression::Zstd(1), Compression::Gzip(9)] {
        for (limits, most) in [
            (Limits { max_plain: Some(100 << 20), max_ratio: None }, 100 << 20),
            (Limits { max_plain: None, max_ratio: Some(200) }, 3 * ZEROS),
        ] {
            let (stored, asked) = bomb(compression).await;
            let mut plain = open(stored, OpenSpec { limits, ..OpenSpec::default() });
            let mut size = 0;
            let error = loop {
                match plain.next().await.expect("an error comes before the end") {
                    Ok(piece) => {
                        assert!(piece.len() <= 256 << 10, "memory is bounded by the piece");
                        size += piece.len();
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind, Kind::Validation);
            assert!(error.to_string().contains("decompresses to more than"), "{error}");
            assert!(size <= most, "{size} bytes came out");
            assert!(asked.load(Ordering::Relaxed) < 32, "the rest is not even read");
            assert!(plain.next().await.is_none());
        }
    }
}

#[tokio::test]
async fn a_small_file_of_blanks_is_no_bomb() {
    let (stored, _) = seal_all(&vec![b' '; 4 << 20], 1 << 20, spec(Compression::Zstd(1), None)).await.unwrap();
    let limits = Limits { max_plain: None, max_ratio: Some(10) };
    assert_eq!(open_all(&stored, 1000, OpenSpec { limits, ..OpenSpec::default() }).await.unwrap().len(), 4 << 20);
}

#[tokio::test]
async fn a_frame_that_asks_for_a_huge_window_is_refused() {
    let framed = |window_log| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        std::io::Write::write_all(&mut encoder, &noise(1000, 1)).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(open_all(&framed(27), 1000, OpenSpec::default()).await.unwrap(), noise(1000, 1));
    let error = open_all(&framed(28), 1000, OpenSpec::default()).await.unwrap_err();
    assert!(error.kind == Kind::Storage && error.to_string().contains("memory"), "{error}");
}
