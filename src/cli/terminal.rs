//! Shows progress and log lines on a terminal; on anything else only warnings and errors.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::domain::{events::Progress, job::LogLevel, run::Observer};

/// One progress bar on standard error.
pub struct Terminal {
    bar: ProgressBar,
    verbose: bool,
}

impl Terminal {
    /// `verbose` shows every log line; otherwise warnings and errors only.
    pub fn new(verbose: bool) -> Arc<Self> {
        let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(100), target);
        bar.set_style(style());
        bar.enable_steady_tick(Duration::from_millis(100));
        Arc::new(Self { bar, verbose })
    }

    /// Removes the bar.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Observer for Terminal {
    fn log(&self, level: LogLevel, message: &str) {
        match level {
            LogLevel::Warn | LogLevel::Error => self.say(&format!("{level}: {message}")),
            LogLevel::Info if self.verbose => self.say(message),
            _ => {}
        }
    }

    fn progress(&self, progress: &Progress) {
        match progress.percent() {
            Some(percent) => self.bar.set_position(u64::from(percent)),
            None => self.bar.set_position(0),
        }
        self.bar.set_message(message(progress));
    }
}

/// Progress in words: the stage, bytes, tables, the table in work.
pub fn message(progress: &Progress) -> String {
    let mut words = progress.stage.clone();
    if progress.bytes > 0 {
        words.push_str(&format!("  {}", HumanBytes(progress.bytes)));
    }
    if let (Some(done), Some(total)) = (progress.tables, progress.total_tables) {
        words.push_str(&format!("  table {done} of {total}"));
    }
    if let Some(table) = &progress.table {
        words.push_str(&format!("  {table}"));
    }
    words
}

pub fn style() -> ProgressStyle {
    // The template is a constant: it is known to be well-formed.
    ProgressStyle::with_template("{spinner} [{bar:24}] {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
