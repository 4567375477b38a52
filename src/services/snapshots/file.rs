//! A stored object that is read anywhere, by range reads.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::runtime::Handle;

use crate::{
    error::{Error, Kind, Result},
    snapshot::ReadAt,
    stores::Store,
};

/// Small reads fetch and keep whole pages of this size, bytes: the end of a snapshot and the nodes of its index lie together.
const PAGE: usize = 64 * 1024;
/// Pages kept.
const KEPT: usize = 32;

/// An object of a store. Its reads block: they are for threads where that is allowed.
pub struct StoredFile {
    store: Arc<dyn Store>,
    key: String,
    size: u64,
    runtime: Handle,
    /// The least recently used first, by number.
    pages: Mutex<Vec<(u64, Bytes)>>,
}

impl StoredFile {
    /// Errors with `NotFound` when there is no such object. Must be called within a tokio runtime.
    pub async fn open(store: Arc<dyn Store>, key: &str) -> Result<Self> {
        let object = store.stat(key).await?.ok_or_else(|| Error::not_found(format_args!("{key} in the store")))?;
        Ok(Self { store, key: key.to_owned(), size: object.size, runtime: Handle::current(), pages: Mutex::default() })
    }

    fn fetch(&self, offset: u64, length: usize) -> Result<Bytes> {
        let naming = || format!("reading {length} bytes of {} from byte {offset}", self.key);
        let range = offset..offset + length as u64;
        let read = self.runtime.block_on(async {
            let mut stream = self.store.get(&self.key, Some(range)).await?;
            let mut bytes = BytesMut::with_capacity(length);
            while let Some(piece) = stream.next().await.transpose()? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        });
        let bytes = read.map_err(|error: Error| error.while_doing(naming()))?;
        if bytes.len() != length {
            return Err(Error::new(Kind::Storage, format!("{}: the store gave {} bytes", naming(), bytes.len())));
        }
        Ok(bytes)
    }

    fn page(&self, number: u64) -> Result<Bytes> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = pages.iter().position(|(kept, _)| *kept == number) {
            let page = pages.remove(at);
            pages.push(page.clone());
            return Ok(page.1);
        }
        drop(pages);
        let offset = number * PAGE as u64;
        let bytes = self.fetch(offset, (self.size - offset).min(PAGE as u64) as usize)?;
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= KEPT {
            pages.remove(0);
        }
        pages.push((number, bytes.clone()));
        Ok(bytes)
    }
}

impl ReadAt for StoredFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(Error::new(
                Kind::Storage,
                format!("{} ends after {} bytes, {length} from byte {offset} were to be read: it is cut", self.key, self.size),
            ));
        }
        if length > PAGE {
            return self.fetch(offset, length);
        }
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            let page = self.page(at / PAGE as u64)?;
            let start = (at % PAGE as u64) as usize;
            let end = page.len().min(start + length - bytes.len());
            if start >= end {
                return Err(Error::internal(format!("{}: a page that was read is too short", self.key)));
            }
            if bytes.is_empty() && end - start == length {
                return Ok(page.slice(start..end));
            }
            bytes.extend_from_slice(&page[start..end]);
        }
        Ok(bytes.freeze())
    }
}
