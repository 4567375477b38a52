//! Stores: where artifacts live. A new one is a file or folder here and a line in [`registry`].
//!
//! A store moves bytes under keys. Retry, throttling, progress and logging wrap it; they are not written inside one.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::Serialize;

use crate::{
    domain::{
        database::Settings,
        fields::Field,
        store::{ObjectInfo, StoreHealth},
        stream::ByteStream,
    },
    error::{Error, Result},
};

pub mod asked;
pub mod counted;
pub mod local;
pub mod witnessed;

/// Every store of this build, in the order people see them.
pub fn registry() -> &'static [&'static dyn StoreKind] {
    &[&local::LocalKind]
}

/// The kind of store with this id.
pub fn find(id: &str) -> Result<&'static dyn StoreKind> {
    registry().iter().copied().find(|kind| kind.info().id == id).ok_or_else(|| {
        let known: Vec<_> = registry().iter().map(|kind| kind.info().id).collect();
        Error::validation(format!("store '{id}' is not known")).hint(format!("use one of: {}", known.join(", ")))
    })
}

/// What a kind of store is, as data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreInfo {
    pub id: &'static str,
    pub label: &'static str,
    /// Name of a symbol in static/icons.svg.
    pub icon: &'static str,
    pub settings: &'static [Field],
}

/// A kind of store: makes stores from validated settings with secrets in clear.
pub trait StoreKind: Send + Sync {
    fn info(&self) -> &'static StoreInfo;
    /// Does not reach out to the store: one that hangs holds up its first use, not whoever opens it.
    fn open(&self, settings: &Settings) -> Result<Arc<dyn Store>>;
}

/// One opened store. Keys are relative, `/`-separated, UTF-8, without empty, `.` or `..` parts.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes an object whole or not at all: until the body has ended without an error, and everything is durable,
    /// the key shows what it showed before. Returns what the store then holds, read back from it.
    async fn put(&self, key: &str, body: ByteStream) -> Result<ObjectInfo>;

    /// Reads an object, or the bytes `range` of it. Errors with `NotFound` when there is none, and when the range
    /// starts at or after the end; a range that ends after the end is cut.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// `None` when there is no such object.
    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>>;

    /// Every object whose key starts with `prefix`, in no promised order.
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>>;

    /// Removes an object; one that is not there is no error.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Proves that the store can be written to, and tells the space left.
    async fn health(&self) -> Result<StoreHealth>;

    /// Removes what interrupted writes left behind, and nothing that is being written, by whichever process.
    /// Returns the number of pieces removed.
    async fn sweep(&self) -> Result<u64>;
}

/// Errors unless `key` is one that every store can hold.
pub fn check_key(key: &str) -> Result<()> {
    let good = !key.is_empty()
        && key.len() <= 1024
        && !key.chars().any(|c| c.is_control() || c == '\\')
        && key.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= 255);
    if good {
        return Ok(());
    }
    Err(Error::validation(format!("'{}' cannot be a key in a store", key.escape_debug())).hint("use relative names without '..'"))
}
