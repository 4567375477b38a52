//! Takes a job's log lines from any thread and stores them in batches, in order.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

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
    job_id: JobId,
    last: oneshot::Sender<NewLine>,
    task: JoinHandle<()>,
}

pub(super) fn start(ctx: Arc<Ctx>, job_id: JobId) -> (LogSender, LogStore) {
    let (lines, waiting) = mpsc::channel(WAITING);
    let (last, end) = oneshot::channel();
    let left_out = Arc::new(AtomicU64::new(0));
    let task = tokio::spawn(store(ctx, job_id, waiting, Arc::clone(&left_out), end));
    (LogSender { job_id, lines, taken: AtomicU64::new(0), left_out }, LogStore { job_id, last, task })
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
    /// Stores what was sent so far and then `last`, which is never left out, and ends. Lines sent later are dropped.
    pub(super) async fn close(self, level: LogLevel, last: &str) {
        let line = NewLine { job_id: self.job_id, at: Moment::now(), level, message: cut(last) };
        let told = self.last.send(line).map_err(|_| "it ended before the job".to_owned());
        if let Err(cause) = told.and(self.task.await.map_err(|cause| cause.to_string())) {
            tracing::error!(cause, "the job's log is not whole");
        }
    }
}

async fn store(
    ctx: Arc<Ctx>,
    job_id: JobId,
    mut waiting: mpsc::Receiver<NewLine>,
    left_out: Arc<AtomicU64>,
    mut end: oneshot::Receiver<NewLine>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let last = loop {
        tokio::select! {
            biased;
            last = &mut end => break last.ok(),
            received = waiting.recv_many(&mut batch, BATCH) => {
                append(&ctx, job_id, &mut batch).await;
                if received == 0 {
                    break (&mut end).await.ok();
                }
            }
        }
    };
    waiting.close();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        append(&ctx, job_id, &mut batch).await;
    }
    let missing = left_out.load(Ordering::Relaxed);
    if missing > 0 {
        let message = format!("{missing} log lines were left out: there were too many");
        batch.push(NewLine { job_id, at: Moment::now(), level: LogLevel::Warn, message });
    }
    batch.extend(last);
    append(&ctx, job_id, &mut batch).await;
}

async fn append(ctx: &Ctx, job_id: JobId, batch: &mut Vec<NewLine>) {
    if !batch.is_empty()
        && let Err(error) = queue::append_logs(ctx, batch).await
    {
        tracing::error!(%job_id, lines = batch.len(), %error, "log lines could not be stored");
    }
    batch.clear();
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
