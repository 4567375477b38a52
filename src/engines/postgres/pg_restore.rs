//! One run of pg_restore, and what its messages mean.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{connect::Target, tools::Tool, watch::Limits};
use crate::{
    domain::{events::Progress, job::LogLevel, run::Run},
    engines::process::{Program, level_of},
    error::{Error, Kind, Result},
};

/// Errors kept for the message.
const SHOWN: usize = 20;

/// What pg_restore is told to do.
pub struct Orders<'a> {
    pub tool: &'a Tool,
    pub target: &'a Target,
    pub archive: &'a Path,
    pub arguments: Vec<String>,
    pub limits: Limits,
    /// End it at the first error that matters.
    pub stop_at_error: bool,
    /// The server does not know `transaction_timeout`, which a newer pg_restore sets: that error means nothing.
    pub old_server: bool,
    /// Tables whose rows are restored, for progress.
    pub tables: u64,
}

impl Orders<'_> {
    /// Runs it. `watcher` is a connection to watch it from. Returns the errors that it went past.
    pub async fn carry_out(self, watcher: &Client, run: &Run) -> Result<Vec<String>> {
        let name = format!("dbsnap {}", uuid::Uuid::new_v4().simple());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let first = CancellationToken::new();
        let program = Program::new(&self.tool.path)
            .args(["--no-password", "--verbose", "--format=custom"])
            .args(self.arguments)
            .arg(format!("--dbname={}", self.target.conninfo()))
            .arg(self.archive);
        let mut listener = Listener {
            heard: heard.clone(),
            first: self.stop_at_error.then(|| first.clone()),
            old_server: self.old_server,
            total: self.tables,
            run: run.clone(),
        };
        let program = self.target.give_to(program, run)?.env("PGAPPNAME", &name).watch(move |line| listener.hear(line));
        let child = program.spawn(run)?;
        // A second handle on the cancel: the first error ends the program, but not the whole run.
        let stopping = Run { cancel: run.cancel.child_token(), ..run.clone() };
        let ended = {
            let waiting = child.wait(&stopping);
            tokio::pin!(waiting);
            tokio::select! {
                ended = &mut waiting => ended,
                () = first.cancelled() => {
                    stopping.cancel.cancel();
                    waiting.await
                }
                error = self.limits.enforce(watcher, &name) => {
                    stopping.cancel.cancel();
                    // It ends because it was told to; the reason is the limit.
                    let _ = waiting.await;
                    return Err(error);
                }
            }
        };
        run.check()?;
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match ended {
            Ok(ended) if ended.status.success() && heard.errors == 0 => Ok(Vec::new()),
            // It goes on past errors and ends with 1; only then does it say how many there were. Those of its parallel
            // workers while they connect are said but not counted.
            Ok(_)
                if heard.ignored.is_some_and(|ignored| ignored <= heard.errors + heard.harmless)
                    && (heard.errors == 0 || !self.stop_at_error) =>
            {
                let unseen = heard.errors as usize - heard.texts.len().min(heard.errors as usize);
                let more = (unseen > 0).then(|| format!("and {unseen} more errors, see the log"));
                Ok(heard.texts.iter().cloned().chain(more).collect())
            }
            Ok(ended) if heard.errors == 0 => Err(ended.error("pg_restore")),
            Ok(_) => Err(heard.error()),
            Err(_) if heard.errors > 0 => Err(heard.error()),
            Err(error) => Err(error),
        }
    }
}

/// What was heard on standard error.
#[derive(Default)]
struct Heard {
    texts: Vec<String>,
    errors: u64,
    /// Errors that mean nothing.
    harmless: u64,
    /// How many errors it says it went past.
    ignored: Option<u64>,
    tables: u64,
}

