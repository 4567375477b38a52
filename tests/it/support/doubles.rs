//! Stores that misbehave as no folder can be made to.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use dbsnap::{
    domain::{
        store::{ObjectInfo, StoreHealth},
        stream::ByteStream,
    },
    error::{Error, Kind, Result},
    stores::Store,
};
use futures_util::{StreamExt, stream::BoxStream};

/// What is done to bytes that are read.
#[derive(Clone, Copy)]
pub enum Reading {
    /// Each piece takes this long.
    Slow(Duration),
    /// The disk gives an error in the middle of objects whose key ends so.
    Broken(&'static str),
}

/// A store whose reads are slow or fail.
pub struct Misread {
    pub inner: Arc<dyn Store>,
    pub reading: Reading,
}

#[async_trait]
impl Store for Misread {
    async fn put(&self, key: &str, body: ByteStream) -> Result<ObjectInfo> {
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        let stream = self.inner.get(key, range).await?;
        Ok(match self.reading {
            Reading::Slow(pause) => Box::pin(stream.then(move |piece| async move {
                tokio::time::sleep(pause).await;
                piece
            })),
            Reading::Broken(end) if key.ends_with(end) => {
                let broken = Error::new(Kind::Storage, format!("reading {key}: Input/output error (os error 5)"));
                Box::pin(stream.take(1).chain(futures_util::stream::iter([Err(broken)])))
            }
            Reading::Broken(_) => stream,
        })
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
