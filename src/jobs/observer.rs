//! Hears of the progress and the log of one attempt; called from any thread, never blocks.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::Span;

use super::log::LogSender;
use crate::domain::{events::Progress, job::LogLevel, run::Observer};

/// The rate is that of the last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(5);

pub(super) struct JobObserver {
    log: LogSender,
    span: Span,
    seen: Mutex<Seen>,
}

struct Seen {
    progress: Progress,
    /// Not told yet.
    fresh: bool,
    last_sign: Instant,
    samples: VecDeque<(Instant, u64)>,
}

impl JobObserver {
    pub(super) fn new(log: LogSender, span: Span) -> Self {
        let seen = Seen { progress: Progress::default(), fresh: false, last_sign: Instant::now(), samples: VecDeque::new() };
        Self { log, span, seen: Mutex::new(seen) }
    }

    /// The progress, with its rate, when it changed since the last call.
    pub(super) fn fresh_progress(&self) -> Option<Progress> {
        let mut seen = self.seen();
        if !std::mem::take(&mut seen.fresh) {
            return None;
        }
        seen.progress.rate = seen.rate(Instant::now());
        Some(seen.progress.clone())
    }

    /// The progress, with the rate it was last told with; `None` before there is any.
    pub(super) fn latest_progress(&self) -> Option<Progress> {
        let seen = self.seen();
        (seen.progress != Progress::default()).then(|| seen.progress.clone())
    }

    /// How long ago progress changed or a line was logged.
    pub(super) fn quiet_for(&self) -> Duration {
        self.seen().last_sign.elapsed()
    }

    /// A panic elsewhere leaves the state whole: every change is one assignment.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for JobObserver {
    fn log(&self, level: LogLevel, message: &str) {
        self.seen().last_sign = Instant::now();
        self.log.send(level, message);
        self.span.in_scope(|| trace(level, message));
    }

    fn progress(&self, progress: &Progress) {
        let mut seen = self.seen();
        let progress = Progress { rate: seen.progress.rate, ..progress.clone() };
        if seen.progress != progress {
            seen.take(progress, Instant::now());
        }
    }
}

/// Writes a line to the process's own log. A tool's output may hold line breaks: escaped, one line stays one line.
pub(super) fn trace(level: LogLevel, message: &str) {
    let message = message.escape_debug();
    match level {
        LogLevel::Debug => tracing::debug!("{message}"),
        LogLevel::Info => tracing::info!("{message}"),
        LogLevel::Warn => tracing::warn!("{message}"),
        LogLevel::Error => tracing::error!("{message}"),
    }
}

impl Seen {
    fn take(&mut self, progress: Progress, now: Instant) {
        // Another stage counts from zero again.
        if progress.bytes < self.progress.bytes || progress.stage != self.progress.stage {
            self.samples.clear();
        }
        self.progress = progress;
        self.fresh = true;
        self.last_sign = now;
    }

    /// Plain bytes per second since the oldest sample in the window.
    fn rate(&mut self, now: Instant) -> Option<u64> {
        self.samples.push_back((now, self.progress.bytes));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.samples.pop_front();
        }
        let (since, bytes) = *self.samples.front()?;
        let seconds = now.duration_since(since).as_secs_f64();
        (seconds > 0.0).then(|| ((self.progress.bytes - bytes) as f64 / seconds) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_of_one_stage() {
        let begin = Instant::now();
        let mut seen = Seen { progress: Progress::default(), fresh: false, last_sign: begin, samples: VecDeque::new() };
        let mut at = |second: u64, stage: &str, bytes: u64| {
            let now = begin + Duration::from_secs(second);
            seen.take(Progress { stage: stage.into(), bytes, ..Progress::default() }, now);
            seen.rate(now)
        };
        assert_eq!(at(0, "dumping", 0), None);
        assert_eq!(at(1, "dumping", 1_000), Some(1_000));
        assert_eq!(at(5, "dumping", 1_000), Some(200));
        assert_eq!(at(10, "dumping", 6_000), Some(1_000), "the fast first second is forgotten");
        assert_eq!(at(11, "verifying", 10), None, "another stage");
        assert_eq!(at(12, "verifying", 50), Some(40));
    }
}
