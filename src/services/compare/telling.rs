//! How far a comparison is, told to whoever watches it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::{events::Progress, run::Run};

/// Between two tellings.
const EVERY: Duration = Duration::from_millis(200);

pub struct Telling {
    run: Run,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    told: Instant,
    /// Rows of the tables that are done.
    before: u64,
    /// Rows read from the live side since: signs of life while they are sorted.
    read: u64,
}

impl Telling {
    pub fn new(run: &Run) -> Self {
        let progress = Progress { stage: "opening".into(), rows: Some(0), tables: Some(0), ..Progress::default() };
        run.progress(&progress);
        Self { run: run.clone(), state: Mutex::new(State { progress, told: Instant::now(), before: 0, read: 0 }) }
    }

    /// How many tables there are, once that is known.
    pub fn tables(&self, tables: u64) {
        self.with(true, |state| state.progress.total_tables = Some(tables));
    }

    /// A table begins.
    pub fn table(&self, name: &str, stage: &str) {
        self.with(true, |state| {
            state.progress.stage = stage.to_owned();
            state.progress.table = Some(name.to_owned());
        });
    }

    /// Rows were read from the live side.
    pub fn read(&self, rows: u64) {
        self.with(false, |state| {
            state.read += rows;
            state.progress.rows = Some(state.progress.rows.unwrap_or(0).max(state.before + state.read));
        });
    }

    /// Rows of the table in work that are compared, those of both sides together.
    pub fn compared(&self, rows: u64) {
        self.with(false, |state| state.progress.rows = Some(state.before + rows));
    }

    /// The table in work is done.
    pub fn done(&self, rows: u64) {
        self.with(true, |state| {
            state.before += rows;
            state.read = 0;
            state.progress.rows = Some(state.before);
            state.progress.tables = Some(state.progress.tables.unwrap_or(0) + 1);
        });
    }

    fn with(&self, at_once: bool, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if at_once || state.told.elapsed() >= EVERY {
            state.told = Instant::now();
            self.run.progress(&state.progress);
        }
    }
}
