//! Starts one run: its backup and job are queued together with what the run says.

use std::{collections::HashSet, sync::Arc};

use crate::{
    db,
    domain::{
        backup::BackupType,
        cron::Cron,
        events::Event,
        ids::OrganizationId,
        schedule::{RunStatus, Schedule, ScheduleRun},
    },
    error::Result,
    services::{Ctx, backup},
};

/// `None` when the run does not wait any more: it was started or ended elsewhere; and with `alone`, when another run is open.
pub(super) async fn start(
    ctx: &Arc<Ctx>,
    organization: OrganizationId,
    schedule: &Schedule,
    run: ScheduleRun,
    alone: bool,
) -> Result<Option<ScheduleRun>> {
    let database = db::databases::get(&ctx.db, organization, schedule.database_id).await?;
    let kind = backup_type(ctx, organization, schedule).await?;
    let (backup, job) = backup::scheduled(ctx, &database, schedule, kind)?;
    if !db::schedule_runs::start(&ctx.db, organization, &run, alone, &backup, &job).await? {
        return Ok(None);
    }
    tracing::info!(schedule = schedule.name, slot = %run.slot, job_id = %job.id, "started");
    ctx.tell(Event::from(&job));
    ctx.queued.notify_one();
    Ok(Some(ScheduleRun { status: RunStatus::Queued, job_id: Some(job.id), backup_id: Some(backup.id), ..run }))
}

/// By the period of the schedule, or of the one that it comes after in the end.
async fn backup_type(ctx: &Ctx, organization: OrganizationId, schedule: &Schedule) -> Result<BackupType> {
    let mut seen = HashSet::new();
    let (mut cron, mut parent) = (schedule.cron.clone(), schedule.after_schedule_id);
    while let (None, Some(id)) = (&cron, parent.filter(|id| seen.insert(*id))) {
        let earlier = db::schedules::get(&ctx.db, organization, id).await?;
        (cron, parent) = (earlier.cron, earlier.after_schedule_id);
    }
    cron.map_or(Ok(BackupType::Daily), |cron| Ok(Cron::parse(&cron)?.backup_type()))
}
