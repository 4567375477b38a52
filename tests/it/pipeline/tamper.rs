//! A file that is not exactly what was sealed does not open, and says why.

use dbsnap::{
    domain::compression::Compression,
    error::{Error, Kind},
    pipeline::{OpenSpec, describe},
};
use proptest::prelude::*;

use super::support::*;

/// Plain bytes of a chunk, and what it takes in a file.
const CHUNK: usize = 64 << 10;
const SEALED_CHUNK: usize = CHUNK + 16;

/// An encrypted file of `size` noise bytes, not compressed, so that its chunks are at known places.
async fn sealed_noise(size: usize, seed: u8) -> Vec<u8> {
    seal_all(&noise(size, seed), 256 << 10, encrypted(Compression::None)).await.unwrap().0
}

/// Where the first chunk begins.
fn preamble(file: &[u8]) -> usize {
    10 + usize::from(u16::from_be_bytes([file[8], file[9]]))
}

fn chunks(file: &[u8]) -> Vec<&[u8]> {
    file[preamble(file)..].chunks(SEALED_CHUNK).collect()
}

fn spec() -> OpenSpec {
    OpenSpec { encrypted: Some(true), compression: Some(Compression::None), keys: Some(KEYS.clone()), ..OpenSpec::default() }
}

async fn refused(file: &[u8], what: &str) -> Error {
    match open_all(file, 100_000, spec()).await {
        Ok(_) => panic!("it opened although {what}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_cut_file_does_not_open_wherever_it_is_cut() {
    let file = sealed_noise(3 * CHUNK, 1).await;
    let start = preamble(&file);
    let borders = [0, 1, 8, 10, start - 1, start, start + 1, start + 16, start + SEALED_CHUNK, start + 2 * SEALED_CHUNK, file.len()];
    for border in borders {
        for cut in border.saturating_sub(2)..(border + 3).min(file.len()) {
            let error = refused(&file[..cut], &format!("it was cut at {cut} of {}", file.len())).await;
            assert_eq!(error.kind, Kind::Storage);
            assert!(error.to_string().contains("damaged or truncated at byte"), "cut at {cut}: {error}");
        }
    }
    let error = refused(&file[..start + SEALED_CHUNK], "only the first chunk is left").await;
    assert!(error.to_string().contains(&format!("at byte {start}")), "{error}");
}

#[tokio::test]
async fn an_extended_file_does_not_open() {
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1] {
        let file = sealed_noise(size, 2).await;
        refused(&[&file[..], b"x"].concat(), "a byte was added").await;
        refused(&[&file[..], &[0; 16]].concat(), "an empty chunk was added").await;
        refused(&[&file[..], &file[..]].concat(), "it was doubled").await;
        refused(&[&file[..], &file[preamble(&file)..]].concat(), "its chunks were doubled").await;
    }
}

#[tokio::test]
async fn chunks_in_another_order_do_not_open() {
    let file = sealed_noise(4 * CHUNK, 3).await;
    let parts = chunks(&file);
    let joined = |order: &[usize]| {
        let chunks: Vec<u8> = order.iter().flat_map(|at| parts[*at]).copied().collect();
        [&file[..preamble(&file)], &chunks].concat()
    };
    assert_eq!(joined(&[0, 1, 2, 3]), file);
    for order in
        [&[1, 0, 2, 3][..], &[0, 2, 1, 3], &[0, 1, 3, 2], &[3, 2, 1, 0], &[0, 1, 3], &[1, 2, 3], &[0, 0, 1, 2, 3], &[0, 1, 2, 2, 3], &[3]]
    {
        refused(&joined(order), &format!("its chunks are in order {order:?}")).await;
    }
}

#[tokio::test]
async fn a_chunk_of_another_file_does_not_open_even_for_the_same_plain_bytes_and_key() {
    let (one, other) = (sealed_noise(2 * CHUNK, 4).await, sealed_noise(2 * CHUNK, 4).await);
    let (parts, others) = (chunks(&one), chunks(&other));
    assert_ne!(parts[0], others[0]);
    let start = &one[..preamble(&one)];
    refused(&[start, others[0], parts[1]].concat(), "its first chunk is of another file").await;
    refused(&[start, parts[0], others[1]].concat(), "its last chunk is of another file").await;
    refused(&[&other[..preamble(&other)], parts[0], parts[1]].concat(), "its header is of another file").await;
}

#[tokio::test]
async fn an_altered_header_does_not_open() {
    let file = sealed_noise(1000, 5).await;
    let length = preamble(&file) - 10;
    let header = std::str::from_utf8(&file[10..10 + length]).unwrap();
    let with = |from: &str, to: &str| {
        let changed = header.replacen(from, to, 1);
        assert_ne!(changed, header, "{from}");
        [&file[..8], &u16::try_from(changed.len()).unwrap().to_be_bytes(), changed.as_bytes(), &file[10 + length..]].concat()
    };
    let chunk = "\"chunkSize\":65536";
    for (from, to, says) in [
        (chunk, "\"chunkSize\": 65536", "does not authenticate"),
        (chunk, "\"chunkSize\":65536,\"more\":1", "does not authenticate"),
        (chunk, "\"chunkSize\":65537", "does not authenticate"),
        (chunk, "\"chunkSize\":4095", "outside 4096 to 1048576"),
        (chunk, "\"chunkSize\":1073741824", "outside 4096 to 1048576"),
        ("\"iterations\":100000", "\"iterations\":100001", "the ENCRYPTION_KEY given makes key"),
        ("\"iterations\":100000", "\"iterations\":4000000000", "outside 100000 to 10000000"),
        ("\"iterations\":100000", "\"iterations\":1", "outside 100000 to 10000000"),
        ("\"version\":1", "\"version\":2", "use a newer dbsnap"),
        ("AES-256-GCM", "AES-256-CTR", "cipher 'AES-256-CTR' is not known"),
        ("PBKDF2-HMAC-SHA256", "MD5", "key derivation 'MD5' is not known"),
        ("\"salt\":\"07", "\"salt\":\"08", "the ENCRYPTION_KEY given makes key"),
        ("\"salt\":\"07", "\"salt\":\"0", "16 bytes of hex"),
        ("\"keyId\":\"", "\"keyId\":\"f", "key id"),
        ("{", "[", "the header of the encrypted file cannot be read"),
    ] {
        let error = refused(&with(from, to), &format!("{from} became {to}")).await;
        assert!(error.to_string().contains(says), "{from} to {to}: {error}");
    }
}

#[tokio::test]
async fn another_passphrase_and_no_passphrase_say_which_key_is_needed() {
    let file = sealed_noise(1000, 6).await;
    let other = ring("another passphrase of many characters", kdf(9));
    let id = KEYS.current().id().to_owned();
    let error = open_all(&file, 1000, OpenSpec { keys: Some(other), ..OpenSpec::default() }).await.unwrap_err();
    assert_eq!(error.kind, Kind::Validation);
    assert!(error.to_string().starts_with(&format!("encrypted under key {id}; the ENCRYPTION_KEY given makes key ")), "{error}");
    let error = open_all(&file, 1000, OpenSpec::default()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("encrypted under key {id}, and no ENCRYPTION_KEY was given")), "{error}");
    // The same passphrase on an instance of another salt: the header has what is needed.
    let moved = ring(PASSPHRASE, kdf(9));
    assert_eq!(open_all(&file, 1000, OpenSpec { keys: Some(moved), ..OpenSpec::default() }).await.unwrap(), noise(1000, 6));
}