impl Heard {
    fn error(&self) -> Error {
        let words = self.texts.join("; ");
        let more = if self.errors as usize > self.texts.len() {
            format!(" (and {} more)", self.errors as usize - self.texts.len())
        } else {
            String::new()
        };
        let error = Error::new(Kind::Restore, format!("pg_restore failed: {words}{more}"));
        match hint(&words) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The next step for the errors people meet most.
pub fn hint(words: &str) -> Option<&'static str> {
    if words.contains("role \"") && words.contains("does not exist") {
        Some("create the role, restore roles too, or restore without owners and privileges")
    } else if words.contains("must be superuser")
        || words.contains("permission denied")
        || words.contains("must be able to SET ROLE")
        || words.contains("must be member of role")
    {
        Some("restore as a user with more rights, or without owners and privileges")
    } else if words.contains("extension \"") && words.contains("is not available") {
        Some("install the extension on the server")
    } else if words.contains("already exists") {
        Some("restore into a new database, or in clean mode")
    } else {
        None
    }
}

struct Listener {
    heard: Arc<Mutex<Heard>>,
    first: Option<CancellationToken>,
    old_server: bool,
    total: u64,
    run: Run,
}

impl Listener {
    fn hear(&mut self, line: &str) -> LogLevel {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(message) = line.strip_prefix("pg_restore: ") else {
            // The continuation of a message, such as the statement that failed.
            return LogLevel::Debug;
        };
        if let Some(error) = message.strip_prefix("error: ") {
            if self.old_server && error.ends_with("unrecognized configuration parameter \"transaction_timeout\"") {
                heard.harmless += 1;
                return LogLevel::Debug;
            }
            heard.errors += 1;
            if heard.texts.len() < SHOWN {
                heard.texts.push(error.trim_start_matches("could not execute query: ").to_owned());
            }
            if let Some(first) = &self.first {
                first.cancel();
            }
            return LogLevel::Error;
        }
        if let Some(count) = message.strip_prefix("warning: errors ignored on restore: ") {
            heard.ignored = count.trim().parse().ok();
            return LogLevel::Debug;
        }
        if let Some(table) = message.strip_prefix("processing data for table ") {
            heard.tables += 1;
            self.run.progress(&Progress {
                stage: "restoring".into(),
                tables: Some(heard.tables.min(self.total)),
                total_tables: Some(self.total),
                table: Some(table.trim_matches('"').to_owned()),
                ..Progress::default()
            });
        }
        match level_of(line) {
            LogLevel::Warn => LogLevel::Warn,
            _ => LogLevel::Debug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::{Learned, Silent};

    fn listen(old_server: bool, lines: &[&str]) -> (Heard, bool) {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let first = CancellationToken::new();
        let run = Run {
            cancel: CancellationToken::new(),
            observer: Arc::new(Silent),
            scratch: "/tmp".into(),
            tool_dirs: Vec::new(),
            learned: Learned::default(),
            limits: Default::default(),
        };
        let mut listener = Listener { heard: heard.clone(), first: Some(first.clone()), old_server, total: 9, run };
        for line in lines {
            listener.hear(line);
        }
        drop(listener);
        (Arc::into_inner(heard).unwrap().into_inner().unwrap(), first.is_cancelled())
    }

    const TIMEOUT: &str =
        "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"";

    #[test]
    fn only_the_timeout_that_an_old_server_does_not_know_is_harmless() {
        let (heard, stopped) =
            listen(true, &[TIMEOUT, "Command was: SET transaction_timeout = 0;", "pg_restore: warning: errors ignored on restore: 1"]);
        assert_eq!((heard.errors, heard.harmless, heard.ignored, stopped), (0, 1, Some(1), false));
        let (heard, stopped) = listen(false, &[TIMEOUT]);
        assert_eq!((heard.errors, stopped), (1, true));
    }

    #[test]
    fn an_error_names_the_cause_and_the_next_step() {
        let (heard, _) = listen(true, &["pg_restore: error: could not execute query: ERROR:  role \"app\" does not exist"]);
        assert_eq!(
            heard.error().to_string(),
            "pg_restore failed: ERROR:  role \"app\" does not exist (create the role, restore roles too, or restore without owners and privileges)"
        );
    }
}
