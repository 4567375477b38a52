//! Composition root: from a configuration to a running product.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, broadcast},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::limit::LoginLimit,
    config::Config,
    db::{
        Db,
        lock::{DataLock, make_private_dir},
    },
    domain::time::Clock,
    error::{Context, Error, Kind, Result},
    jobs::{self, Jobs},
    services::{self, Ctx, accounts, keys, stores, system},
    web,
};

/// Events that a slow listener may lag behind before it misses some.
const EVENTS: usize = 1024;

/// How long clients may go on reading after the jobs have come to their end.
const READERS_GRACE: Duration = Duration::from_secs(5);

/// An opened data directory: nobody else uses it while this lives.
pub struct Opened {
    pub ctx: Arc<Ctx>,
    _lock: DataLock,
}

/// Opens the data directory: lock, catalogue, key, local store. Starts nothing.
pub async fn open(config: Config) -> Result<Opened> {
    open_at(config, Clock::System).await
}

/// [`open`] with another clock than the system's.
pub async fn open_at(config: Config, clock: Clock) -> Result<Opened> {
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
        started_at: clock.now(),
        clock,
        db,
        keys,
        events,
        queued: Notify::new(),
        noticed: Notify::new(),
        running: Mutex::new(HashMap::new()),
        workers: Default::default(),
        loops: Default::default(),
        scheduler_seen: Default::default(),
        asked: Default::default(),
        metrics: Default::default(),
        instance_id,
        diff_reports: Arc::default(),
        logins: LoginLimit::default(),
        snapshots: Default::default(),
        shutdown: CancellationToken::new(),
    });
    stores::ensure_local(&ctx).await?;
    Ok(Opened { ctx, _lock: lock })
}

/// A product at work: jobs run, pages are served.
pub struct Running {
    pub opened: Opened,
    /// Where it listens.
    pub address: SocketAddr,
    jobs: Jobs,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Recovers from whatever the last process left, starts the workers, and serves.
pub async fn start(config: Config) -> Result<Running> {
    let address = format!("{}:{}", config.hostname, config.port);
    // Bound first: a port that is taken stops the start before any job runs.
    let listener = TcpListener::bind(&address)
        .await
        .context(Kind::Validation, || format!("listening on {address}"))
        .map_err(|error| error.hint("set PORT to a free port"))?;
    let opened = open(config).await?;
    let ctx = &opened.ctx;
    services::recover(ctx).await?;
    let jobs = jobs::start(Arc::clone(ctx)).await?;
    accounts::announce_setup(ctx).await?;
    let address = listener.local_addr().context(Kind::Internal, || "reading the address".into())?;
    let shutdown = ctx.shutdown.clone();
    let service = web::router(Arc::clone(ctx))?.into_make_service_with_connect_info::<SocketAddr>();
    let server =
        tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(async move { shutdown.cancelled().await }).into_future());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, data = %ctx.config.data_dir.display(), key = ctx.keys.current().id(), "ready");
    Ok(Running { opened, address, jobs, server })
}

impl Running {
    /// Stops taking work, lets what runs come to its end within the grace, then closes: on readers that are still slow
    /// to take their answer after [`READERS_GRACE`], too.
    pub async fn stop(mut self) -> Result<()> {
        self.opened.ctx.shutdown.cancel();
        self.jobs.shutdown().await;
        match timeout(READERS_GRACE, &mut self.server).await {
            Ok(ended) => ended.context(Kind::Internal, || "serving".into())?.context(Kind::Internal, || "serving".into()),
            Err(_) => {
                tracing::warn!("some clients had not read their answer to its end: their connections are closed");
                self.server.abort();
                Ok(())
            }
        }
    }

    /// Serves until a signal asks it to stop. Errors with `Cancelled` when a second one did not wait for the end.
    pub async fn until_stopped(self, signals: &mut Signals) -> Result<()> {
        let signal = signals.next().await;
        tracing::info!("{signal}: shutting down; a second signal ends it at once");
        tokio::select! {
            stopped = self.stop() => stopped,
            signal = signals.next() => {
                tracing::warn!("{signal} again: ending at once, jobs that run are interrupted");
                Err(Error::new(Kind::Cancelled, format!("{signal} came twice: ended at once, jobs that ran are interrupted")))
            }
        }
    }
}

/// What asks the process to end: SIGTERM, as a container's stop sends it, and SIGINT, as Ctrl-C does.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context(Kind::Internal, || "listening for signals".into());
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Serves until SIGTERM or Ctrl-C.
pub async fn serve(config: Config) -> Result<()> {
    let mut signals = Signals::listen()?;
    start(config).await?.until_stopped(&mut signals).await
}
