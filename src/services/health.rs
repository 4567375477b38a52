//! Whether the product can do its work: checks with names, for machines and for people.

use std::{path::PathBuf, sync::atomic::Ordering, time::Duration};

use serde::Serialize;

use super::{Ctx, loops::LoopView, stores};
use crate::{
    domain::{
        ids::{OrganizationId, StoreId},
        time::Moment,
    },
    error::{Error, Result},
};

/// The scheduler looks every few seconds; after this long it is taken for dead. Milliseconds.
const SCHEDULER_SILENCE: u64 = 120_000;
/// The local store has this long to tell how it is: probes give up after a few seconds themselves.
const PATIENCE: Duration = Duration::from_secs(4);
/// With less free than this, or less than a hundredth of a smaller disk, it counts as full. Bytes.
const FULL_BELOW: u64 = 1 << 30;

/// One check and what it found.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `catalogue`, `localStore`, `disk`, `workers`, `scheduler` or `loops`.
    pub name: &'static str,
    pub ok: bool,
    /// What is wrong and what to do, or a word on how it is.
    pub detail: String,
}

/// Every check. None of them takes longer than the catalogue does, or four seconds.
pub async fn checks(ctx: &Ctx) -> Vec<Check> {
    let of = |name, found: Result<String>| match found {
        Ok(detail) => Check { name, ok: true, detail },
        Err(error) => Check { name, ok: false, detail: error.to_string() },
    };
    vec![
        of("catalogue", ctx.db.ping().await.map(|()| "it can be read".to_owned())),
        of("localStore", local_store(ctx).await),
        of("disk", disk(ctx.config.data_dir.clone()).await),
        of("workers", workers(ctx)),
        of("scheduler", scheduler(ctx.scheduler_seen.load(Ordering::Relaxed), Moment::now())),
        of("loops", loops(&ctx.loops.list())),
    ]
}

async fn local_store(ctx: &Ctx) -> Result<String> {
    let health = stores::ask(ctx, OrganizationId::DEFAULT, StoreId::LOCAL, PATIENCE).await?;
    refuse_full("the local store", health.free, health.total)?;
    Ok("it can be written to".into())
}

/// The disk that the catalogue is on.
async fn disk(folder: PathBuf) -> Result<String> {
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder));
    let told = asked.await.map_err(|cause| Error::internal("looking at the disk").source(cause))?;
    let told = told.map_err(|cause| Error::internal("the data directory cannot be looked at").source(cause))?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    refuse_full("the disk of the data directory", Some(bytes(told.f_bavail)), Some(bytes(told.f_blocks)))?;
    Ok("there is space".into())
}

fn refuse_full(what: &str, free: Option<u64>, total: Option<u64>) -> Result<()> {
    match (free, total) {
        (Some(free), Some(total)) if free < FULL_BELOW.min(total / 100) => {
            Err(Error::internal(format!("{what} is full: {free} bytes are free of {total}")).hint("make room, or shorten the retention"))
        }
        _ => Ok(()),
    }
}

fn workers(ctx: &Ctx) -> Result<String> {
    let (alive, fewest) = (ctx.workers.count(), ctx.config.min_workers);
    if ctx.workers.started() && alive == 0 {
        return Err(
            Error::internal(format!("no worker is alive, and there should be {fewest}")).hint("restart dbsnap, and report it with its log")
        );
    }
    Ok(format!("{alive} at work"))
}

/// `seen` is when it last looked, milliseconds; 0 where none was started.
fn scheduler(seen: i64, now: Moment) -> Result<String> {
    let silence = now.since(Moment(seen));
    if seen != 0 && silence > SCHEDULER_SILENCE {
        return Err(Error::internal(format!("it has not looked at the schedules for {} seconds", silence / 1000))
            .hint("restart dbsnap, and report it with its log"));
    }
    Ok(if seen == 0 { "it has not started yet".into() } else { "it looks at the schedules".into() })
}

/// The loops in the background: each has come round lately.
fn loops(loops: &[LoopView]) -> Result<String> {
    let silent = loops.iter().filter(|found| found.silence > found.allowed);
    let silent: Vec<_> = silent.map(|found| format!("'{}' for {} seconds", found.name, found.silence.as_secs())).collect();
    if silent.is_empty() {
        return Ok(format!("{} go round", loops.len()));
    }
    Err(Error::internal(format!("loops have not come round: {}", silent.join(", "))).hint("restart dbsnap, and report it with its log"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_loop_that_fell_silent_is_named() {
        let one = |name, silence| LoopView {
            name,
            seen_at: Moment(0),
            silence: Duration::from_secs(silence),
            allowed: Duration::from_secs(135),
            faults: 7,
        };
        assert!(loops(&[]).is_ok() && loops(&[one("sweep", 134), one("watch", 0)]).is_ok());
        let told = loops(&[one("sweep", 136), one("watch", 0)]).unwrap_err().to_string();
        assert!(told.contains("'sweep' for 136 seconds") && !told.contains("watch"), "{told}");
    }

    #[test]
    fn a_scheduler_that_fell_silent_is_found() {
        let now = Moment(1_000_000_000);
        assert!(scheduler(0, now).is_ok(), "before the start");
        assert!(scheduler(now.0 - 60_000, now).is_ok());
        assert!(scheduler(now.0 - 121_000, now).unwrap_err().to_string().contains("121 seconds"));
        assert!(scheduler(now.0 + 5_000, now).is_ok(), "a clock that was set back");
    }

    #[test]
    fn a_disk_is_full_below_a_gigabyte_or_a_hundredth() {
        let full = |free, total| refuse_full("it", Some(free), Some(total)).is_err();
        assert!(full(1_000, 16 << 20) && !full(1 << 20, 16 << 20));
        assert!(full(FULL_BELOW - 1, 1 << 44) && !full(FULL_BELOW, 1 << 44));
        assert!(refuse_full("it", None, None).is_ok(), "a store that cannot tell");
    }
}
