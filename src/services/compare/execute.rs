//! A comparison job's work, and what its row says about it.

use std::sync::Arc;

use super::{report_path, status_for};
use crate::{
    db,
    domain::{
        diff::DiffStatus,
        ids::{DiffId, OrganizationId},
        job::{Job, JobStatus},
        run::Run,
        time::Moment,
    },
    error::{Context, Error, Kind, Result},
    services::{Ctx, jobs},
};

pub(in crate::services) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let id = job.diff_id.ok_or_else(|| Error::internal("a comparison job without a comparison"))?;
    let diff = db::diffs::get(&ctx.db, organization, id).await?;
    if diff.status == DiffStatus::Completed {
        return Ok(());
    }
    // Whatever an earlier attempt wrote is of another moment.
    remove_report(ctx, id).await?;
    db::diffs::mark_running(&ctx.db, id, Moment::now()).await?;
    run.info(format!("comparing {} with {} of {}", diff.before_label, diff.after_label, diff.database_name));
    Err(Error::internal("rows cannot be compared yet"))
}

/// Marks the row of a job that did not complete, and removes what it wrote.
pub(in crate::services) async fn settle(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    job: &Job,
    outcome: JobStatus,
    error: Option<&str>,
) -> Result<()> {
    let Some(id) = job.diff_id else { return Ok(()) };
    let diff = match db::diffs::get(&ctx.db, organization, id).await {
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        found => found?,
    };
    if diff.status == DiffStatus::Completed {
        return Ok(());
    }
    remove_report(ctx, id).await?;
    db::diffs::finish(&ctx.db, id, status_for(outcome), error, Moment::now()).await?;
    Ok(())
}

/// At start: ends comparisons whose job never came into the queue, and removes the files that no comparison has. Those of
/// interrupted jobs are settled with their job.
pub(in crate::services) async fn recover(ctx: &Arc<Ctx>) -> Result<()> {
    for (organization, diff) in db::diffs::unfinished(&ctx.db).await? {
        if !jobs::is_open(ctx, organization, diff.job_id).await? {
            let error = Some("the process ended while the comparison ran");
            db::diffs::finish(&ctx.db, diff.id, DiffStatus::Interrupted, error, Moment::now()).await?;
        }
    }
    let kept: std::collections::HashSet<_> = db::diffs::completed(&ctx.db).await?.into_iter().map(|id| report_path(ctx, id)).collect();
    let folder = ctx.reports();
    let mut entries = match tokio::fs::read_dir(&folder).await {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.context(Kind::Storage, || format!("listing {}", folder.display()))?,
    };
    while let Some(entry) = entries.next_entry().await.context(Kind::Storage, || format!("listing {}", folder.display()))? {
        let path = entry.path();
        if !kept.contains(&path) {
            match tokio::fs::remove_file(&path).await {
                Ok(()) => tracing::info!(path = %path.display(), "removed what an unfinished comparison left"),
                Err(cause) => tracing::warn!(path = %path.display(), %cause, "an old report could not be removed"),
            }
        }
    }
    Ok(())
}

/// Removes the report of a comparison, if there is one.
pub(super) async fn remove_report(ctx: &Ctx, id: DiffId) -> Result<()> {
    let path = report_path(ctx, id);
    match tokio::fs::remove_file(&path).await {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.context(Kind::Storage, || format!("removing {}", path.display())),
    }
}
