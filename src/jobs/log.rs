//! Takes a job's log lines from any thread and stores them in batches, in order.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{ids::JobId, job::LogLevel, time::Moment},
    services::{
        Ctx,
        queue::{self, NewLine},
    },
};

/// Lines that may wait to be stored; what a child prints faster than the catalogue stores is left out and counted.
const WAITING: usize = 4096;

/// Lines stored in one transaction.
const BATCH: usize = 512;

/// Lines kept of one attempt; a tool that prints one line per row must not fill the catalogue.
const MOST_LINES: u64 = 20_000;

/// Bytes kept of one line.
const LONGEST_LINE: usize = 8 * 1024;

/// The writing end, for the observer.
pub(super) struct LogSender {
    job_id: JobId,
    lines: mpsc::Sender<NewLine>,
    taken: AtomicU64,
    left_out: Arc<AtomicU64>,
}

/// The storing end.
pub(super) struct LogStore {
    done: CancellationToken,
    task: JoinHandle<()>,
}

pub(super) fn start(ctx: Arc<Ctx>, job_id: JobId) -> (LogSender, LogStore) {
    let (lines, waiting) = mpsc::channel(WAITING);
    let left_out = Arc::new(AtomicU64::new(0));
    let done = CancellationToken::new();
    let task = tokio::spawn(store(ctx, job_id, waiting, Arc::clone(&left_out), done.clone()));
    (LogSender { job_id, lines, taken: AtomicU64::new(0), left_out }, LogStore { done, task })
}

impl LogSender {
    /// Never blocks.
    pub(super) fn send(&self, level: LogLevel, message: &str) {
        let line = NewLine { job_id: self.job_id, at: Moment::now(), level, message: cut(message) };
        let room = self.taken.fetch_add(1, Ordering::Relaxed) < MOST_LINES;
        if !room || self.lines.try_send(line).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LogStore {
    /// Stores what was sent so far, and ends. Lines sent later are dropped.
    pub(super) async fn close(self) {
        self.done.cancel();
        if let Err(cause) = self.task.await {
            tracing::error!(%cause, "the job's log writer ended early");
        }
    }
}

async fn store(ctx: Arc<Ctx>, job_id: JobId, mut waiting: mpsc::Receiver<NewLine>, left_out: Arc<AtomicU64>, done: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let received = tokio::select! {
            biased;
            () = done.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
            received = waiting.recv_many(&mut batch, BATCH) => received,
        };
        let missing = left_out.swap(0, Ordering::Relaxed);
        // While lines keep coming the count goes up: one line at the end says it.
        if missing > 0 && received > 0 && !waiting.is_closed() {
            left_out.fetch_add(missing, Ordering::Relaxed);
        } else if missing > 0 {
            let message = format!("{missing} log lines were left out: there were too many");
            batch.push(NewLine { job_id, at: Moment::now(), level: LogLevel::Warn, message });
        }
        if !batch.is_empty()
            && let Err(error) = queue::append_logs(&ctx, &batch).await
        {
            tracing::error!(%job_id, lines = batch.len(), %error, "log lines could not be stored");
        }
        batch.clear();
        if received == 0 {
            return;
        }
    }
}

fn cut(message: &str) -> String {
    if message.len() <= LONGEST_LINE {
        return message.to_owned();
    }
    let end = (0..=LONGEST_LINE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}… ({} bytes left out)", &message[..end], message.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "é".repeat(LONGEST_LINE);
        let short = cut(&long);
        assert!(short.starts_with("éé") && short.ends_with("bytes left out)") && short.len() < LONGEST_LINE + 64);
        assert_eq!(cut("whole"), "whole");
    }
}
