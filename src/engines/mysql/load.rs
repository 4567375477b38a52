//! Runs a script through the server's own client, fed over its standard input with the statements that are wanted.
//!
//! The client never sees anything but whole SQL statements, each ended by a random mark that no script can hold; its own
//! commands are switched off besides.

use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use mysql_async::prelude::Queryable as _;
use tokio::sync::mpsc;

use super::{
    choose::{Choice, Chooser, Scope},
    connect::{Target, failed, literal},
    contents::Contents,
    lexer::Lexer,
    tools::Tool,
    version::Flavour,
};
use crate::{
    domain::{
        events::Progress,
        job::LogLevel,
        run::Run,
        stream::{DEPTH, PIECE},
    },
    error::{Context, Error, Kind, Result},
};

/// Errors that are kept word by word.
const KEPT: usize = 100;
/// How long a session that was told to end may take.
const LEAVING: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// One run of a script.
pub struct Load<'a> {
    /// The server, and the database that is selected first where there is one.
    pub target: &'a Target,
    pub tool: &'a Tool,
    pub script: &'a Path,
    pub contents: &'a Arc<Contents>,
    pub choice: Choice,
    /// Go past errors.
    pub lenient: bool,
    /// How long a statement may wait for others' locks; `None` for ever.
    pub lock_timeout: Option<Duration>,
    /// How long the server may take nothing; `None` for ever.
    pub stall: Option<Duration>,
}

/// What a run told.
#[derive(Debug, Default)]
pub struct Told {
    pub warnings: Vec<String>,
    /// Errors that it went past.
    pub errors: Vec<String>,
}

/// Error messages of the client, as they appear.
#[derive(Debug, Default)]
struct Said {
    errors: Vec<String>,
    count: u64,
    codes: Vec<u32>,
}

