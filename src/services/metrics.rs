//! Figures for monitoring systems, in the text form of OpenMetrics.
//!
//! What the catalogue knows is read from it, so that a restart resets nothing; only errors of stores are counted in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use super::{Ctx, jobs::state, stores, workers::WorkerState};
use crate::{
    db,
    domain::{
        backup::BackupStatus,
        ids::StoreId,
        job::JobKind,
        permissions::{Actor, Permission},
        store::StoreHealth,
        time::Moment,
    },
    error::{Context, Kind, Result},
};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A store is asked for its free space no more often than this.
const SPACE_AGE: Duration = Duration::from_secs(60);
/// A store that does not tell its free space within this time is left out.
const SPACE_PATIENCE: Duration = Duration::from_secs(5);

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// What is counted while the process runs.
#[derive(Default)]
pub struct Metrics {
    store_errors: Mutex<BTreeMap<StoreId, Arc<AtomicU64>>>,
    space: tokio::sync::Mutex<Option<(Instant, Vec<Space>)>>,
}

/// What a store told of its space.
#[derive(Clone)]
struct Space {
    store: String,
    health: Option<StoreHealth>,
}

impl Metrics {
    /// Where the errors of a store are counted.
    pub fn store_errors(&self, id: StoreId) -> Arc<AtomicU64> {
        let mut counters = self.store_errors.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counters.entry(id).or_default())
    }
}

/// All figures of the actor's organization.
pub async fn text(ctx: &Ctx, actor: &Actor) -> Result<String> {
    actor.require(Permission::View)?;
    let mut sheet = Sheet(Registry::with_prefix("dbsnap"));
    sheet.product(ctx);
    sheet.catalogue(&db::metrics::figures(&ctx.db, actor.organization_id).await?, ctx.now());
    sheet.queue(&state::queue(ctx, actor).await?);
    sheet.stores(ctx, actor).await?;
    let mut text = String::new();
    encode(&mut text, &sheet.0).context(Kind::Internal, || "writing the figures".into())?;
    Ok(text)
}

/// The figures while they are gathered.
struct Sheet(Registry);

