//! Watches over one attempt while it runs: renews the lease, tells progress, and ends it for one of a few reasons.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Pool, observer::JobObserver, policy::Outcome};
use crate::{
    domain::{events::Event, job::Job},
    error::{Error, Kind, Result},
    services::queue::{self, Lease},
};

/// Why the keeper ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Asked,
    Stalled,
    Shutdown,
    LostLease,
}

pub(super) struct Keeper<'a> {
    pub pool: &'a Pool,
    pub job: &'a Job,
    pub lease: Lease,
    pub observer: Arc<JobObserver>,
    pub cancel: CancellationToken,
}

impl Keeper<'_> {
    /// Returns when the work has ended, or was dropped because it did not end after a cancel.
    pub(super) async fn watch(mut self, mut work: JoinHandle<Result<()>>) -> Outcome {
        let timing = &self.pool.timing;
        let mut heartbeat = ticks(timing.heartbeat);
        let mut progress = ticks(timing.progress);
        let mut reason = None;
        // When the work is dropped, once it was told to end.
        let mut deadline: Option<Instant> = None;
        let mut grace_end: Option<Instant> = None;
        let ended = loop {
            let now_reason = tokio::select! {
                biased;
                ended = &mut work => break Some(ended),
                () = at(deadline) => {
                    work.abort();
                    // It ends at its next await, and what it holds is dropped. Code that never awaits is left behind.
                    let _ = tokio::time::timeout(timing.patience, &mut work).await;
                    break None;
                }
                () = self.cancel.cancelled(), if reason.is_none() => Some(Reason::Asked),
                () = self.pool.stopping.cancelled(), if grace_end.is_none() => {
                    grace_end = Some(Instant::now() + timing.grace);
                    None
                }
                () = at(grace_end), if reason.is_none() => Some(Reason::Shutdown),
                _ = heartbeat.tick() => self.renew().await,
                _ = progress.tick() => {
                    self.tell_progress();
                    (self.observer.quiet_for() >= timing.stall).then_some(Reason::Stalled)
                }
            };
            if let (Some(found), None) = (now_reason, reason) {
                reason = Some(found);
                deadline = Some(Instant::now() + timing.patience);
                self.cancel.cancel();
            }
        };
        self.tell_progress();
        self.outcome(ended, reason)
    }

    /// Extends the lease. A catalogue that does not answer is no reason yet: the lease may outlive it.
    async fn renew(&mut self) -> Option<Reason> {
        self.lease.until = self.pool.lease_end();
        let progress = self.observer.latest_progress();
        match queue::heartbeat(&self.pool.ctx, self.job.id, &self.lease, progress.as_ref()).await {
            Ok(beat) if !beat.held => Some(Reason::LostLease),
            Ok(beat) => beat.cancel_requested.then_some(Reason::Asked),
            Err(error) => {
                tracing::warn!(%error, "the job's lease could not be extended");
                None
            }
        }
    }

    fn tell_progress(&self) {
        if let Some(progress) = self.observer.fresh_progress() {
            self.pool.ctx.tell(Event::Progress { job_id: self.job.id, progress });
        }
    }

    fn outcome(&self, ended: Option<Result<Result<()>, JoinError>>, reason: Option<Reason>) -> Outcome {
        let error = match ended {
            // What completed is complete, even when a cancel came in the last moment.
            Some(Ok(Ok(()))) => return Outcome::Completed,
            Some(Ok(Err(error))) => Some(error),
            Some(Err(cause)) if cause.is_panic() => return Outcome::Failed(fault(cause)),
            Some(Err(_)) | None => None,
        };
        match (reason, error) {
            (Some(Reason::LostLease), _) => Outcome::LostLease,
            (Some(Reason::Shutdown), _) => Outcome::Interrupted("dbsnap was stopped while the job ran"),
            (Some(Reason::Stalled), _) => Outcome::Failed(stalled(self.pool.timing.stall)),
            (Some(Reason::Asked), _) | (None, None) => Outcome::Cancelled,
            (None, Some(error)) if error.is_cancelled() => Outcome::Cancelled,
            (None, Some(error)) => Outcome::Failed(error),
        }
    }
}

fn stalled(after: Duration) -> Error {
    let time = if after.as_secs() >= 120 { format!("{} minutes", after.as_secs() / 60) } else { format!("{} seconds", after.as_secs()) };
    Error::new(Kind::Internal, format!("no progress for {time}"))
        .hint("look for locks or a slow network on the database and the store, or raise STALL_TIMEOUT_SECONDS")
        .retryable()
}

fn fault(cause: JoinError) -> Error {
    let panic = cause.into_panic();
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(format!("the job hit a fault in dbsnap: {}", said.unwrap_or("unknown"))).hint("please report it with this job's log")
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// At this moment, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
