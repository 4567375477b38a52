//! Files sealed once open for ever: the format cannot drift unnoticed.

use dbsnap::{
    domain::{compression::Compression, manifest::Manifest},
    pipeline::{OpenSpec, describe},
};
use sha2::{Digest, Sha256};

use super::support::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn plain() -> Vec<u8> {
    (0..6_000).flat_map(|row| format!("{row}\tname of {row}\t\\N\n").into_bytes()).collect()
}

#[tokio::test]
async fn files_of_every_kind_written_by_version_1_open() {
    for (name, compression) in
        [("v1.none.enc", Compression::None), ("v1.zst.enc", Compression::Zstd(1)), ("v1.gz.enc", Compression::Gzip(6))]
    {
        let file = fixture(name);
        assert_eq!(describe(&file).unwrap().kdf, kdf(7));
        let spec = OpenSpec { compression: Some(compression), keys: Some(KEYS.clone()), ..OpenSpec::default() };
        assert!(open_all(&file, 4096, spec).await.unwrap() == plain(), "{name}");
    }
}

#[tokio::test]
async fn a_file_made_by_an_independent_program_opens() {
    // Written by tests/fixtures/format/make.py, which follows docs/format.md and uses small chunks.
    let spec = OpenSpec { encrypted: Some(true), keys: Some(KEYS.clone()), ..OpenSpec::default() };
    let opened = open_all(&fixture("independent.enc"), 777, spec).await.unwrap();
    assert_eq!(hex::encode(Sha256::digest(&opened)), hex::encode(Sha256::digest(plain())));
}

#[test]
fn a_manifest_signed_by_an_independent_program_verifies() {
    let (manifest, json) = Manifest::parse(&fixture("independent.manifest.json")).unwrap();
    let input = Manifest::mac_input(&json).unwrap();
    KEYS.verify_mac(manifest.mac.as_ref().unwrap(), &input).unwrap();
    assert_eq!(KEYS.current().mac(&input), manifest.mac.unwrap());
}
