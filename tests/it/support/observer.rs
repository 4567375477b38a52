//! What an operation of an engine told.

use std::sync::Mutex;

use dbsnap::domain::{events::Progress, job::LogLevel, run::Observer};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
pub struct Seen {
    pub log: Mutex<Vec<String>>,
    pub progress: Mutex<Vec<Progress>>,
    /// Cancelled when progress of this stage arrives.
    pub cancel_at: Mutex<Option<(&'static str, CancellationToken)>>,
}

impl Observer for Seen {
    fn log(&self, level: LogLevel, message: &str) {
        self.log.lock().unwrap().push(format!("{level} {message}"));
    }

    fn progress(&self, progress: &Progress) {
        if let Some((stage, cancel)) = &*self.cancel_at.lock().unwrap()
            && progress.stage == *stage
        {
            cancel.cancel();
        }
        self.progress.lock().unwrap().push(progress.clone());
    }
}
