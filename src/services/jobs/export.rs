//! A job's log as a file.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    db,
    domain::{
        ids::JobId,
        job::{LogLevel, LogLine},
        permissions::Actor,
        stream::ByteStream,
    },
    error::{Error, Result},
    services::Ctx,
};

/// Lines read from the catalogue at a time.
const BATCH: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text each: time, level, message. Line breaks in a message are escaped.
    Text,
    /// A JSON object per line, as the API shows them.
    Ndjson,
}

/// A log as a file: its name, and its bytes as they are read.
pub struct LogFile {
    pub name: String,
    pub content_type: &'static str,
    pub body: ByteStream,
}

/// The whole log, or the lines of `min_level` and above. A job that runs goes on writing: what is there now is in the file.
pub async fn logs(ctx: &Arc<Ctx>, actor: &Actor, id: JobId, min_level: Option<LogLevel>, format: LogFormat) -> Result<LogFile> {
    super::get(ctx, actor, id).await?;
    let (ending, content_type) = match format {
        LogFormat::Text => ("log", "text/plain; charset=utf-8"),
        LogFormat::Ndjson => ("ndjson", "application/x-ndjson"),
    };
    let pages = futures_util::stream::try_unfold(0, {
        let ctx = Arc::clone(ctx);
        move |after| {
            let ctx = Arc::clone(&ctx);
            async move {
                let lines = db::logs::list(&ctx.db, id, after, min_level, BATCH).await?;
                let Some(last) = lines.last().map(|line| line.seq) else { return Ok(None) };
                let text = lines.iter().map(|line| written(line, format)).collect::<Result<String>>()?;
                Ok::<_, Error>(Some((Bytes::from(text), last)))
            }
        }
    });
    Ok(LogFile { name: format!("dbsnap-job-{}.{ending}", id.short()), content_type, body: Box::pin(pages) })
}

fn written(line: &LogLine, format: LogFormat) -> Result<String> {
    match format {
        LogFormat::Text => Ok(format!("{} {:<5} {}\n", line.at, line.level, line.message.escape_debug())),
        LogFormat::Ndjson => {
            let json =
                serde_json::to_string(line).map_err(|cause| Error::internal("a log line cannot be written as JSON").source(cause))?;
            Ok(json + "\n")
        }
    }
}
