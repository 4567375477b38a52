//! The scheduler's clock: tokio-cron-scheduler wakes it every few seconds, and each time one look at the catalogue decides
//! what is due.
//!
//! The library is trusted with the wake-up only. It freezes a zone's offset when a job is made, knows neither overlap nor
//! catch-up, and its repeated jobs have been seen to stop: when it falls silent it is started anew.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::services::{Ctx, schedules};

/// With seconds, as the library wants it.
const EVERY: &str = "*/5 * * * * *";

/// Silence that is not waited out any longer: several wake-ups.
const SILENCE: Duration = Duration::from_secs(20);

/// Looks at once, at every wake-up, and whenever there was none for [`SILENCE`], until the pool is stopping.
pub(super) async fn run(ctx: Arc<Ctx>, stopping: CancellationToken) {
    let wake = Arc::new(Notify::new());
    let mut clock = start(&wake).await;
    loop {
        if let Err(error) = schedules::tick(&ctx).await {
            tracing::error!(%error, "due schedules could not be looked for; it is tried again");
        }
        tokio::select! {
            () = stopping.cancelled() => break,
            () = wake.notified() => {}
            () = tokio::time::sleep(SILENCE) => {
                tracing::warn!("the scheduler's clock fell silent: it is started anew");
                stop(clock).await;
                clock = start(&wake).await;
            }
        }
    }
    stop(clock).await;
}

/// `None` when it cannot be started: the scheduler then looks every [`SILENCE`].
async fn start(wake: &Arc<Notify>) -> Option<JobScheduler> {
    match ticking(Arc::clone(wake)).await {
        Ok(clock) => Some(clock),
        Err(cause) => {
            tracing::error!(%cause, "the scheduler's clock could not be started");
            None
        }
    }
}

async fn ticking(wake: Arc<Notify>) -> Result<JobScheduler, JobSchedulerError> {
    let clock = JobScheduler::new().await?;
    clock.add(Job::new(EVERY, move |_, _| wake.notify_one())?).await?;
    clock.start().await?;
    Ok(clock)
}

async fn stop(clock: Option<JobScheduler>) {
    let Some(mut clock) = clock else { return };
    if let Err(cause) = clock.shutdown().await {
        tracing::warn!(%cause, "the scheduler's clock did not stop in order");
    }
}