impl Load<'_> {
    /// Runs it. When it fails or is cancelled, its session on the server has ended before this returns, if the server
    /// can be reached.
    pub async fn run(&self, run: &Run) -> Result<Told> {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let lock = format!("dbsnap {random}");
        let said = Arc::new(Mutex::new(Said::default()));
        let mut program = self.target.program(self.tool, run)?;
        // The clients take 15 characters at most; the rest of a UUID is not random everywhere.
        let mark = format!("~{}~", &random[19..]);
        program = program
            .args(["--batch", "--binary-mode", "--comments", "--skip-auto-rehash", "--skip-reconnect", "--local-infile=0"])
            .arg(format!("--delimiter={mark}"));
        // As far as the client's release knows them.
        program = match self.tool.flavour {
            Flavour::MySql => program.args(["--loose-commands=OFF", "--loose-system-command=OFF"]),
            Flavour::MariaDb => program.arg("--loose-sandbox"),
        };
        if self.lenient {
            program = program.arg("--force");
        }
        if let Scope::One { target, .. } = &self.choice.scope {
            program = program.arg(format!("--database={target}"));
        }
        if let Some(stall) = self.stall {
            program = program.stall(stall);
        }
        let mut child = program.stdin().watch(watch(said.clone())).spawn(run)?;
        let (mut pieces, position, reader) = self.read_ahead(mark, &lock)?;
        let feeding = async {
            tokio::select! {
                fed = child.take_from(&mut pieces, run) => fed,
                never = self.tell_progress(&position, run) => never,
            }
        };
        let fed = feeding.await;
        // The reader ends at its next piece.
        drop(pieces);
        let ended = match fed {
            Ok(()) => child.wait(run).await.map(|ended| ended.status.success().then_some(()).ok_or_else(|| ended.tail.join("; "))),
            Err(error) => {
                child.kill().await;
                Err(error)
            }
        };
        let read = reader.await.context(Kind::Internal, || "reading the script".into())?;
        let mut said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        if !matches!(ended, Ok(Ok(()))) {
            self.end_session(&lock, run).await;
        }
        let outcome = ended?;
        let lost = said.codes.iter().any(|code| [2006, 2013, 2026, 2055].contains(code));
        if outcome.is_err() && (!self.lenient || lost || said.errors.is_empty()) {
            let words = said.errors.into_iter().next().unwrap_or_else(|| outcome.err().unwrap_or_default());
            let words = if words.is_empty() { format!("{} ended without a word", self.tool) } else { words };
            return Err(self.explain(words, said.codes.first().copied()));
        }
        let warnings = read?;
        if said.count > said.errors.len() as u64 {
            said.errors.push(format!("and {} errors more", said.count - said.errors.len() as u64));
        }
        Ok(Told { warnings: warnings.into_iter().collect(), errors: said.errors })
    }

    /// The error with the next step for the reader.
    fn explain(&self, words: String, code: Option<u32>) -> Error {
        let error = Error::new(Kind::Restore, words);
        match code {
            Some(1050 | 1304 | 1359 | 1537) => error.hint("restore into a new database, or in the mode that replaces what is there"),
            Some(1062) => error.hint("the rows are there already: restore into a new database, or in the mode that replaces what is there"),
            Some(3105) => error.hint("dumps of MariaDB hold values for generated columns, which MySQL refuses: restore into MariaDB"),
            Some(1205) => error.hint("end the other sessions, or raise the lock timeout").retryable(),
            Some(1227 | 1449) if !self.contents.definers.is_empty() && !self.choice.without_definers => {
                error.hint("the account may not name other definers: restore with the option definers set to drop, or grant it that right")
            }
            Some(1419) => error.hint("the server writes a binary log: set log_bin_trust_function_creators there, or grant SUPER"),
            Some(1044 | 1142 | 1227 | 1370) => error.hint("grant the user the missing right, or restore as another one"),
            Some(1153) => error.hint("raise max_allowed_packet on the server"),
            Some(2006 | 2013 | 2055) => self.target.explain(error.hint("look into the server's log")),
            _ => error,
        }
    }

    /// A thread that chooses statements while the client works: pieces for it, and how far in the script it is.
    #[expect(clippy::type_complexity, reason = "the three ends of one thread")]
    fn read_ahead(
        &self,
        mark: String,
        lock: &str,
    ) -> Result<(mpsc::Receiver<Result<Bytes>>, Arc<AtomicU64>, tokio::task::JoinHandle<Result<std::collections::BTreeSet<String>>>)> {
        let (send, receive) = mpsc::channel(DEPTH);
        let position = Arc::new(AtomicU64::new(0));
        let mut file = File::open(self.script).context(Kind::Restore, || format!("opening {}", self.script.display()))?;
        let (contents, choice, at) = (self.contents.clone(), self.choice.clone(), position.clone());
        // IS_USED_LOCK finds the session by it.
        let mut first =
            vec![format!("DO GET_LOCK({}, 0)", literal(lock)), "SET SESSION wait_timeout = 86400, net_read_timeout = 3600".to_owned()];
        let limit = self.lock_timeout.map_or(31_536_000, |limit| limit.as_secs().max(1));
        first.push(format!("SET SESSION lock_wait_timeout = {limit}"));
        let reader = tokio::task::spawn_blocking(move || {
            let closed = || Error::internal("the client reads no more");
            let mut chooser = Chooser::new(&choice, &contents, &mark, |piece| send.blocking_send(Ok(piece.into())).map_err(|_| closed()));
            let read = (|| {
                for sql in first {
                    chooser.say(&sql)?;
                }
                let (mut lexer, mut piece) = (Lexer::default(), vec![0; PIECE]);
                loop {
                    let length = file.read(&mut piece).context(Kind::Restore, || "reading the script".into())?;
                    if length == 0 {
                        break;
                    }
                    lexer.feed(&piece[..length], &mut chooser)?;
                    at.fetch_add(length as u64, Ordering::Relaxed);
                }
                lexer.finish(&mut chooser)?;
                chooser.finish()
            })();
            match read {
                Ok(warnings) => Ok(warnings),
                Err(error) => {
                    let told = Error::new(error.kind, error.context.clone());
                    // A closed channel: the client has ended, and says why.
                    if send.blocking_send(Err(error)).is_err() { Ok(Default::default()) } else { Err(told) }
                }
            }
        });
        Ok((receive, position, reader))
    }

    async fn tell_progress<T>(&self, position: &AtomicU64, run: &Run) -> T {
        let total = std::fs::metadata(self.script).map(|metadata| metadata.len()).ok();
        loop {
            let bytes = position.load(Ordering::Relaxed);
            run.progress(&Progress { stage: "restoring".into(), bytes, total_bytes: total, ..Progress::default() });
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Ends the script's session, which goes on with its statement when only its client is gone, and waits until it has.
    async fn end_session(&self, lock: &str, run: &Run) {
        let ending = async {
            // Not cancelled with the run: this is what a cancel does.
            let run = Run { cancel: tokio_util::sync::CancellationToken::new(), ..run.clone() };
            let mut connection = self.target.connect_to_server(&run).await?;
            let find = format!("SELECT IS_USED_LOCK({})", literal(lock));
            let deadline = Instant::now() + LEAVING;
            loop {
                let session: Option<Option<u64>> =
                    connection.query_first(&find).await.map_err(|cause| failed("looking for the session of the script", cause))?;
                let Some(session) = session.flatten() else { return Ok(()) };
                if Instant::now() > deadline {
                    return Err(Error::new(Kind::Database, format!("session {session} does not end")));
                }
                // It may have ended meanwhile: the next look tells.
                let _ = connection.query_drop(format!("KILL {session}")).await;
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended: Result<()> = ending.await;
        if let Err(error) = ended {
            run.warn(format!("the session of the script may go on for a while: {error}"));
        }
    }
}

/// Gathers the client's errors: `ERROR 1146 (42S02) at line 12: Table 'a.b' doesn't exist`.
fn watch(said: Arc<Mutex<Said>>) -> impl FnMut(&str) -> LogLevel + Send + 'static {
    move |line| {
        let Some((code, text)) = error_of(line) else {
            // Such as a warning that an option is not known to this release.
            return LogLevel::Debug;
        };
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.count += 1;
        if said.errors.len() < KEPT {
            said.errors.push(text);
            said.codes.push(code);
        }
        LogLevel::Error
    }
}

/// The number of an error and how a person reads it.
fn error_of(line: &str) -> Option<(u32, String)> {
    let rest = &line[line.find("ERROR ")? + 6..];
    let (code, rest) = rest.split_once(' ')?;
    let code = code.trim_end_matches(':').parse().ok()?;
    let rest = rest.split_once(')').filter(|(state, _)| state.starts_with('(')).map_or(rest, |(_, rest)| rest).trim_start();
    let (place, words) = match rest.strip_prefix("at line ").and_then(|rest| rest.split_once(": ")) {
        Some((line, words)) => (format!("line {line}: "), words),
        None => (String::new(), rest.trim_start_matches(": ")),
    };
    Some((code, format!("{place}{words} (error {code})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_clients_are_read() {
        for (line, expect) in [
            ("ERROR 1146 (42S02) at line 12: Table 'a.b' doesn't exist", Some((1146, "line 12: Table 'a.b' doesn't exist (error 1146)"))),
            ("ERROR 2013 (HY000) at line 3: Lost connection", Some((2013, "line 3: Lost connection (error 2013)"))),
            ("ERROR 1045 (28000): Access denied", Some((1045, "Access denied (error 1045)"))),
            ("mysql: [Warning] unknown option '--loose-commands'", None),
        ] {
            let found = error_of(line);
            assert_eq!(found.as_ref().map(|(code, text)| (*code, text.as_str())), expect, "{line}");
        }
    }
}
