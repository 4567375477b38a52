//! What commands take: settings as `name=value`, a manifest or a file, the key from the environment.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::{
        artifact::Artifact,
        database::Settings,
        fields::validate,
        ids::StoreId,
        manifest::Manifest,
        run::{Learned, Observer, Run},
    },
    engines::{self, Engine},
    error::{Context, Error, Kind, Result},
    pipeline::keys::{Kdf, KeyRing},
    services::{keys, manifests, manifests::Seal, rebuild},
    snapshot,
    stores::{self, Store},
};

/// The engine that a URL names, and its settings, checked.
pub fn database(url: &str) -> Result<(&'static dyn Engine, Settings)> {
    let (engine, settings) = engines::from_url(url)?;
    Ok((engine, validate(engine.info().connection, &settings)?))
}

/// `name=value` pairs as settings; a name that comes twice makes a list.
pub fn options(pairs: &[String]) -> Result<Settings> {
    let mut options = Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Error::validation(format!("the option '{pair}' has no value")).hint("write it as name=value"))?;
        match options.get_mut(name) {
            None => {
                options.insert(name.to_owned(), Value::from(value));
            }
            Some(Value::Array(values)) => values.push(Value::from(value)),
            Some(first) => *first = Value::Array(vec![first.clone(), Value::from(value)]),
        }
    }
    Ok(options)
}

/// `table=share` pairs.
pub fn samples(pairs: &[String]) -> Result<BTreeMap<String, f64>> {
    let sample = |pair: &String| {
        let (table, share) = pair.rsplit_once('=')?;
        Some((table.to_owned(), share.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share))?))
    };
    let wrong = |pair: &String| {
        Error::validation(format!("the sample '{pair}' cannot be read"))
            .hint("write it as TABLE=SHARE with a share between 0 and 1, such as events=0.01")
    };
    pairs.iter().map(|pair| sample(pair).ok_or_else(|| wrong(pair))).collect()
}

/// The options an engine knows, one per line, for `--help`-like errors.
pub fn known_options(engine: &dyn Engine, restore: bool) -> String {
    let fields = if restore { engine.info().restore_options } else { engine.info().dump_options };
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// The key ring made from ENCRYPTION_KEY; `None` when it is not set.
pub async fn key_ring(config: &Config) -> Result<Option<KeyRing>> {
    match &config.encryption_key {
        Some(passphrase) => keys::standalone(passphrase.clone(), Vec::new()).await.map(Some),
        None => Ok(None),
    }
}

/// The key ring for new files in a folder: under the key of those that are there, where the passphrase is the same.
pub async fn key_ring_beside(config: &Config, folder: &Path) -> Result<Option<KeyRing>> {
    match &config.encryption_key {
        Some(passphrase) => keys::standalone(passphrase.clone(), known_keys(folder)).await.map(Some),
        None => Ok(None),
    }
}

/// Files looked at for their keys, the newest first.
const LOOKED_AT: usize = 8;

/// The keys that manifests and snapshots in a folder are under. What cannot be read has none: a new key is as good.
fn known_keys(folder: &Path) -> Vec<(Kdf, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries
        .filter(|path| is_manifest(path) || path.extension().is_some_and(|extension| extension == "snap"))
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    files.sort();
    let mut known: Vec<(Kdf, String)> = Vec::new();
    for key in files.iter().rev().take(LOOKED_AT).filter_map(|(_, path)| key_of(path)) {
        if !known.contains(&key) {
            known.push(key);
        }
    }
    known
}

fn key_of(path: &Path) -> Option<(Kdf, String)> {
    if is_manifest(path) {
        let mac = serde_json::from_slice::<Manifest>(&std::fs::read(path).ok()?).ok()?.mac?;
        return Some((Kdf::from_outside(&mac.kdf, mac.iterations, &mac.salt).ok()?, mac.key_id));
    }
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    let note = snapshot::key_note(&head).ok()??;
    Some((Kdf::from_outside(&note.kdf, note.iterations, &note.salt).ok()?, note.key_id))
}

/// Bytes that hold the beginning of any snapshot.
const HEAD: u64 = 8 * 1024;

/// Surroundings of a command: ends on Ctrl-C, spools in a temporary folder that goes with the returned value.
pub fn surroundings(config: &Config, observer: Arc<dyn Observer>) -> Result<(Run, TempDir)> {
    let scratch = tempfile::Builder::new().prefix("dbsnap-").tempdir().context(Kind::Storage, || "making a temporary folder".into())?;
    let cancel = CancellationToken::new();
    let run = Run {
        cancel: cancel.clone(),
        observer,
        scratch: scratch.path().to_owned(),
        tool_dirs: config.tool_dirs(),
        learned: Learned::default(),
        limits: Default::default(),
    };
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    Ok((run, scratch))
}

/// Says on standard error what was learned of the connection and would be compared from now on, were there a catalogue to
/// keep it in.
pub fn tell_learned(run: &Run) {
    for (field, value) in run.learned.settings() {
        let value = value.as_str().unwrap_or_default();
        let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        eprintln!("warn: {field} {value} was accepted unseen; to have it checked, add {field}={encoded} to the parameters of the URL");
    }
}

/// A local folder as a store.
pub fn folder_store(folder: &Path) -> Result<Arc<dyn Store>> {
    let mut settings = Map::new();
    settings.insert("path".into(), Value::from(folder.to_string_lossy().into_owned()));
    stores::find("local")?.open(&settings)
}

/// A backup in a folder, by its manifest.
pub struct Found {
    pub manifest: Manifest,
    pub seal: Seal,
    pub artifacts: Vec<Artifact>,
    pub store: Arc<dyn Store>,
}

impl Found {
    /// Says on standard error what the manifest's seal does not prove.
    pub fn warn_of_seal(&self, with_key: bool) {
        match self.seal {
            Seal::Unchecked => eprintln!("warn: the manifest's signature is not checked: ENCRYPTION_KEY is not set"),
            Seal::Unsigned if with_key => eprintln!("warn: the manifest carries no signature: anyone could have written it"),
            Seal::Unsigned | Seal::Intact => {}
        }
    }
}

/// True when the path names a manifest rather than an artifact.
pub fn is_manifest(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".manifest.json")
}

/// Reads a manifest and finds its artifacts beside it.
pub async fn open_manifest(path: &Path, keys: Option<&KeyRing>) -> Result<Found> {
    let path = existing(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let key = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let store = folder_store(folder)?;
    let (manifest, seal) = manifests::fetch(store.as_ref(), &key, keys).await?;
    let artifacts = rebuild::artifacts(&manifest, &key, StoreId::LOCAL);
    Ok(Found { manifest, seal, artifacts, store })
}

/// The path, absolute. Errors when there is nothing.
pub fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize().context(Kind::Validation, || format!("opening {}", path.display()))
}
