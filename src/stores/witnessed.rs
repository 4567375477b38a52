//! A store whose refusals are remembered: what it could not do tells nothing of what is in it.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};

use super::Store;
use crate::{
    domain::{
        store::{ObjectInfo, StoreHealth},
        stream::ByteStream,
    },
    error::{Error, Kind, Result},
};

/// Wraps a store. Whoever reads through it and meets an error can ask whether the store failed (a disk that does not answer,
/// a volume that is away, a file that may not be opened), or whether what it gave is wrong.
pub struct Witnessed {
    inner: Arc<dyn Store>,
    refusal: Arc<Mutex<Option<Error>>>,
}

impl Witnessed {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, refusal: Arc::default() }
    }

    /// What the store refused since this was asked last, as something that may pass by itself.
    pub fn refusal(&self) -> Option<Error> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn see<T>(&self, result: Result<T>) -> Result<T> {
        see(&self.refusal, result)
    }
}

/// Remembers the first error of a store. What it was wrongly asked for is none.
fn see<T>(refusal: &Mutex<Option<Error>>, result: Result<T>) -> Result<T> {
    if let Err(error) = &result
        && error.kind != Kind::Validation
    {
        let told = || Error::new(error.kind, error.to_string()).retryable();
        refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(told);
    }
    result
}

#[async_trait]
impl Store for Witnessed {
    async fn put(&self, key: &str, body: ByteStream) -> Result<ObjectInfo> {
        self.see(self.inner.put(key, body).await)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        let stream = self.see(self.inner.get(key, range).await)?;
        let refusal = Arc::clone(&self.refusal);
        Ok(Box::pin(stream.map(move |piece| see(&refusal, piece))))
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.see(self.inner.stat(key).await)
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>> {
        let refusal = Arc::clone(&self.refusal);
        Box::pin(self.inner.list(prefix).map(move |object| see(&refusal, object)))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.see(self.inner.delete(key).await)
    }

    async fn health(&self) -> Result<StoreHealth> {
        self.see(self.inner.health().await)
    }

    async fn sweep(&self) -> Result<u64> {
        self.see(self.inner.sweep().await)
    }
}
