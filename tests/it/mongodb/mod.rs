//! MongoDB: against DocumentDB behind the protocol of MongoDB, and against a scripted server for what it cannot show.

use std::path::PathBuf;

use dbsnap::{
    domain::{
        artifact::ArtifactKind,
        database::Settings,
        fields::validate,
        run::{Learned, Run, Silent},
        stream::channel,
    },
    engines::{DumpFacts, Engine, mongodb::Mongodb},
    error::{Error, Result},
};
use mongodb::bson::{Document, RawDocumentBuf};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::mongo_script::Script;

mod account;
mod archives;
mod bench;
mod changes;
mod connect;
mod definitions;
mod dump;
mod hostile;
mod modes;
mod moment;
mod peer;
mod restore;
mod rows;
mod scripted;

fn engine() -> &'static dyn Engine {
    &Mongodb
}

/// Validated connection settings.
fn settings(fields: Value) -> Settings {
    validate(engine().info().connection, fields.as_object().unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// Settings of a URL.
fn settings_of(url: &str) -> Settings {
    validate(engine().info().connection, &engine().settings_from_url(url).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// Settings of a scripted server's database.
fn of(script: &Script, database: &str) -> Settings {
    settings(json!({"hosts": script.address(), "database": database, "tlsMode": "off", "connectTimeout": 5}))
}

/// A run, with the folder that it may use.
struct Place {
    run: Run,
    _scratch: TempDir,
}

fn place() -> Place {
    let scratch = TempDir::new().unwrap();
    let run = Run {
        cancel: CancellationToken::new(),
        observer: std::sync::Arc::new(Silent),
        scratch: PathBuf::from(scratch.path()),
        tool_dirs: Vec::new(),
        learned: Learned::default(),
        limits: Default::default(),
    };
    Place { run, _scratch: scratch }
}

struct Dumped {
    facts: DumpFacts,
    archive: Archive,
}

/// Dumps with these options; `meanwhile` runs once the moment is chosen.
async fn dump_while(settings: &Settings, options: Value, meanwhile: impl FnOnce(), run: &Run) -> Result<Dumped> {
    let options = validate(engine().info().dump_options, options.as_object().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let mut dump = engine().open_dump(settings, &options, false, run).await?;
    meanwhile();
    let (out, mut pieces) = channel();
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend(piece);
        }
        bytes
    };
    let (written, bytes) = tokio::join!(dump.write(ArtifactKind::Dump, out, run), reading);
    written?;
    Ok(Dumped { facts: dump.facts().clone(), archive: Archive::read(&bytes) })
}

async fn dump(settings: &Settings, options: Value) -> Result<Dumped> {
    dump_while(settings, options, || (), &place().run).await
}

fn expect_error<T>(result: Result<T>, parts: &[&str]) -> Error {
    let Err(error) = result else { panic!("it did not fail with {parts:?}") };
    for part in parts {
        assert!(error.to_string().contains(part), "'{part}' is not in: {error}");
    }
    error
}

/// An archive as its format's description has it, read by the test alone.
struct Archive {
    header: Document,
    listings: Vec<Document>,
    /// Database, collection, documents; each collection's end was there and its checksum right.
    collections: Vec<(String, String, Vec<Vec<u8>>)>,
}

impl Archive {
    fn read(bytes: &[u8]) -> Self {
        assert_eq!(bytes.get(..4).unwrap(), 0x8199_e26d_u32.to_le_bytes());
        let mut rest = &bytes[4..];
        // Every block: a header, documents, the end.
        let mut blocks: Vec<Vec<&[u8]>> = vec![Vec::new()];
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap());
            if length == u32::MAX {
                blocks.push(Vec::new());
                rest = &rest[4..];
            } else {
                let (document, after) = rest.split_at(length as usize);
                blocks.last_mut().unwrap().push(document);
                rest = after;
            }
        }
        assert!(blocks.pop().unwrap().is_empty(), "the archive ends within a block");
        let parse = |bytes: &[u8]| Document::from_reader(bytes).unwrap();
        let prelude: Vec<Document> = blocks.remove(0).into_iter().map(parse).collect();
        let mut collections: Vec<(String, String, Vec<Vec<u8>>)> = Vec::new();
        for block in blocks {
            let header = parse(block[0]);
            let name = (header.get_str("db").unwrap().to_owned(), header.get_str("collection").unwrap().to_owned());
            if header.get_bool("EOF").unwrap() {
                let (db, collection, documents) = collections.last().unwrap();
                assert_eq!((db, collection, block.len()), (&name.0, &name.1, 1), "the end of another collection");
                let sum = documents.iter().fold(!0, |sum, document| crc64(sum, document));
                assert_eq!(header.get_i64("CRC").unwrap(), (!sum).cast_signed());
            } else {
                assert_eq!(header.get_i64("CRC").unwrap(), 0);
                collections.push((name.0, name.1, block[1..].iter().map(|document| document.to_vec()).collect()));
            }
        }
        Self { header: prelude[0].clone(), listings: prelude[1..].to_vec(), collections }
    }

    fn names(&self) -> Vec<&str> {
        self.collections.iter().map(|(_, name, _)| name.as_str()).collect()
    }

    fn raw(&self, collection: &str) -> &[Vec<u8>] {
        let found = self.collections.iter().find(|(_, name, _)| name == collection);
        &found.unwrap_or_else(|| panic!("{collection} is not among {:?}", self.names())).2
    }

    fn documents(&self, collection: &str) -> Vec<Document> {
        self.raw(collection).iter().map(|bytes| RawDocumentBuf::from_bytes(bytes.clone()).unwrap().try_into().unwrap()).collect()
    }

    /// What the prelude tells of a collection, its metadata as JSON.
    fn metadata(&self, collection: &str) -> Value {
        let listing = self.listings.iter().find(|listing| listing.get_str("collection").unwrap() == collection).unwrap();
        serde_json::from_str(listing.get_str("metadata").unwrap()).unwrap()
    }
}

/// Bit by bit, as ECMA-182 has it, reflected.
fn crc64(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xC96C_5795_D787_0F42 } else { sum >> 1 })
    })
}