#[tokio::test]
async fn a_plain_file_in_the_place_of_an_encrypted_one_is_refused() {
    let error = refused(b"\x28\xb5\x2f\xfd and so on", "it is not encrypted").await;
    assert!(error.to_string().contains("does not begin as an encrypted file"), "{error}");
    refused(b"", "it is empty").await;
}

#[tokio::test]
async fn a_file_that_is_not_what_was_recorded_ends_with_an_error() {
    let (file, sealed) = seal_all(b"the plain bytes", 4, self::super::support::spec(Compression::None, None)).await.unwrap();
    let check = async |change: &dyn Fn(&mut dbsnap::pipeline::Expected), says: &str| {
        let mut expect = expected(&sealed);
        change(&mut expect);
        let error = open_all(&file, 4, OpenSpec { expect: Some(expect), ..OpenSpec::default() }).await.unwrap_err();
        assert!(error.kind == Kind::Storage && error.to_string().contains(says), "{error}");
    };
    check(&|expect| expect.plain_size += 1, "15 plain bytes where 16 were recorded").await;
    check(&|expect| expect.stored_size -= 1, "15 stored bytes where 14 were recorded").await;
    check(&|expect| expect.plain_sha256.replace_range(..2, "xx"), "SHA-256 of the plain bytes").await;
    check(&|expect| expect.stored_sha256.replace_range(..2, "xx"), "SHA-256 of the stored bytes").await;
}

#[tokio::test]
async fn the_header_can_be_shown_without_a_key() {
    let file = sealed_noise(10, 7).await;
    let header = describe(&file).unwrap();
    assert_eq!((header.key_id.as_str(), header.kdf, header.chunk_size), (KEYS.current().id(), kdf(7), CHUNK));
    assert_eq!(describe(&file[..50]), None);
    assert_eq!(describe(b"PGDMP and so on, a plain dump that is long enough"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_anywhere_fails(at: prop::sample::Index, bit in 0..8u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            static FILE: tokio::sync::OnceCell<Vec<u8>> = tokio::sync::OnceCell::const_new();
            let mut file = FILE.get_or_init(|| sealed_noise(CHUNK + 100, 8)).await.clone();
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            let error = refused(&file, &format!("bit {bit} of byte {at} was flipped")).await;
            prop_assert!(matches!(error.kind, Kind::Storage | Kind::Validation), "{}", error);
            Ok(())
        })?;
    }
}
