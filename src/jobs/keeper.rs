//! Watches over one attempt while it runs: renews the lease, tells progress, and ends it for one of a few reasons.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Pool, observer::JobObserver, policy::Outcome, turns};
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
    TimedOut,
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
        let stall = self.stall();
        let time_is_up = self.job.limits.timeout_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut heartbeat = ticks(timing.heartbeat);
        let mut progress = ticks(timing.progress);
        let mut reason = None;
        // When the work is dropped, once it was told to end; when it is left behind, once it was dropped.
        let mut deadline: Option<Instant> = None;
        let mut dropped = false;
        let mut grace_end: Option<Instant> = None;
        let ended = loop {
            let now_reason = tokio::select! {
                biased;
                ended = &mut work => break Some(ended),
                // Code that never awaits is left behind.
                () = at(deadline), if dropped => break None,
                () = at(deadline) => {
                    // It ends at its next await, and what it holds is dropped. The lease is kept meanwhile.
                    work.abort();
                    dropped = true;
                    deadline = Some(Instant::now() + timing.patience);
                    None
                }
                () = self.cancel.cancelled(), if reason.is_none() => Some(Reason::Asked),
                () = self.pool.stopping.cancelled(), if grace_end.is_none() => {
                    grace_end = Some(Instant::now() + timing.grace);
                    None
                }
                () = at(grace_end), if reason.is_none() => Some(Reason::Shutdown),
                () = at(time_is_up), if reason.is_none() => Some(Reason::TimedOut),
                _ = heartbeat.tick() => self.renew().await,
                _ = progress.tick() => {
                    self.tell_progress();
                    (self.observer.quiet_for() >= stall).then_some(Reason::Stalled)
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

    /// The job's own stall time, or the configured one.
    fn stall(&self) -> Duration {
        self.job.limits.stall_timeout_seconds.map_or(self.pool.timing.stall, Duration::from_secs)
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
            (Some(Reason::Shutdown), _) => Outcome::Stopped,
            (Some(Reason::Stalled), _) => Outcome::Failed(self.stalled()),
            (Some(Reason::TimedOut), _) => Outcome::Failed(self.timed_out()),
            (Some(Reason::Asked), _) | (None, None) => Outcome::Cancelled,
            (None, Some(error)) if error.is_cancelled() => Outcome::Cancelled,
            (None, Some(error)) => Outcome::Failed(error),
        }
    }

    fn stalled(&self) -> Error {
        let raise = match self.job.limits.stall_timeout_seconds {
            Some(_) => "the schedule's stall timeout",
            None => "STALL_TIMEOUT_SECONDS",
        };
        Error::new(Kind::Internal, format!("no progress for {}", in_words(self.stall())))
            .hint(format!("look for locks or a slow network on the database and the store, or raise {raise}"))
            .retryable()
    }

    fn timed_out(&self) -> Error {
        let limit = Duration::from_secs(self.job.limits.timeout_seconds.unwrap_or_default());
        Error::new(Kind::Internal, format!("it took longer than its time limit of {} and was ended", in_words(limit)))
            .hint("look in the log for what was slow, or raise the schedule's timeout")
            .retryable()
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        1 => "1 second".to_owned(),
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{} minutes and {} seconds", seconds / 60, seconds % 60),
    }
}

fn fault(cause: JoinError) -> Error {
    let said = turns::said(cause.into_panic().as_ref());
    Error::internal(format!("the job hit a fault in dbsnap: {said}")).hint("please report it with this job's log")
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
