//! What people are told: raised by what happens, matched to notifiers, delivered.

use std::sync::Arc;

use super::{Ctx, system};
use crate::{
    db,
    domain::{
        database::{Database, Settings},
        fields::SettingsExt,
        ids::{DatabaseId, OrganizationId},
        notice::{Alert, Notice, NoticeEvent, Severity},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
        schedule::{Schedule, ScheduleRun},
    },
    error::{Error, Kind, Result},
};

mod alerts;
pub mod deliver;
mod ended;
pub(super) mod expected;
pub mod notifiers;
pub mod scope;
mod unusual;
pub mod watch;
mod words;

pub(super) use ended::ended;

const HOUR: i64 = 3_600_000;

/// What happened, newest first.
pub async fn list(ctx: &Ctx, actor: &Actor, page: PageRequest) -> Result<Page<Notice>> {
    actor.require(Permission::View)?;
    db::notices::list(&ctx.db, actor.organization_id, page).await
}

/// What is wrong now, the oldest first.
pub async fn alerts(ctx: &Ctx, actor: &Actor) -> Result<Vec<Alert>> {
    actor.require(Permission::View)?;
    db::alerts::list(&ctx.db, actor.organization_id).await
}

/// Records what happened and queues it for every notifier that wants to hear of it. The same `dedup_key` is told once,
/// however often it is raised. False when it was raised before.
pub(super) async fn raise(ctx: &Ctx, organization: OrganizationId, notice: Notice, dedup_key: &str) -> Result<bool> {
    raise_end(ctx, organization, notice, dedup_key, None).await
}

/// [`raise`] for the end of what was told before.
async fn raise_end(
    ctx: &Ctx,
    organization: OrganizationId,
    mut notice: Notice,
    dedup_key: &str,
    ends: Option<(NoticeEvent, Severity)>,
) -> Result<bool> {
    if let (Some(id), None) = (notice.database_id, notice.project_id) {
        notice.project_id = found(db::databases::get(&ctx.db, organization, id).await)?.map(|database| database.project_id);
    }
    let notifiers: Vec<_> = db::notifiers::list(&ctx.db, organization)
        .await?
        .into_iter()
        .filter(|notifier| notifier.enabled && notifier.rules.want(&notice, ends))
        .map(|notifier| notifier.id)
        .collect();
    if notice.event == NoticeEvent::BackupSucceeded && notifiers.is_empty() {
        // The list of backups says it already.
        return Ok(false);
    }
    let minutes = setting(&system::settings(ctx).await?, "groupMinutes", 120);
    let told_since = (notice.event.is_grouped() && minutes > 0).then(|| notice.at.plus(-minutes * 60_000 + 1));
    let raised = db::notices::raise(&ctx.db, organization, &notice, dedup_key, notifiers, told_since).await?;
    if raised {
        ctx.noticed.notify_one();
    }
    Ok(raised)
}

/// A slot of a schedule passed and nothing ran. May be called twice for one run.
pub(super) async fn missed(ctx: &Arc<Ctx>, organization: OrganizationId, schedule: &Schedule, run: &ScheduleRun) -> Result<()> {
    let Some(database) = found(db::databases::get(&ctx.db, organization, schedule.database_id).await)? else { return Ok(()) };
    let mut notice =
        if schedule.is_stranded() { stranded(ctx, &database, schedule, run) } else { slots_missed(ctx, &database, schedule, run) };
    notice.database_id = Some(database.id);
    notice.group = group(database.id, Some(schedule.id.to_string()));
    notice.facts.push(("Schedule".into(), schedule.name.clone()));
    fact_last_good(ctx, organization, database.id, &mut notice).await?;
    raise(ctx, organization, notice, &format!("missed:{}", run.id)).await.map(drop)
}

/// It will miss everything from now on.
fn stranded(ctx: &Ctx, database: &Database, schedule: &Schedule, run: &ScheduleRun) -> Notice {
    let title = format!("{} is no longer backed up by '{}'", database.name, schedule.name);
    let mut notice = words::notice(ctx, NoticeEvent::BackupMissed, Severity::Warning, &database.name, title);
    let reason = run.reason.as_deref().map(words::sentence).unwrap_or_default();
    notice.what = format!("The schedule '{}' was switched off. {reason}", schedule.name);
    notice.next_step = "Give the schedule times of its own, or another schedule to run after, and switch it on. Or remove it.".into();
    notice.link = words::link(ctx, &format!("/schedules/{}", schedule.id));
    notice
}

fn slots_missed(ctx: &Ctx, database: &Database, schedule: &Schedule, run: &ScheduleRun) -> Notice {
    let slots = if run.slots == 1 { "1 backup".to_owned() } else { format!("{} backups", run.slots) };
    let title = format!("{slots} of {} missed", database.name);
    let mut notice = words::notice(ctx, NoticeEvent::BackupMissed, Severity::Warning, &database.name, title);
    let due = words::time(ctx, run.slot);
    let reason = run.reason.as_deref().map(words::sentence).unwrap_or_default();
    notice.what = match run.slots {
        1 => format!("The backup that the schedule '{}' had due at {due} did not run. {reason}", schedule.name),
        slots => format!("{slots} backups that the schedule '{}' had due, the last at {due}, did not run. {reason}", schedule.name),
    };
    notice.next_step =
        "Run a backup now if the data changed since the last good one. Find out why DBSnap did not run at that time: a stopped \
                        container, a machine that slept, a full disk."
            .into();
    notice.link = words::link(ctx, &format!("/databases/{}", database.id));
    notice
}

/// Backups of a database by one schedule, or by none.
fn group(database: DatabaseId, schedule: Option<String>) -> String {
    format!("backup:{database}:{}", schedule.as_deref().unwrap_or("manual"))
}

/// Adds how old the newest good backup is: what somebody who is woken wants to know next.
async fn fact_last_good(ctx: &Ctx, organization: OrganizationId, id: DatabaseId, notice: &mut Notice) -> Result<()> {
    let last = db::backups::last_good(&ctx.db, organization, id).await?;
    let text = last.map_or("none yet".to_owned(), |backup| words::time_ago(ctx, backup.created_at));
    notice.facts.push(("Last good backup".into(), text));
    Ok(())
}

fn setting(settings: &Settings, name: &str, otherwise: i64) -> i64 {
    settings.integer(name).unwrap_or(otherwise)
}

/// `None` for what is gone.
fn found<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error { kind: Kind::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
