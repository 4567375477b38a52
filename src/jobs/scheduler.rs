//! The scheduler's clock: tokio-cron-scheduler wakes it every few seconds, and each time one look at the catalogue decides
//! what is due.
//!
//! The library is trusted with the wake-up only. It freezes a zone's offset when a job is made, knows neither overlap nor
//! catch-up, and its repeated jobs have been seen to stop: when it falls silent it is started anew.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::{Pool, turns};
use crate::services::schedules;

/// With seconds, as the library wants it.
const EVERY: &str = "*/5 * * * * *";

/// Silence that is not waited out any longer: several wake-ups.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// How long the library may take to start or to stop. One that hangs is left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the loop is called.
pub(super) const SCHEDULER: &str = "scheduler";

/// Looks at once, at every wake-up, and whenever there was none for [`SILENCE`], until the pool is stopping.
pub(super) async fn run(pool: Arc<Pool>) {
    let wake = Arc::new(Notify::new());
    let mut clock = start(&wake).await;
    loop {
        turns::take(&pool, SCHEDULER, look(&pool)).await;
        tokio::select! {
            () = pool.stopping.cancelled() => break,
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

async fn look(pool: &Pool) {
    if let Err(error) = schedules::tick(&pool.ctx).await {
        tracing::error!(%error, "due schedules could not be looked for; it is tried again");
    }
}

/// `None` when it cannot be started: the scheduler then looks every [`SILENCE`].
async fn start(wake: &Arc<Notify>) -> Option<JobScheduler> {
    let clock = in_time(PATIENCE, ticking(Arc::clone(wake))).await;
    clock.inspect_err(|cause| tracing::error!(cause, "the scheduler's clock could not be started")).ok()
}

async fn ticking(wake: Arc<Notify>) -> Result<JobScheduler, JobSchedulerError> {
    let clock = JobScheduler::new().await?;
    clock.add(Job::new(EVERY, move |_, _| wake.notify_one())?).await?;
    clock.start().await?;
    Ok(clock)
}

async fn stop(clock: Option<JobScheduler>) {
    let Some(mut clock) = clock else { return };
    if let Err(cause) = in_time(PATIENCE, clock.shutdown()).await {
        tracing::warn!(cause, "the scheduler's clock did not stop in order");
    }
}

/// What the library does, or why it did not: it may be the part that hangs.
async fn in_time<T>(patience: Duration, work: impl Future<Output = Result<T, JobSchedulerError>>) -> Result<T, String> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done.map_err(|cause| cause.to_string()),
        Err(_) => Err(format!("it did not answer within {} seconds", patience.as_secs_f32())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_library_that_hangs_holds_up_nothing() {
        let told = in_time::<()>(Duration::from_millis(10), std::future::pending()).await;
        assert_eq!(told, Err("it did not answer within 0.01 seconds".to_owned()));
        assert!(in_time(PATIENCE, ticking(Arc::default())).await.is_ok(), "the real one answers");
    }
}
