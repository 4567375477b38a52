//! Manifests: signed, written beside the artifacts, read back and checked.

use futures_util::StreamExt;
use serde_json::Value;

use crate::{
    domain::{manifest::Manifest, stream::ByteStream},
    error::{Context, Error, Kind, Result},
    pipeline::keys::KeyRing,
    stores::Store,
};

/// Largest manifest that is read, bytes: a database with 100,000 tables needs about 10 MB.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Whether a manifest is what this product wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Its MAC verifies.
    Intact,
    /// It carries no MAC: the backup was made without a key. Anyone could have written it.
    Unsigned,
    /// It carries a MAC, but there is no key here to check it with.
    Unchecked,
}

/// The signed bytes of a manifest. Without a key the MAC stays `null`.
pub fn sign(manifest: &mut Manifest, keys: Option<&KeyRing>) -> Result<Vec<u8>> {
    manifest.mac = None;
    let naming = || "writing the manifest".to_owned();
    let value = serde_json::to_value(&*manifest).context(Kind::Internal, naming)?;
    if let Some(keys) = keys {
        manifest.mac = Some(keys.current().mac(&Manifest::mac_input(&value)?));
    }
    let mut bytes = serde_json::to_vec_pretty(&*manifest).context(Kind::Internal, naming)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a manifest and checks its MAC.
///
/// Errors when it is no manifest, or when the MAC is there, a key is given, and they do not fit: it was altered, or
/// written under another key.
pub fn read(bytes: &[u8], keys: Option<&KeyRing>) -> Result<(Manifest, Seal)> {
    let (manifest, value): (Manifest, Value) = Manifest::parse(bytes)?;
    let seal = match (&manifest.mac, keys) {
        (None, _) => Seal::Unsigned,
        (Some(_), None) => Seal::Unchecked,
        (Some(mac), Some(keys)) => {
            keys.verify_mac(mac, &Manifest::mac_input(&value)?)?;
            Seal::Intact
        }
    };
    Ok((manifest, seal))
}

/// Fetches and checks a manifest from a store.
pub async fn fetch(store: &dyn Store, key: &str, keys: Option<&KeyRing>) -> Result<(Manifest, Seal)> {
    let bytes = collect(store.get(key, None).await?).await.map_err(|error| error.while_doing(format!("reading {key}")))?;
    read(&bytes, keys).map_err(|error| error.while_doing(format!("reading {key}")))
}

/// The key of a file in the manifest's own folder.
pub fn beside(manifest_key: &str, file: &str) -> String {
    match manifest_key.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{file}"),
        None => file.to_owned(),
    }
}

async fn collect(mut stream: ByteStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > MAX_BYTES {
            return Err(Error::validation(format!("this is not a manifest: it is larger than {MAX_BYTES} bytes")));
        }
    }
    Ok(bytes)
}
