//! A folder on this machine. Objects are files under it, named as their keys; nothing outside it is ever touched.
//!
//! What is being written lives in `.incoming` until it is whole and durable, then takes its name in one rename.

use std::{ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{Store, StoreInfo, StoreKind, check_key};
use crate::{
    domain::{
        database::Settings,
        fields::{Field, FieldKind, SettingsExt},
        store::{ObjectInfo, StoreHealth},
        stream::{ByteStream, DEPTH},
    },
    error::{Error, Result},
};

mod faults;
mod incoming;
mod list;
mod read;
mod tree;

use incoming::{INCOMING, Order};
use tree::Tree;

/// The kind `local`.
pub struct LocalKind;

static INFO: StoreInfo = StoreInfo {
    id: "local",
    label: "Local folder",
    icon: "folder",
    settings: &[Field::new("path", "Folder", FieldKind::Path)
        .required()
        .help("Made when it is missing. In a container, a mounted volume: what lies outside of one is lost with the container.")],
};

impl StoreKind for LocalKind {
    fn info(&self) -> &'static StoreInfo {
        &INFO
    }

    /// The folder is made (0700) where it is missing when the store is first used.
    fn open(&self, settings: &Settings) -> Result<Arc<dyn Store>> {
        let path = settings.text("path").ok_or_else(|| Error::validation("a local store needs a 'path'"))?;
        Ok(Arc::new(LocalStore { tree: Arc::new(Tree::at(PathBuf::from(path))?) }))
    }
}

struct LocalStore {
    tree: Arc<Tree>,
}

impl LocalStore {
    /// Runs file work on a thread that may block.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Tree) -> Result<T> + Send + 'static) -> Result<T> {
        let tree = self.tree.clone();
        joined(spawn_blocking(move || tree.ready().and_then(|()| work(&tree))).await)
    }
}

fn joined<T>(done: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    done.map_err(|cause| Error::internal("file work ended early").source(cause))?
}

/// Errors for keys that no store holds and for those inside this store's own `.incoming`.
fn check_own_key(key: &str) -> Result<()> {
    check_key(key)?;
    if key.split('/').next() == Some(INCOMING) {
        return Err(Error::validation(format!("'{key}' cannot be a key in a local store: '{INCOMING}' is its own")));
    }
    Ok(())
}

#[async_trait]
impl Store for LocalStore {
    async fn put(&self, key: &str, mut body: ByteStream) -> Result<ObjectInfo> {
        check_own_key(key)?;
        let (orders, inbox) = mpsc::channel(DEPTH);
        let (tree, name) = (self.tree.clone(), key.to_owned());
        let writer = spawn_blocking(move || tree.ready().and_then(|()| incoming::write(&tree, &name, inbox)));
        let mut failed = None;
        loop {
            let order = match body.next().await {
                Some(Ok(piece)) => Order::Piece(piece),
                None => Order::Publish,
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
            };
            let last = matches!(order, Order::Publish);
            // A writer that is gone has failed; it tells why below.
            if orders.send(order).await.is_err() || last {
                break;
            }
        }
        drop(orders);
        let written = joined(writer.await);
        match failed {
            Some(error) => Err(error),
            None => written?.ok_or_else(|| Error::internal(format!("'{key}' was given up without a cause"))),
        }
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        check_own_key(key)?;
        let key = key.to_owned();
        self.blocking(move |tree| read::Reader::open(tree, &key, range)).await.map(read::Reader::stream)
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>> {
        check_own_key(key)?;
        let key = key.to_owned();
        self.blocking(move |tree| tree.stat(&key)).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo>> {
        list::stream(self.tree.clone(), prefix.to_owned())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_own_key(key)?;
        let key = key.to_owned();
        self.blocking(move |tree| tree.delete(&key)).await
    }

    async fn health(&self) -> Result<StoreHealth> {
        self.blocking(|tree| {
            incoming::probe(tree)?;
            tree.space()
        })
        .await
    }

    async fn sweep(&self) -> Result<u64> {
        self.blocking(incoming::sweep).await
    }
}
