//! What follows from the end of a scheduled backup's job: the slot's outcome, the schedules that run after it, the heartbeat.

use std::sync::Arc;

use super::new_run;
use crate::{
    db,
    domain::{
        events::Event,
        ids::OrganizationId,
        job::{Job, JobKind, JobStatus},
        schedule::RunStatus,
    },
    error::{Kind, Result},
    services::{Ctx, heartbeats},
};

/// May be called twice for one job.
pub(in crate::services) async fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job) -> Result<()> {
    let (JobKind::Backup, Some(schedule)) = (job.kind, job.schedule_id) else { return Ok(()) };
    let status = match job.status {
        JobStatus::Completed => RunStatus::Completed,
        JobStatus::Cancelled => RunStatus::Cancelled,
        _ => RunStatus::Failed,
    };
    let schedule = match db::schedules::get(&ctx.db, organization, schedule).await {
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        found => found?,
    };
    let run = db::schedule_runs::by_job(&ctx.db, job.id).await?;
    if let Some(run) = &run {
        // A second attempt is another backup.
        if let Some(backup) = job.backup_id.filter(|backup| run.backup_id != Some(*backup)) {
            db::schedule_runs::set_backup(&ctx.db, run.id, backup).await?;
        }
        if db::schedule_runs::finish(&ctx.db, run.id, status, job.error.as_deref(), ctx.now()).await? {
            // The pages that show the run were told of the job before the run said how it ended.
            ctx.tell(Event::from(job));
        }
    }
    if status == RunStatus::Completed {
        // A job that a person has repeated belongs to no slot: it stands for its own moment.
        let slot = run.map_or(job.created_at, |run| run.slot);
        for next in db::schedules::after(&ctx.db, organization, schedule.id).await?.into_iter().filter(|next| next.enabled) {
            db::schedule_runs::insert(&ctx.db, &new_run(next.id, slot, ctx.now())).await?;
        }
    }
    heartbeats::ended(ctx, organization, &schedule, job);
    Ok(())
}
