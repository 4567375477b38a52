//! A job's log as a file.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::try_unfold;

use crate::{
    db,
    domain::{ids::JobId, job::LogLevel, permissions::Actor},
    error::{Error, Result},
    services::{
        Ctx,
        logs::{self, LogFile, LogFormat},
    },
};

/// Lines read from the catalogue at a time.
const BATCH: u32 = 1000;

/// The whole log, or the lines of `min_level` and above. A job that runs goes on writing: what is there now is in the file.
pub async fn logs(ctx: &Arc<Ctx>, actor: &Actor, id: JobId, min_level: Option<LogLevel>, format: LogFormat) -> Result<LogFile> {
    super::get(ctx, actor, id).await?;
    let ctx = Arc::clone(ctx);
    let pages = try_unfold(0, move |after| {
        let ctx = Arc::clone(&ctx);
        async move {
            let lines = db::logs::list(&ctx.db, id, after, min_level, BATCH).await?;
            let Some(last) = lines.last().map(|line| line.seq) else { return Ok(None) };
            let mut text = String::new();
            lines.iter().try_for_each(|line| logs::write(line, None, format, &mut text))?;
            Ok::<_, Error>(Some((Bytes::from(text), last)))
        }
    });
    Ok(LogFile::new(&format!("dbsnap-job-{}", id.short()), format, Box::pin(pages)))
}
