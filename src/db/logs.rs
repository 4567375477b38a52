//! The stored log lines of jobs.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::{Fault, Outcome},
    query::{self, Conditions, holding, text},
    row,
};
use crate::{
    domain::{
        filter::LogFilter,
        ids::{JobId, OrganizationId},
        job::{FoundLine, LogLevel, LogLine},
        time::Moment,
    },
    error::Result,
};

/// A line that has no number yet.
#[derive(Debug, Clone)]
pub struct NewLine {
    pub job_id: JobId,
    pub at: Moment,
    pub level: LogLevel,
    pub message: String,
}

/// Stores lines in one transaction and numbers them.
pub async fn append(db: &Db, lines: &[NewLine]) -> Result<Vec<LogLine>> {
    let lines = lines.to_vec();
    db.write("storing log lines", move |db| {
        let mut insert =
            db.prepare_cached("INSERT INTO execution_logs (job_id, at, level, message) VALUES (?1, ?2, ?3, ?4) RETURNING seq")?;
        lines
            .into_iter()
            .map(|line| {
                let values = params![line.job_id.to_string(), line.at.0, line.level.as_str(), line.message];
                let seq = insert.query_row(values, |row| row.get(0))?;
                Ok(LogLine { seq, job_id: line.job_id, at: line.at, level: line.level, message: line.message })
            })
            .collect()
    })
    .await
}

/// A job's lines after number `after_seq`, oldest first, at most `limit`.
pub async fn list(db: &Db, job: JobId, after_seq: i64, min_level: Option<LogLevel>, limit: u32) -> Result<Vec<LogLine>> {
    let sql = format!(
        "SELECT seq, job_id, at, level, message FROM execution_logs WHERE job_id = ?1 AND seq > ?2 AND level IN ({})
         ORDER BY seq LIMIT ?3",
        at_least(min_level.unwrap_or(LogLevel::Debug))
    );
    let values = [text(job), after_seq.into(), i64::from(limit).into()];
    db.read("reading log lines", move |db| query::all(db, &sql, &values, read)).await
}

/// The numbers between which the lines are that a search can find: from the first on, to before the second. Lines are
/// numbered as they are stored, which is seconds after they were said at most.
pub async fn bounds(db: &Db, filter: &LogFilter) -> Result<(i64, i64)> {
    /// Between what a line says of its time and when it got its number, milliseconds.
    const SLACK: i64 = 60_000;

    let (start, end) = (filter.start, filter.end);
    db.read("looking through the logs", move |db| {
        let number = |sql: &str, values: &[_]| {
            let found = query::first(db, sql, values, |row| row::plain::<Option<i64>>(row, "seq"))?;
            Ok::<_, Fault>(found.flatten())
        };
        let first = match start {
            Some(start) => {
                let sql = "SELECT seq FROM execution_logs WHERE at >= ?1 ORDER BY at, seq LIMIT 1";
                number(sql, &[start.plus(-SLACK).0.into()])?
            }
            None => number("SELECT MIN(seq) AS seq FROM execution_logs", &[])?,
        };
        let last = match end {
            Some(end) => {
                let sql = "SELECT seq FROM execution_logs WHERE at <= ?1 ORDER BY at DESC, seq DESC LIMIT 1";
                number(sql, &[end.plus(SLACK).0.into()])?
            }
            None => number("SELECT MAX(seq) AS seq FROM execution_logs", &[])?,
        };
        Ok(first.zip(last).map_or((0, 0), |(first, last)| (first, last + 1)))
    })
    .await
}

/// The lines of every job that match, numbered from `from` to before `to`, in this order, at most `limit`.
pub async fn search(
    db: &Db,
    organization: OrganizationId,
    filter: &LogFilter,
    (from, to): (i64, i64),
    newest_first: bool,
    limit: u32,
) -> Result<Vec<FoundLine>> {
    let conditions = Conditions::new("seq >= ?", from)
        .and("seq < ?", Some(to))
        .and("EXISTS (SELECT 1 FROM jobs WHERE jobs.id = execution_logs.job_id AND jobs.organization_id = ?)", Some(text(organization)))
        .and("(SELECT jobs.kind FROM jobs WHERE jobs.id = execution_logs.job_id) = ?", filter.kind.map(text))
        .and("job_id = ?", filter.job_id.map(text))
        .and("at >= ?", filter.start.map(|at| at.0))
        .and("at <= ?", filter.end.map(|at| at.0))
        .and("LOWER(message) LIKE ? ESCAPE '\\'", filter.q.as_deref().map(holding));
    let (conditions, mut values) = conditions.into_parts();
    values.push(i64::from(limit).into());
    let sql = format!(
        "SELECT seq, job_id, at, level, message, (SELECT jobs.kind FROM jobs WHERE jobs.id = execution_logs.job_id) AS kind
         FROM execution_logs WHERE {conditions} AND level IN ({}) ORDER BY seq{} LIMIT ?",
        at_least(filter.level.unwrap_or(LogLevel::Debug)),
        if newest_first { " DESC" } else { "" },
    );
    let found = |row: &Row<'_>| Ok(FoundLine { kind: row::parsed(row, "kind")?, line: read(row)? });
    db.read("looking through the logs", move |db| query::all(db, &sql, &values, found)).await
}

/// This level and those above it, for an `IN` list.
fn at_least(least: LogLevel) -> String {
    // The levels stand in order of weight.
    let levels: Vec<_> = LogLevel::ALL.iter().skip_while(|level| **level != least).map(|level| format!("'{level}'")).collect();
    levels.join(", ")
}

fn read(row: &Row<'_>) -> Outcome<LogLine> {
    Ok(LogLine {
        seq: row::plain(row, "seq")?,
        job_id: row::parsed(row, "job_id")?,
        at: row::moment(row, "at")?,
        level: row::parsed(row, "level")?,
        message: row::plain(row, "message")?,
    })
}
