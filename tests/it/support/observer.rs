//! What an operation of an engine told.

use std::sync::{Arc, Mutex};

use dbsnap::domain::{
    events::Progress,
    job::LogLevel,
    run::{Learned, Observer, Run, Silent},
};
use tokio_util::sync::CancellationToken;

/// The surroundings of an operation that spools nothing and starts no tools.
pub fn run_of(observer: Arc<dyn Observer>) -> Run {
    Run {
        cancel: CancellationToken::new(),
        observer,
        scratch: std::env::temp_dir(),
        tool_dirs: Vec::new(),
        learned: Learned::default(),
        limits: Default::default(),
    }
}

pub fn silent() -> Run {
    run_of(Arc::new(Silent))
}

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
