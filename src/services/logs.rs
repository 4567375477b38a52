//! The logs of all jobs: searched, and taken away as a file.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use serde::{Deserialize, Serialize};

use super::Ctx;
use crate::{
    db,
    domain::{
        filter::LogFilter,
        job::{FoundLine, LogLine},
        permissions::{Actor, Permission},
        stream::ByteStream,
    },
    error::{Context, Error, Kind, Result},
};

/// Lines that one search shows.
const SHOWN: u32 = 200;
/// Lines that one search looks at, so that one that finds little ends in time. The next goes on where it stopped.
const LOOKED_AT: i64 = 100_000;
/// Lines that an export reads at a time.
const EXPORTED: i64 = 2_000;

/// A part of what a search finds.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LogPage {
    /// The newest first.
    pub lines: Vec<FoundLine>,
    /// Ask again with this as `before` for what is older; none: everything was looked at. There may be a next part even
    /// though this one is empty: a search looks at a limited number of lines at a time.
    pub next: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line each, with what would break it written as escapes.
    #[default]
    Text,
    /// One JSON object a line, as the API shows it.
    Ndjson,
}

/// Log lines as a file: its name, and its bytes as they are read.
pub struct LogFile {
    pub name: String,
    pub content_type: &'static str,
    pub body: ByteStream,
}

impl LogFile {
    pub(super) fn new(stem: &str, format: LogFormat, body: ByteStream) -> Self {
        let (ending, content_type) = match format {
            LogFormat::Text => ("log", "text/plain; charset=utf-8"),
            LogFormat::Ndjson => ("ndjson", "application/x-ndjson"),
        };
        Self { name: format!("{stem}.{ending}"), content_type, body }
    }
}

/// The newest matching lines before number `before`.
pub async fn search(ctx: &Ctx, actor: &Actor, filter: &LogFilter, before: Option<i64>) -> Result<LogPage> {
    actor.require(Permission::View)?;
    let (first, end) = db::logs::bounds(&ctx.db, filter).await?;
    let end = before.map_or(end, |before| before.min(end));
    // The lines of one job are found by its own index, however many others there are.
    let from = if filter.job_id.is_some() { first } else { first.max(end.saturating_sub(LOOKED_AT)) };
    let mut lines = db::logs::search(&ctx.db, actor.organization_id, filter, (from, end), true, SHOWN + 1).await?;
    let next = match lines.len() > SHOWN as usize {
        true => {
            lines.truncate(SHOWN as usize);
            lines.last().map(|last| last.line.seq)
        }
        false => (from > first).then_some(from),
    };
    Ok(LogPage { lines, next })
}

/// Every matching line, the oldest first, as a file that is made while it is sent.
pub async fn export(ctx: Arc<Ctx>, actor: &Actor, filter: LogFilter, format: LogFormat) -> Result<LogFile> {
    actor.require(Permission::View)?;
    let (first, end) = db::logs::bounds(&ctx.db, &filter).await?;
    let organization = actor.organization_id;
    let parts = try_unfold(first, move |from| {
        let (ctx, filter) = (Arc::clone(&ctx), filter.clone());
        async move {
            if from >= end {
                return Ok(None);
            }
            let to = from.saturating_add(EXPORTED).min(end);
            let limit = u32::try_from(EXPORTED).unwrap_or(u32::MAX);
            let lines = db::logs::search(&ctx.db, organization, &filter, (from, to), false, limit).await?;
            let mut text = String::new();
            lines.iter().try_for_each(|found| write(&found.line, Some(found), format, &mut text))?;
            Ok::<_, Error>(Some((Bytes::from(text), to)))
        }
    });
    Ok(LogFile::new("dbsnap-logs", format, Box::pin(parts)))
}

/// Adds a line to a file. With `found` it is one among those of other jobs, and says whose it is.
pub(super) fn write(line: &LogLine, found: Option<&FoundLine>, format: LogFormat, text: &mut String) -> Result<()> {
    match format {
        LogFormat::Ndjson => {
            let json = found.map_or_else(|| serde_json::to_string(line), serde_json::to_string);
            text.push_str(&json.context(Kind::Internal, || "writing a log line".into())?);
        }
        LogFormat::Text => {
            text.push_str(&format!("{} {:5} ", line.at, line.level.as_str()));
            if let Some(FoundLine { kind, .. }) = found {
                text.push_str(&format!("{kind} {} ", line.job_id));
            }
            for c in line.message.chars() {
                if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
            }
        }
    }
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ids::JobId,
        job::{JobKind, LogLevel},
        time::Moment,
    };

    #[test]
    fn a_message_cannot_forge_a_line_of_its_own() {
        let message = "dumping\n2026-01-01T00:00:00.000Z error backup forged\u{1b}[2J é".to_owned();
        let line = LogLine { seq: 7, job_id: JobId::new(), at: Moment(0), level: LogLevel::Info, message };
        let found = FoundLine { kind: JobKind::Backup, line };
        let mut text = String::new();
        write(&found.line, Some(&found), LogFormat::Text, &mut text).unwrap();
        assert!(text.starts_with("1970-01-01T00:00:00.000Z info  backup ") && text.ends_with("forged\\u{1b}[2J é\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        let mut own = String::new();
        write(&found.line, None, LogFormat::Text, &mut own).unwrap();
        assert!(own.starts_with("1970-01-01T00:00:00.000Z info  dumping\\n2026") && own.lines().count() == 1, "{own}");
        let mut json = String::new();
        write(&found.line, Some(&found), LogFormat::Ndjson, &mut json).unwrap();
        assert_eq!(json.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((value["kind"].as_str(), value["level"].as_str(), value["seq"].as_i64()), (Some("backup"), Some("info"), Some(7)));
    }
}
