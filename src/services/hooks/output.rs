//! What a hook says, up to a limit: into the job's log, each line under the hook's name.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::{events::Progress, job::LogLevel, run::Observer};

/// Lines and bytes of one hook that reach the log. It may print a gigabyte: the rest is counted.
const MOST_LINES: usize = 200;
const MOST_BYTES: usize = 32 * 1024;
/// Bytes of one line.
const LONGEST_LINE: usize = 1024;
/// Lines that an error repeats.
const TAIL: usize = 4;

/// Stands in for the job's observer while a hook runs.
pub(super) struct Output {
    name: String,
    inner: Arc<dyn Observer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: usize,
    bytes: usize,
    left_out: u64,
    /// The beginning of a line of standard output.
    part: Vec<u8>,
    tail: VecDeque<String>,
    closed: bool,
}

impl Output {
    pub(super) fn new(name: &str, inner: Arc<dyn Observer>) -> Self {
        Self { name: name.to_owned(), inner, state: Mutex::default() }
    }

    /// Takes a piece of standard output.
    pub(super) fn feed(&self, piece: &[u8]) {
        let mut state = self.state();
        if state.is_full() {
            state.left_out += piece.len() as u64;
            return;
        }
        for chunk in piece.split_inclusive(|byte| *byte == b'\n') {
            for part in chunk.chunks(LONGEST_LINE) {
                state.part.extend_from_slice(part);
                if state.part.ends_with(b"\n") || state.part.len() >= LONGEST_LINE {
                    self.end_line(&mut state);
                }
            }
        }
    }

    /// Nothing is logged after this: what a hook left behind may go on to talk. Returns its last words, for an error.
    pub(super) fn close(&self) -> String {
        let mut state = self.state();
        self.end_line(&mut state);
        state.closed = true;
        if state.left_out > 0 {
            let message = format!("hook {}: {} more bytes of its output were left out", self.name, state.left_out);
            self.inner.log(LogLevel::Warn, &message);
        }
        match state.tail.make_contiguous() {
            [] => ": it said nothing".to_owned(),
            lines => format!(": {}", lines.join("; ")),
        }
    }

    fn end_line(&self, state: &mut State) {
        let part = std::mem::take(&mut state.part);
        self.line(state, LogLevel::Info, String::from_utf8_lossy(&part).trim_end());
    }

    fn line(&self, state: &mut State, level: LogLevel, line: &str) {
        if line.is_empty() || state.closed {
            return;
        }
        if state.is_full() {
            state.left_out += line.len() as u64;
            return;
        }
        let end = (0..=LONGEST_LINE.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        let line = &line[..end];
        state.lines += 1;
        state.bytes += line.len();
        if state.tail.len() == TAIL {
            state.tail.pop_front();
        }
        state.tail.push_back(line.to_owned());
        self.inner.log(level, &format!("hook {}: {line}", self.name));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.lines >= MOST_LINES || self.bytes >= MOST_BYTES
    }
}

impl Observer for Output {
    fn log(&self, level: LogLevel, message: &str) {
        self.line(&mut self.state(), level, message);
    }

    fn progress(&self, progress: &Progress) {
        self.inner.progress(progress);
    }
}