impl Sheet {
    fn gauges(&mut self, name: &str, help: &str) -> Gauges {
        let gauges = Gauges::default();
        self.0.register(name, help, gauges.clone());
        gauges
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help).get_or_create(&Labels::new()).set(value);
    }

    fn product(&mut self, ctx: &Ctx) {
        let version = ("version", env!("CARGO_PKG_VERSION"));
        self.0.register("build", "This build", Info::new(vec![version]));
        self.gauge("start_timestamp_seconds", "When the process started", seconds(ctx.started_at));
        let turns = self.gauges("loop_turn_timestamp_seconds", "When each loop in the background came round last");
        let faults = Family::<Labels, Counter>::default();
        self.0.register("loop_faults", "Faults of dbsnap in each loop since the process started", faults.clone());
        for found in ctx.loops.list() {
            let labels = vec![("loop", found.name.to_owned())];
            turns.get_or_create(&labels).set(seconds(found.seen_at));
            faults.get_or_create(&labels).inc_by(found.faults);
        }
        match ctx.scheduler_seen.load(Ordering::Relaxed) {
            0 => {}
            seen => self.gauge("scheduler_tick_timestamp_seconds", "When schedules were last looked at", seconds(Moment(seen))),
        }
    }

    fn catalogue(&mut self, figures: &db::metrics::Figures, now: Moment) {
        let counters = Family::<Labels, Counter>::default();
        self.0.register("backups", "Backups that ended, by database and how they ended", counters.clone());
        // A counter that begins with its first failure shows no increase.
        for found in &figures.databases {
            for status in [BackupStatus::Completed, BackupStatus::Failed] {
                let _ = counters.get_or_create(&vec![("database", found.database.clone()), ("status", status.to_string())]);
            }
        }
        for db::metrics::Counted { name, status, number } in &figures.backups {
            let labels = vec![("database", name.clone()), ("status", status.clone())];
            counters.get_or_create(&labels).inc_by(*number);
        }
        self.databases(&figures.databases, now);
        let next = self.gauges("next_run_timestamp_seconds", "When the schedule is due next");
        for (schedule, at) in &figures.next_runs {
            next.get_or_create(&vec![("schedule", schedule.clone())]).set(seconds(*at));
        }
        let deliveries = self.gauges("notification_deliveries", "Deliveries in the log of each notifier, by how they ended");
        for db::metrics::Counted { name, status, number } in &figures.deliveries {
            deliveries.get_or_create(&vec![("notifier", name.clone()), ("status", status.clone())]).set(*number as f64);
        }
        self.gauge(
            "dead_letters",
            "Jobs that failed, are not tried again by themselves, and were neither retried nor dropped",
            figures.dead_letters as f64,
        );
    }

    fn databases(&mut self, databases: &[db::metrics::LastGood], now: Moment) {
        let success = self.gauges("last_success_timestamp_seconds", "When the last good backup of the database was made");
        let help = "Age of the last good backup of the database; of the database itself while there is none";
        let age = self.gauges("last_success_age_seconds", help);
        let duration = self.gauges("backup_duration_seconds", "How long the last good backup of the database took");
        let size = self.gauges("backup_size_bytes", "What the last good backup of the database takes in its store");
        for database in databases {
            let labels = vec![("database", database.database.clone())];
            let since = database.backup.as_ref().map_or(database.added_at, |backup| backup.created_at);
            age.get_or_create(&labels).set(now.since(since) as f64 / 1000.0);
            let Some(backup) = &database.backup else { continue };
            success.get_or_create(&labels).set(seconds(backup.created_at));
            size.get_or_create(&labels).set(backup.stored_size as f64);
            if let (Some(start), Some(end)) = (backup.started_at, backup.finished_at) {
                duration.get_or_create(&labels).set(end.since(start) as f64 / 1000.0);
            }
        }
    }

    fn queue(&mut self, queue: &state::QueueState) {
        let depth = self.gauges("queue_depth", "Open jobs by kind: due, waiting for their time, running");
        // A kind without open jobs is 0 and not missing, so that alerts can tell the two apart.
        for kind in JobKind::ALL {
            let open = queue.depth.iter().find(|depth| depth.kind == *kind);
            let numbers = open.map_or([0; 3], |open| [open.due, open.waiting, open.running]);
            for (state, number) in ["due", "waiting", "running"].into_iter().zip(numbers) {
                depth.get_or_create(&vec![("kind", kind.to_string()), ("state", state.to_owned())]).set(number as f64);
            }
        }
        let workers = self.gauges("workers", "Workers by what they do");
        for (label, state) in [("idle", WorkerState::Idle), ("running", WorkerState::Running)] {
            let number = queue.workers.iter().filter(|worker| worker.state == state).count();
            workers.get_or_create(&vec![("state", label.to_owned())]).set(number as f64);
        }
        self.gauge("workers_max", "The most workers there may be", queue.max as f64);
    }

    async fn stores(&mut self, ctx: &Ctx, actor: &Actor) -> Result<()> {
        let errors = Family::<Labels, Counter>::default();
        self.0.register("store_errors", "Errors of the store since the process started", errors.clone());
        let free = self.gauges("store_free_bytes", "Bytes that can still be written, where the store can tell");
        let total = self.gauges("store_size_bytes", "Bytes in all, where the store can tell");
        let up = self.gauges("store_up", "1 when the store could be written to, 0 when not");
        let spaces = space(ctx, actor).await?;
        for store in stores::list(ctx, actor).await? {
            let counted = ctx.metrics.store_errors(store.id).load(Ordering::Relaxed);
            errors.get_or_create(&vec![("store", store.name)]).inc_by(counted);
        }
        for Space { store, health } in spaces {
            let labels = vec![("store", store)];
            up.get_or_create(&labels).set(if health.is_some() { 1.0 } else { 0.0 });
            let Some(health) = health else { continue };
            for (gauges, bytes) in [(&free, health.free), (&total, health.total)] {
                if let Some(bytes) = bytes {
                    gauges.get_or_create(&labels).set(bytes as f64);
                }
            }
        }
        Ok(())
    }
}

/// The space of every store, asked for again when what is known is too old.
async fn space(ctx: &Ctx, actor: &Actor) -> Result<Vec<Space>> {
    let mut known = ctx.metrics.space.lock().await;
    if let Some((at, spaces)) = known.as_ref()
        && at.elapsed() < SPACE_AGE
    {
        return Ok(spaces.clone());
    }
    let asked = stores::list(ctx, actor).await?.into_iter().map(|store| async move {
        let health = stores::ask(ctx, actor.organization_id, store.id, SPACE_PATIENCE).await.ok();
        Space { store: store.name, health }
    });
    let spaces = futures_util::future::join_all(asked).await;
    *known = Some((Instant::now(), spaces.clone()));
    Ok(spaces)
}

fn seconds(moment: Moment) -> f64 {
    moment.0 as f64 / 1000.0
}
