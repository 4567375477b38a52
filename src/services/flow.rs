//! Stored bytes on their way, told as progress: a job whose bytes flow has not stalled.

use std::time::{Duration, Instant};

use futures_util::StreamExt;

use crate::domain::{events::Progress, run::Run, stream::ByteStream};

/// How often it is told at most.
const EVERY: Duration = Duration::from_millis(200);

/// Counts the bytes of one stream.
pub(super) struct Flow {
    run: Run,
    progress: Progress,
    told: Instant,
}

impl Flow {
    /// Tells the beginning of a stage that moves `total` bytes.
    pub fn new(run: &Run, stage: String, total: u64) -> Self {
        let progress = Progress { stage, total_bytes: Some(total), ..Progress::default() };
        run.progress(&progress);
        Self { run: run.clone(), progress, told: Instant::now() }
    }

    /// Some bytes have passed.
    pub fn passed(&mut self, bytes: usize) {
        self.progress.bytes += bytes as u64;
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            self.run.progress(&self.progress);
        }
    }

    /// The same stream, counted.
    pub fn through(mut self, stream: ByteStream) -> ByteStream {
        Box::pin(stream.map(move |piece| piece.inspect(|piece| self.passed(piece.len()))))
    }
}
