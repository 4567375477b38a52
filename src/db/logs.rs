//! The stored log lines of jobs.

use deadpool_sqlite::rusqlite::{Row, params};

use super::{
    Db,
    fault::Outcome,
    query::{self, text},
    row,
};
use crate::{
    domain::{
        ids::JobId,
        job::{LogLevel, LogLine},
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
    let least = min_level.unwrap_or(LogLevel::Debug);
    // The levels stand in order of weight.
    let levels: Vec<_> = LogLevel::ALL.iter().skip_while(|level| **level != least).map(|level| format!("'{level}'")).collect();
    let sql = format!(
        "SELECT seq, job_id, at, level, message FROM execution_logs WHERE job_id = ?1 AND seq > ?2 AND level IN ({})
         ORDER BY seq LIMIT ?3",
        levels.join(", ")
    );
    let values = [text(job), after_seq.into(), i64::from(limit).into()];
    db.read("reading log lines", move |db| query::all(db, &sql, &values, read)).await
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
