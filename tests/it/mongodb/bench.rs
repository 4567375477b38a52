//! Restores: archives as bytes, built by hand or dumped, and where they go.

use async_trait::async_trait;
use bytes::Bytes;
use dbsnap::{
    domain::{
        artifact::{ArtifactKind, DumpFormat, TableCount},
        database::Settings,
        fields::validate,
        restore::{RestoreMode, RestorePlan},
        run::Run,
        stream::{ByteStream, channel},
    },
    engines::{DumpSource, RestoreOutcome, RestoreRequest},
    error::Result,
};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::{crc64, engine, place};

const END: [u8; 4] = [0xff; 4];

/// An archive, written as its format's description has it, by the test alone.
pub struct Builder {
    bytes: Vec<u8>,
    sums: Vec<(String, String, u64)>,
    in_prelude: bool,
}

impl Builder {
    pub fn new() -> Self {
        let mut bytes = 0x8199_e26d_u32.to_le_bytes().to_vec();
        let header = doc! { "concurrent_collections": 4, "version": "0.1", "server_version": "7.0.5", "tool_version": "100.9.4" };
        bytes.extend(header.to_vec().unwrap());
        Self { bytes, sums: Vec::new(), in_prelude: true }
    }

    /// Lists a collection; `metadata` is JSON.
    pub fn list(mut self, db: &str, collection: &str, kind: &str, metadata: &Value) -> Self {
        let metadata = if metadata.is_null() { String::new() } else { metadata.to_string() };
        let listing = doc! { "db": db, "collection": collection, "metadata": metadata, "size": 0, "type": kind };
        self.bytes.extend(listing.to_vec().unwrap());
        self
    }

    pub fn plain(self, db: &str, collection: &str) -> Self {
        self.list(
            db,
            collection,
            "collection",
            &json!({"indexes": [{"v": 2, "key": {"_id": 1}, "name": "_id_"}], "collectionName": collection, "type": "collection"}),
        )
    }

    fn block(&mut self, db: &str, collection: &str, end: Option<u64>, documents: &[Vec<u8>]) {
        if std::mem::take(&mut self.in_prelude) {
            self.bytes.extend(END);
        }
        let crc = end.unwrap_or(0).cast_signed();
        let header = doc! { "db": db, "collection": collection, "EOF": end.is_some(), "CRC": crc };
        self.bytes.extend(header.to_vec().unwrap());
        self.bytes.extend(documents.concat());
        self.bytes.extend(END);
    }

    pub fn raw(mut self, db: &str, collection: &str, documents: &[Vec<u8>]) -> Self {
        let at = self.sums.iter().position(|(one, other, _)| one == db && other == collection).unwrap_or_else(|| {
            self.sums.push((db.to_owned(), collection.to_owned(), !0));
            self.sums.len() - 1
        });
        self.sums[at].2 = documents.iter().fold(self.sums[at].2, |sum, document| crc64(sum, document));
        self.block(db, collection, None, documents);
        self
    }

    /// A block of these documents.
    pub fn documents(self, db: &str, collection: &str, documents: impl IntoIterator<Item = Document>) -> Self {
        let documents: Vec<_> = documents.into_iter().map(|one| one.to_vec().unwrap()).collect();
        self.raw(db, collection, &documents)
    }

    pub fn end(mut self, db: &str, collection: &str) -> Self {
        let sum = self.sums.iter().find(|(one, other, _)| one == db && other == collection).map_or(!0, |found| found.2);
        self.block(db, collection, Some(!sum), &[]);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        if self.in_prelude {
            self.bytes.extend(END);
        }
        self.bytes
    }
}

/// One collection `c` of `d` with these documents.
pub fn one_collection(documents: impl IntoIterator<Item = Document>) -> Vec<u8> {
    Builder::new().plain("d", "c").documents("d", "c", documents).end("d", "c").finish()
}

struct Source(Bytes);

#[async_trait]
impl DumpSource for Source {
    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::MongoArchive)]
    }

    async fn open(&self, _: ArtifactKind) -> Result<ByteStream> {
        let pieces: Vec<_> = self.0.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Box::pin(futures_util::stream::iter(pieces)))
    }
}

pub fn plan(mode: RestoreMode) -> RestorePlan {
    RestorePlan { mode, ..RestorePlan::default() }
}

pub fn with(mode: RestoreMode, options: Value) -> RestorePlan {
    RestorePlan { engine: options.as_object().unwrap().clone(), ..plan(mode) }
}

pub async fn restore(settings: &Settings, archive: &[u8], plan: RestorePlan) -> Result<RestoreOutcome> {
    restore_in(settings, archive, &[], plan, &place().run).await
}

pub async fn restore_in(
    settings: &Settings,
    archive: &[u8],
    expected: &[TableCount],
    plan: RestorePlan,
    run: &Run,
) -> Result<RestoreOutcome> {
    let engine_options = validate(engine().info().restore_options, &plan.engine)?;
    let plan = RestorePlan { engine: engine_options, ..plan };
    let source = Source(Bytes::copy_from_slice(archive));
    engine().restore(RestoreRequest { settings, plan: &plan, source: &source, expected }, run).await
}

/// A dump's plain bytes.
pub async fn dump_bytes(settings: &Settings, options: Value) -> Vec<u8> {
    let place = place();
    let options = validate(engine().info().dump_options, options.as_object().unwrap()).unwrap();
    let mut dump = engine().open_dump(settings, &options, false, &place.run).await.unwrap_or_else(|error| panic!("{error}"));
    let (out, mut pieces) = channel();
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend(piece);
        }
        bytes
    };
    let (written, bytes) = tokio::join!(dump.write(ArtifactKind::Dump, out, &place.run), reading);
    written.unwrap_or_else(|error| panic!("{error}"));
    bytes
}

/// What an inspector finds, fed in pieces of these sizes, over and over.
pub fn inspect(archive: &[u8], sizes: &[usize]) -> Result<Vec<TableCount>> {
    let mut inspector = engine().inspector(DumpFormat::MongoArchive);
    let (mut rest, mut sizes) = (archive, sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
        inspector.feed(piece)?;
        rest = after;
    }
    inspector.finish()
}
