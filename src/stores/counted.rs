//! A store whose errors are counted.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};

use super::Store;
use crate::{
    domain::{
        store::{ObjectInfo, StoreHealth},
        stream::ByteStream,
    },
    error::{Kind, Result},
};

/// Wraps a store. What it is asked for and does not have is no error of the store.
pub struct Counted {
    inner: Arc<dyn Store>,
    errors: Arc<AtomicU64>,
}

impl Counted {
    pub fn new(inner: Arc<dyn Store>, errors: Arc<AtomicU64>) -> Self {
        Self { inner, errors }
    }

    fn count<T>(&self, result: Result<T>) -> Result<T> {
        count(&self.errors, result)
    }
}

/// Counts the result when it is an error of a store.
pub fn count<T>(errors: &AtomicU64, result: Result<T>) -> Result<T> {
    result.inspect_err(|error| {
        if matches!(error.kind, Kind::Storage | Kind::S3) {
            errors.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[async_trait]
impl Store for Counted {
    async fn put(&self, key: &str, body: ByteStream) -> Result<ObjectInfo> {
        self.count(self.inner.put(key, body).await)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        let stream = self.count(self.inner.get(key, range).await)?;
        let errors = Arc::clone(&self.errors);
        Ok(Box::pin(stream.map(move |piece| count(&errors, piece))))
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.count(self.inner.stat(key).await)
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>> {
        let errors = Arc::clone(&self.errors);
        Box::pin(self.inner.list(prefix).map(move |object| count(&errors, object)))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.count(self.inner.delete(key).await)
    }

    async fn health(&self) -> Result<StoreHealth> {
        self.count(self.inner.health().await)
    }

    async fn sweep(&self) -> Result<u64> {
        self.count(self.inner.sweep().await)
    }
}
