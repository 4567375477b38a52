//! Random access: a page, a row or a list of tables is read without reading the table.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use dbsnap::{
    domain::{
        browse::RowQuery,
        store::{ObjectInfo, StoreHealth},
        stream::ByteStream,
    },
    error::Result,
    services::snapshots::{StoredFile, blocking, browse},
    snapshot::{ReadAt, Snapshot},
    stores::{self, Store},
};
use futures_util::{StreamExt, stream::BoxStream};
use serde_json::{Map, Value};

use crate::cli::{Place, url};

/// A store that counts what is read from it.
struct Counting {
    inner: Arc<dyn Store>,
    reads: AtomicU64,
    bytes: Arc<AtomicU64>,
}

#[async_trait]
impl Store for Counting {
    async fn put(&self, key: &str, body: ByteStream) -> Result<ObjectInfo> {
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        assert!(range.is_some(), "never the whole object");
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.clone();
        let counted = self.inner.get(key, range).await?.inspect(move |piece| {
            bytes.fetch_add(piece.as_ref().map_or(0, |piece| piece.len() as u64), Ordering::Relaxed);
        });
        Ok(counted.boxed())
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.inner.stat(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn health(&self) -> Result<StoreHealth> {
        self.inner.health().await
    }

    async fn sweep(&self) -> Result<u64> {
        self.inner.sweep().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_or_a_row_takes_a_few_small_reads_of_a_large_snapshot() {
    let place = Place::new();
    let source = place.path("large.db");
    rusqlite::Connection::open(&source)
        .unwrap()
        .execute_batch(
            "CREATE TABLE large (id INTEGER PRIMARY KEY, body BLOB);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
             INSERT INTO large SELECT i, randomblob(300) FROM n",
        )
        .unwrap();
    place.run(&["snapshot", "create", "--url", &url(&source), "--to", "large.snap", "--no-encrypt"]).ok();
    let settings = Map::from_iter([("path".to_owned(), Value::from(place.folder.path().to_str().unwrap()))]);
    let inner = stores::find("local").unwrap().open(&settings).unwrap();
    let store = Arc::new(Counting { inner, reads: AtomicU64::new(0), bytes: Arc::default() });
    let file = StoredFile::open(store.clone(), "large.snap").await.unwrap();
    let size = file.size();
    assert!(size > 15_000_000, "{size}");
    let cost = |store: &Counting| (store.reads.swap(0, Ordering::Relaxed), store.bytes.swap(0, Ordering::Relaxed));
    let (snapshot, _) = blocking("opening", move || Ok((Snapshot::open(Arc::new(file), None)?, ()))).await.unwrap();
    let opened = cost(&store);
    assert!(opened.0 <= 4 && opened.1 <= 256 * 1024, "opening took {opened:?} (reads, bytes)");
    let snapshot = Arc::new(snapshot);
    for query in [RowQuery { page: 700, ..RowQuery::default() }, RowQuery { key: Some("31234".into()), ..RowQuery::default() }] {
        let reader = snapshot.clone();
        let page = blocking("reading", move || browse::page_of(&reader, "large", &query)).await.unwrap();
        assert!(!page.rows.is_empty());
        let taken = cost(&store);
        assert!(taken.0 <= 8 && taken.1 <= 1024 * 1024, "{taken:?} (reads, bytes) of {size}");
    }
}
