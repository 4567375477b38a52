//! What follows an attempt: the end, or another attempt and when. Pure.

use std::time::Duration;

use crate::{
    domain::{
        job::{Job, JobKind, JobStatus},
        time::Moment,
    },
    error::Error,
};

/// The wait between two attempts grows no longer than this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What is said of an attempt that a shutdown ended.
const STOPPED: &str = "dbsnap was stopped while the job ran";

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Completed,
    /// A person asked for it.
    Cancelled,
    Failed(Error),
    /// The worker vanished, or its process died.
    Interrupted(&'static str),
    /// The process was asked to stop and did not wait longer. The job is not to blame: the attempt does not count.
    Stopped,
    /// Another worker has the job now; this one may not write.
    LostLease,
}

/// What is done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    End(JobStatus),
    /// The rows of the attempt are settled with a status; the job waits until the moment.
    Again {
        settled: JobStatus,
        at: Moment,
        counts: bool,
    },
    Nothing,
}

impl Outcome {
    /// For people, when the attempt did not complete.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Completed | Self::LostLease => None,
            Self::Cancelled => Some("cancelled".to_owned()),
            Self::Failed(error) => Some(error.to_string()),
            Self::Interrupted(why) => Some((*why).to_owned()),
            Self::Stopped => Some(STOPPED.to_owned()),
        }
    }

    /// Only what may pass by itself is tried again, as long as attempts are left and nobody asked for a cancel. The wait
    /// before the second attempt is the job's own, or else `retry_base`.
    pub(super) fn next(&self, job: &Job, cancel_requested: bool, now: Moment, retry_base: Duration) -> Next {
        let (status, may_pass) = match self {
            Self::Completed => return Next::End(JobStatus::Completed),
            Self::LostLease => return Next::Nothing,
            Self::Cancelled => return Next::End(JobStatus::Cancelled),
            Self::Interrupted(_) | Self::Stopped if cancel_requested => return Next::End(JobStatus::Cancelled),
            // A restore is never repeated on its own: a person looks at the target first.
            Self::Stopped if job.kind == JobKind::Restore => return Next::End(JobStatus::Interrupted),
            Self::Stopped => return Next::Again { settled: JobStatus::Interrupted, at: now, counts: false },
            Self::Interrupted(_) => (JobStatus::Interrupted, true),
            Self::Failed(error) => (JobStatus::Failed, error.retryable),
        };
        if !may_pass || cancel_requested || job.attempt >= job.max_attempts {
            return Next::End(status);
        }
        let base = job.limits.retry_base_seconds.map_or(retry_base, Duration::from_secs);
        let wait = i64::try_from(wait(base, job.attempt).as_millis()).unwrap_or(0);
        Next::Again { settled: status, at: now.plus(wait), counts: true }
    }
}

/// The wait after attempt number `attempt` (from 1): the base, doubled each time.
fn wait(base: Duration, attempt: u32) -> Duration {
    let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| base.checked_mul(factor));
    doubled.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::ids::JobId;

    fn job(attempt: u32, max_attempts: u32) -> Job {
        Job {
            id: JobId::new(),
            kind: JobKind::Backup,
            status: JobStatus::Running,
            database_id: None,
            backup_id: None,
            restore_id: None,
            diff_id: None,
            schedule_id: None,
            priority: 0,
            limits: Default::default(),
            exclusive_key: None,
            payload: Value::Null,
            attempt,
            max_attempts,
            run_after: Moment(0),
            cancel_requested: false,
            progress: None,
            error: None,
            dead: false,
            report: None,
            created_at: Moment(0),
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_only_while_attempts_are_left() {
        let check = |outcome: Outcome, attempt, cancel, expect| {
            assert_eq!(
                outcome.next(&job(attempt, 3), cancel, Moment(0), Duration::from_secs(30)),
                expect,
                "{outcome:?} {attempt} {cancel}"
            );
        };
        let passing = || Outcome::Failed(Error::internal("timeout").retryable());
        let lasting = || Outcome::Failed(Error::internal("wrong password"));
        check(Outcome::Completed, 1, false, Next::End(JobStatus::Completed));
        check(Outcome::Completed, 1, true, Next::End(JobStatus::Completed));
        check(Outcome::Cancelled, 1, true, Next::End(JobStatus::Cancelled));
        let again = |settled, at| Next::Again { settled, at: Moment(at), counts: true };
        check(passing(), 1, false, again(JobStatus::Failed, 30_000));
        check(passing(), 2, false, again(JobStatus::Failed, 60_000));
        check(passing(), 3, false, Next::End(JobStatus::Failed));
        check(passing(), 1, true, Next::End(JobStatus::Failed));
        check(lasting(), 1, false, Next::End(JobStatus::Failed));
        check(Outcome::Interrupted("vanished"), 1, false, again(JobStatus::Interrupted, 30_000));
        check(Outcome::Interrupted("vanished"), 3, false, Next::End(JobStatus::Interrupted));
        check(Outcome::Interrupted("vanished"), 1, true, Next::End(JobStatus::Cancelled));
        check(Outcome::LostLease, 1, false, Next::Nothing);
    }

    #[test]
    fn a_shutdown_uses_up_no_attempt_but_repeats_no_restore() {
        let again = Next::Again { settled: JobStatus::Interrupted, at: Moment(7), counts: false };
        let next = |job: &Job, cancel| Outcome::Stopped.next(job, cancel, Moment(7), Duration::from_secs(30));
        assert_eq!(next(&job(1, 1), false), again);
        assert_eq!(next(&job(3, 3), false), again);
        assert_eq!(next(&job(1, 3), true), Next::End(JobStatus::Cancelled));
        let restore = Job { kind: JobKind::Restore, ..job(1, 1) };
        assert_eq!(next(&restore, false), Next::End(JobStatus::Interrupted));
    }

    #[test]
    fn the_wait_of_the_job_itself_goes_before_the_configured_one() {
        let limits = crate::domain::job::JobLimits { retry_base_seconds: Some(5), ..Default::default() };
        let job = Job { limits, ..job(2, 3) };
        let next = Outcome::Failed(Error::internal("timeout").retryable()).next(&job, false, Moment(0), Duration::from_secs(30));
        assert_eq!(next, Next::Again { settled: JobStatus::Failed, at: Moment(10_000), counts: true });
    }

    #[test]
    fn the_wait_doubles_up_to_an_hour() {
        let waits: Vec<_> = [1, 2, 3, 8, 40].iter().map(|attempt| wait(Duration::from_secs(30), *attempt).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 3600, 3600]);
    }
}
