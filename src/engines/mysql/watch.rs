//! Time limits for the statements of a client program, enforced from outside: no release of every program can be told.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    connect::clean,
    record::{Record, records},
};
use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::{Error, Kind},
};

/// How often the server is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// Limits for the sessions of one program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// How long a statement may wait for a lock.
    pub lock: Option<Duration>,
    /// How long a statement may run.
    pub statement: Option<Duration>,
}

/// Why a program is to be ended.
pub struct Exceeded {
    pub error: Error,
    /// The session whose statement is over a limit.
    session: Option<u64>,
}

impl Exceeded {
    /// Ends the session, which would wait on for its lock or its reader. Only after the program itself: it would tell of a
    /// broken connection before the reason was known.
    pub async fn end(&self, connection: &mut Conn) {
        if let Some(session) = self.session {
            // It may have ended with its program.
            let _ = connection.query_drop(format!("KILL {session}")).await;
        }
    }
}

/// A session as `SHOW FULL PROCESSLIST` shows it.
struct Session {
    id: u64,
    running: Duration,
    state: String,
    statement: String,
}

impl Session {
    /// `None` for a session that runs nothing.
    fn read(row: &Record) -> Option<Self> {
        let statement = row.owned(7);
        if statement.is_empty() {
            return None;
        }
        Some(Self { id: row.number(0), running: Duration::from_secs(row.number(5)), state: row.owned(6), statement })
    }

    fn waits_for_a_lock(&self) -> bool {
        let state = self.state.to_ascii_lowercase();
        state.contains("lock") && state.contains("wait")
    }
}

impl Limits {
    pub fn of(options: &Settings) -> Self {
        Self { lock: seconds(options, "lockTimeoutSeconds"), statement: seconds(options, "statementTimeoutSeconds") }
    }

    /// Watches the account's sessions that are newer than the one called `after` and use one of `databases`, and returns the
    /// first statement over a limit. Never returns while all is well. `connection` must belong to the same account: every
    /// account may see its own sessions.
    pub async fn enforce(self, connection: &mut Conn, after: u64, databases: &[String]) -> Exceeded {
        let Some(shortest) = self.lock.into_iter().chain(self.statement).min() else { return std::future::pending().await };
        let own = u64::from(connection.id());
        let mut waiting: HashMap<u64, Instant> = HashMap::new();
        loop {
            tokio::time::sleep(PERIOD.min(shortest)).await;
            let rows = match records(connection, "SHOW FULL PROCESSLIST").await {
                Ok(rows) => rows,
                Err(failure) => return Exceeded { error: failure.while_doing("watching the statements"), session: None },
            };
            let sessions: Vec<Session> = rows
                .iter()
                .filter(|row| databases.iter().any(|database| database == row.text(3)))
                .filter_map(Session::read)
                .filter(|session| session.id > after && session.id != own)
                .collect();
            waiting.retain(|id, _| sessions.iter().any(|session| session.id == *id && session.waits_for_a_lock()));
            for session in &sessions {
                let waits = session.waits_for_a_lock().then(|| waiting.entry(session.id).or_insert_with(Instant::now).elapsed());
                let over = match (self.lock, waits, self.statement) {
                    (Some(limit), Some(waits), _) if waits > limit => Some(("waited for a lock", limit, "lock")),
                    (_, _, Some(limit)) if session.running > limit => Some(("ran", limit, "statement")),
                    _ => None,
                };
                let Some((did, limit, which)) = over else { continue };
                let error = Error::new(
                    Kind::Database,
                    format!("a statement {did} longer than {} s and was ended: {:.160}", limit.as_secs(), clean(&session.statement)),
                )
                .hint(format!("raise the {which} timeout, or look for what blocks it"));
                return Exceeded { error, session: Some(session.id) };
            }
        }
    }
}

/// A timeout option; `None` when it is 0 or absent.
pub fn seconds(options: &Settings, name: &str) -> Option<Duration> {
    options.integer(name).and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}
