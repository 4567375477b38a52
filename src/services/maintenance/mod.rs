//! Upkeep of the product itself, each task a job with a report.

use std::sync::Arc;

use chrono::Timelike;
use serde_json::json;

use super::{
    Ctx, audit,
    backup::{self, VerifyRequest},
    jobs, system,
};
use crate::{
    db,
    domain::{
        fields::SettingsExt,
        filter::JobFilter,
        ids::OrganizationId,
        job::{Job, JobKind, JobStatus},
        maintenance::{MaintenanceOrder, MaintenanceReport, MaintenanceTask},
        page::PageRequest,
        permissions::{Actor, Permission},
        run::Run,
    },
    error::{Context, Error, Kind, Result},
};

mod cleanup;

/// The setting that says on which day the upkeep was last queued.
const LAST_DAY: &str = "maintenance_day";
/// Compacting by itself is worth it when so much of the file is unused: this share, percent, and these bytes.
const UNUSED_PERCENT: u64 = 25;
const UNUSED_BYTES: u64 = 32 * 1024 * 1024;

/// Queues a task. One that is queued or runs already is returned instead.
pub async fn start(ctx: &Arc<Ctx>, actor: &Actor, task: MaintenanceTask) -> Result<Job> {
    actor.require(Permission::Settings)?;
    let job = queue(ctx, actor, MaintenanceOrder { task, daily: false }).await?;
    audit::record(ctx, actor, "maintenance", job.id, json!({ "task": task })).await?;
    Ok(job)
}

/// Queues the day's own upkeep: once a day, at the hour of the settings or at the first chance after it. A new
/// installation begins with the next day: it has nothing to keep up. Returns what was queued.
pub async fn daily(ctx: &Arc<Ctx>) -> Result<Vec<Job>> {
    let now = ctx.now().utc().with_timezone(&ctx.config.tz);
    let today = now.date_naive().to_string();
    let last = db::settings::get(&ctx.db, LAST_DAY).await?;
    let hour = system::settings(ctx).await?.integer("maintenanceHour").unwrap_or_default();
    if last.as_ref() == Some(&today) || (last.is_some() && i64::from(now.hour()) < hour) {
        return Ok(Vec::new());
    }
    let mut queued = Vec::new();
    if last.is_some() {
        let mut tasks = vec![MaintenanceTask::Cleanup, MaintenanceTask::Verify];
        let space = ctx.db.space().await?;
        if space.unused >= UNUSED_BYTES && space.unused * 100 >= space.total * UNUSED_PERCENT {
            tasks.push(MaintenanceTask::Vacuum);
        }
        for task in tasks {
            queued.push(queue(ctx, &Actor::system(), MaintenanceOrder { task, daily: true }).await?);
        }
    }
    // Last: a process that ends before this queues them again, and then finds them in the queue.
    db::settings::set(&ctx.db, LAST_DAY, &today).await?;
    Ok(queued)
}

async fn queue(ctx: &Arc<Ctx>, actor: &Actor, order: MaintenanceOrder) -> Result<Job> {
    for status in [JobStatus::Queued, JobStatus::Running] {
        let filter = JobFilter { status: Some(status), kind: Some(JobKind::Maintenance), ..JobFilter::default() };
        let open = db::jobs::list(&ctx.db, actor.organization_id, &filter, PageRequest::default()).await?;
        if let Some(same) = open.items.into_iter().find(|job| order_of(job).is_ok_and(|other| other.task == order.task)) {
            return Ok(same);
        }
    }
    let payload = serde_json::to_value(order).context(Kind::Internal, || "writing the job's order".into())?;
    let exclusive_key = Some("maintenance".to_owned());
    // Backups that are due go first.
    jobs::enqueue(ctx, actor, Job { payload, exclusive_key, priority: -10, ..jobs::new(JobKind::Maintenance, ctx) }).await
}

fn order_of(job: &Job) -> Result<MaintenanceOrder> {
    serde_json::from_value(job.payload.clone()).context(Kind::Internal, || "reading what the maintenance job is to do".into())
}

/// The report of a maintenance job that has one.
pub fn report_of(job: &Job) -> Option<MaintenanceReport> {
    serde_json::from_value(job.report.clone()?).ok()
}

/// Does the job's work. What was done is in its report, whether it ends well or not.
pub(super) async fn execute(ctx: &Arc<Ctx>, organization: OrganizationId, job: &Job, run: &Run) -> Result<()> {
    let order = order_of(job)?;
    let mut report = MaintenanceReport::new(order.task);
    let done = match order.task {
        MaintenanceTask::Cleanup => cleanup::run(ctx, organization, run, &mut report).await,
        MaintenanceTask::Vacuum => vacuum(ctx, organization, order, &mut report).await,
        MaintenanceTask::Verify => verify(ctx, organization, run, &mut report).await,
    };
    for words in &report.words {
        run.info(words);
    }
    let value = serde_json::to_value(&report).context(Kind::Internal, || "writing the job's report".into())?;
    db::jobs::set_report(&ctx.db, job.id, &value).await?;
    done
}

/// Compacts the catalogue. Writers wait meanwhile, so the day's own one leaves it for another day while other jobs run.
async fn vacuum(ctx: &Arc<Ctx>, organization: OrganizationId, order: MaintenanceOrder, report: &mut MaintenanceReport) -> Result<()> {
    if order.daily {
        let filter = JobFilter { status: Some(JobStatus::Running), ..JobFilter::default() };
        let running = db::jobs::list(&ctx.db, organization, &filter, PageRequest { page: 1, limit: 1 }).await?.total;
        if running > 1 {
            report.words.push("Other jobs run: the catalogue was not compacted today.".into());
            return Ok(());
        }
    }
    let before = ctx.db.space().await?.total;
    ctx.db.vacuum().await?;
    let after = ctx.db.space().await?.total;
    (report.bytes_before, report.bytes_after) = (Some(before), Some(after));
    report.words.push(format!("The catalogue was compacted: {before} bytes before, {after} bytes after."));
    Ok(())
}

/// Reads the catalogue whole, then queues verifications of backups. Damage of the catalogue fails the job.
async fn verify(ctx: &Arc<Ctx>, organization: OrganizationId, run: &Run, report: &mut MaintenanceReport) -> Result<()> {
    match run.until_cancelled(ctx.db.check_integrity()).await {
        Ok(()) => report.words.push("The catalogue is intact.".into()),
        Err(error) => {
            report.words.push(error.to_string());
            return Err(error);
        }
    }
    let wanted = system::settings(ctx).await?.integer("verifyBackups").and_then(|wanted| u32::try_from(wanted).ok()).unwrap_or_default();
    let actor = Actor { organization_id: organization, ..Actor::system() };
    for id in db::backups::least_verified(&ctx.db, organization, wanted).await? {
        match backup::verify(ctx, &actor, id, VerifyRequest::default()).await {
            Ok(_) => report.verifying.push(id),
            // It was deleted in between, or runs again.
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::NotFound) => run.debug(format!("backup {id}: {error}")),
            Err(error) => return Err(error),
        }
    }
    let queued = report.verifying.len();
    if queued > 0 {
        report.words.push(format!("The verification of {queued} backup{} was queued.", if queued == 1 { "" } else { "s" }));
    }
    Ok(())
}

/// What is wrong with a task's name.
pub fn task(name: &str) -> Result<MaintenanceTask> {
    name.parse().map_err(|_| Error::validation(format!("'{name}' is not a maintenance task")).hint("use cleanup, vacuum or verify"))
}
