//! Composition root: from a configuration to a running product.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::limit::LoginLimit,
    config::Config,
    db::{
        Db,
        lock::{DataLock, make_private_dir},
    },
    domain::time::Moment,
    error::{Error, Result},
    services::{Ctx, keys, stores, system},
};

/// Events that a slow listener may lag behind before it misses some.
const EVENTS: usize = 1024;

/// An opened data directory: nobody else uses it while this lives.
pub struct Opened {
    pub ctx: Arc<Ctx>,
    _lock: DataLock,
}

/// Opens the data directory: lock, catalogue, key, local store. Starts nothing.
pub async fn open(config: Config) -> Result<Opened> {
    let passphrase = config.encryption_key.clone().ok_or_else(|| {
        Error::validation("ENCRYPTION_KEY is not set")
            .hint("make one with `openssl rand -base64 48` and keep a copy of it: without it no backup can be opened")
    })?;
    make_private_dir(&config.data_dir)?;
    let lock = DataLock::acquire(&config.data_dir)?;
    let db = Db::open(&config.database_path).await?;
    let keys = keys::unlock(&db, passphrase).await?;
    let instance_id = system::instance_id(&db).await?;
    let (events, _) = broadcast::channel(EVENTS);
    let ctx = Arc::new(Ctx {
        config,
        db,
        keys,
        events,
        queued: Notify::new(),
        running: Mutex::new(HashMap::new()),
        logins: LoginLimit::default(),
        instance_id,
        started_at: Moment::now(),
        shutdown: CancellationToken::new(),
    });
    stores::ensure_local(&ctx).await?;
    Ok(Opened { ctx, _lock: lock })
}
