//! The logs of all jobs: searched, and taken away as a file.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream::try_unfold};
use serde::{Deserialize, Serialize};

use super::Ctx;
use crate::{
    db,
    domain::{
        filter::LogFilter,
        job::FoundLine,
        permissions::{Actor, Permission},
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line each, with what would break it written as escapes.
    #[default]
    Text,
    /// One JSON object a line.
    Ndjson,
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
pub async fn export(
    ctx: Arc<Ctx>,
    actor: &Actor,
    filter: LogFilter,
    format: LogFormat,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
    actor.require(Permission::View)?;
    let (first, end) = db::logs::bounds(&ctx.db, &filter).await?;
    let organization = actor.organization_id;
    Ok(try_unfold(first, move |from| {
        let (ctx, filter) = (Arc::clone(&ctx), filter.clone());
        async move {
            if from >= end {
                return Ok(None);
            }
            let to = from.saturating_add(EXPORTED).min(end);
            let limit = u32::try_from(EXPORTED).unwrap_or(u32::MAX);
            let lines = db::logs::search(&ctx.db, organization, &filter, (from, to), false, limit).await?;
            let mut text = String::new();
            lines.iter().try_for_each(|line| write(line, format, &mut text))?;
            Ok::<_, Error>(Some((Bytes::from(text), to)))
        }
    }))
}

fn write(found: &FoundLine, format: LogFormat, text: &mut String) -> Result<()> {
    match format {
        LogFormat::Ndjson => {
            text.push_str(&serde_json::to_string(found).context(Kind::Internal, || "writing a log line".into())?);
        }
        LogFormat::Text => {
            let FoundLine { kind, line } = found;
            text.push_str(&format!("{} {:5} {kind} {} ", line.at, line.level.as_str(), line.job_id));
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
        job::{JobKind, LogLevel, LogLine},
        time::Moment,
    };

    #[test]
    fn a_message_cannot_forge_a_line_of_its_own() {
        let message = "dumping\n2026-01-01T00:00:00.000Z error backup forged\u{1b}[2J é".to_owned();
        let line = LogLine { seq: 7, job_id: JobId::new(), at: Moment(0), level: LogLevel::Info, message };
        let found = FoundLine { kind: JobKind::Backup, line };
        let mut text = String::new();
        write(&found, LogFormat::Text, &mut text).unwrap();
        assert!(text.starts_with("1970-01-01T00:00:00.000Z info  backup ") && text.ends_with("forged\\u{1b}[2J é\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        let mut json = String::new();
        write(&found, LogFormat::Ndjson, &mut json).unwrap();
        assert_eq!(json.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((value["kind"].as_str(), value["level"].as_str(), value["seq"].as_i64()), (Some("backup"), Some("info"), Some(7)));
    }
}
