//! Time limits for the statements of client programs, enforced from outside: pg_dump and pg_restore set the server's own
//! limits to none.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

use super::connect::failed;
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

impl Limits {
    pub fn of(options: &Settings) -> Self {
        Self { lock: seconds(options, "lockTimeoutSeconds"), statement: seconds(options, "statementTimeoutSeconds") }
    }

    /// Watches the sessions whose application name is `name` and returns the error for the first statement over a limit;
    /// the caller ends its program, which cancels its statements. Never returns while all is well.
    pub async fn enforce(self, client: &Client, name: &str) -> Error {
        let Some(shortest) = self.lock.into_iter().chain(self.statement).min() else { return std::future::pending().await };
        let mut waiting: HashMap<i32, Instant> = HashMap::new();
        loop {
            tokio::time::sleep(PERIOD.min(shortest)).await;
            let seen = client
                .query(
                    "SELECT pid, query, extract(epoch FROM clock_timestamp() - query_start)::float8, wait_event_type = 'Lock', pg_stat_clear_snapshot()
                       FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'",
                    &[&name],
                )
                .await;
            let seen = match seen {
                Ok(seen) => seen,
                Err(cause) => return failed("watching the statements", &cause),
            };
            let locked = |row: &tokio_postgres::Row| row.get::<_, Option<bool>>(3) == Some(true);
            waiting.retain(|pid, _| seen.iter().any(|row| row.get::<_, i32>(0) == *pid && locked(row)));
            for row in &seen {
                let (pid, query, running): (i32, String, f64) = (row.get(0), row.get(1), row.get::<_, Option<f64>>(2).unwrap_or(0.0));
                let waits = locked(row).then(|| waiting.entry(pid).or_insert_with(Instant::now).elapsed());
                let over = match (self.lock, waits, self.statement) {
                    (Some(limit), Some(waits), _) if waits > limit => Some(("waited for a lock", limit, "lock")),
                    (_, _, Some(limit)) if running > limit.as_secs_f64() => Some(("ran", limit, "statement")),
                    _ => None,
                };
                if let Some((did, limit, which)) = over {
                    return Error::new(
                        Kind::Database,
                        format!("a statement {did} longer than {} s and was ended: {query:.160}", limit.as_secs()),
                    )
                    .hint(format!("raise the {which} timeout, or look for what blocks it"));
                }
            }
        }
    }
}

/// A timeout option; `None` when it is 0 or absent.
pub fn seconds(options: &Settings, name: &str) -> Option<Duration> {
    options.integer(name).and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}
