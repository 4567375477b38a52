//! Schedules: kept, asked what comes next, carried out slot by slot.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Ctx, audit, copies, retention};
use crate::{
    db::{self, schedules::Heartbeat},
    domain::{
        cron::{self, Cron},
        filter::ScheduleFilter,
        ids::{DatabaseId, OrganizationId, RunId, ScheduleId},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
        schedule::{RunStatus, Schedule, ScheduleRun},
        time::Moment,
    },
    error::{Error, Result},
};

mod ended;
mod input;
mod load;
mod start;
mod tick;

pub use crate::db::schedules::{Dependent, Parents};
pub(super) use ended::ended;
pub(super) use input::heartbeat_purpose;
pub use input::{PreviewInput, ScheduleInput};
pub use tick::tick;

/// A schedule as it is shown: with names, and how its latest slot went.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    #[serde(flatten)]
    pub schedule: Schedule,
    pub database_name: String,
    /// Name of the schedule that it runs after.
    pub after_schedule_name: Option<String>,
    pub last_run: Option<ScheduleRun>,
}

pub async fn list(ctx: &Ctx, actor: &Actor, filter: &ScheduleFilter, page: PageRequest) -> Result<Page<ScheduleView>> {
    actor.require(Permission::View)?;
    let page = db::schedules::list(&ctx.db, actor.organization_id, filter, page).await?;
    let items = views(ctx, actor.organization_id, page.items).await?;
    Ok(Page { items, page: page.page, limit: page.limit, total: page.total })
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: ScheduleId) -> Result<ScheduleView> {
    actor.require(Permission::View)?;
    let schedule = db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    one_view(ctx, actor.organization_id, schedule).await
}

/// Those of one database, by name.
pub async fn of_database(ctx: &Ctx, actor: &Actor, database: DatabaseId) -> Result<Vec<ScheduleView>> {
    actor.require(Permission::View)?;
    let schedules = db::schedules::by_database(&ctx.db, actor.organization_id, database).await?;
    views(ctx, actor.organization_id, schedules).await
}

/// The enabled ones that are due next.
pub async fn upcoming(ctx: &Ctx, actor: &Actor, limit: u32) -> Result<Vec<ScheduleView>> {
    actor.require(Permission::View)?;
    let schedules = db::schedules::upcoming(&ctx.db, actor.organization_id, limit).await?;
    views(ctx, actor.organization_id, schedules).await
}

/// The history, the latest slot first.
pub async fn runs(ctx: &Ctx, actor: &Actor, id: ScheduleId, page: PageRequest) -> Result<Page<ScheduleRun>> {
    actor.require(Permission::View)?;
    db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    db::schedule_runs::list(&ctx.db, id, page).await
}

/// The next moments at which a schedule is due, as if it were enabled; none for one that runs after another.
pub async fn next_runs(ctx: &Ctx, actor: &Actor, id: ScheduleId, count: usize) -> Result<Vec<Moment>> {
    actor.require(Permission::View)?;
    let schedule = db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    let Some(cron) = &schedule.cron else { return Ok(Vec::new()) };
    Ok(Cron::parse(cron)?.next_runs(schedule.time_zone, ctx.now(), count.clamp(1, input::MOST_RUNS)))
}

/// The next moments of an expression that is not stored yet, for forms.
pub fn preview(ctx: &Ctx, actor: &Actor, input: &PreviewInput) -> Result<Vec<Moment>> {
    actor.require(Permission::View)?;
    let zone = cron::zone(input.time_zone.as_deref().unwrap_or("UTC"))?;
    Ok(Cron::parse(&input.cron)?.next_runs(zone, ctx.now(), input.count.clamp(1, input::MOST_RUNS)))
}

pub async fn create(ctx: &Arc<Ctx>, actor: &Actor, input: ScheduleInput) -> Result<ScheduleView> {
    actor.require(Permission::Configure)?;
    let now = ctx.now();
    let (schedule, heartbeat) = input::check(ctx, actor, input, None, now).await?;
    db::schedules::insert(&ctx.db, actor.organization_id, &schedule, heartbeat).await?;
    audit::record(ctx, actor, "schedule.create", schedule.id, facts(&schedule)).await?;
    get(ctx, actor, schedule.id).await
}

/// Replaces what the schedule says. The heartbeat address stays unless another one, or a blank one, is given. Another
/// retention policy over backups that exist takes the right to delete them.
pub async fn update(ctx: &Arc<Ctx>, actor: &Actor, id: ScheduleId, input: ScheduleInput) -> Result<ScheduleView> {
    actor.require(Permission::Configure)?;
    let before = db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    let now = ctx.now();
    let (schedule, heartbeat) = input::check(ctx, actor, input, Some(&before), now).await?;
    retention::check_choice(ctx, actor, &before, &schedule).await?;
    save(ctx, actor, &before, schedule, heartbeat, now).await?;
    let saved = get(ctx, actor, id).await?;
    audit::record(ctx, actor, "schedule.update", id, facts(&saved.schedule)).await?;
    Ok(saved)
}

/// Enables or disables. Enabling starts from now: what passed meanwhile is not caught up.
pub async fn set_enabled(ctx: &Arc<Ctx>, actor: &Actor, id: ScheduleId, enabled: bool) -> Result<ScheduleView> {
    actor.require(Permission::Configure)?;
    let before = db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    if enabled && before.is_stranded() {
        return Err(Error::conflict(format!("'{}' has no start any more: the schedule that it ran after was removed", before.name))
            .hint("change it: give it times of its own, or another schedule to run after"));
    }
    if before.enabled != enabled {
        let now = ctx.now();
        if before.enabled {
            tick::take(ctx, &before, now).await?;
        }
        let next = next_slot(&Schedule { enabled, ..before.clone() }, now)?;
        // Nothing else of it is written: somebody may be changing that at the same moment.
        db::schedules::set_enabled(&ctx.db, actor.organization_id, &before, enabled, next, now).await?;
        audit::record(ctx, actor, if enabled { "schedule.enable" } else { "schedule.disable" }, id, json!({ "name": before.name })).await?;
    }
    get(ctx, actor, id).await
}

/// Saves a change at `now`. A slot that is due already is taken as the schedule was; the next one is as it will be.
async fn save(ctx: &Arc<Ctx>, actor: &Actor, before: &Schedule, mut schedule: Schedule, heartbeat: Heartbeat, now: Moment) -> Result<()> {
    if before.enabled {
        tick::take(ctx, before, now).await?;
    }
    let same_times = before.enabled == schedule.enabled && before.cron == schedule.cron && before.time_zone == schedule.time_zone;
    schedule.next_run_at = match before.next_run_at {
        Some(next) if same_times && next > now => Some(next),
        _ => next_slot(&schedule, now)?,
    };
    db::schedules::update(&ctx.db, actor.organization_id, &schedule, heartbeat).await?;
    copies::forget_unwanted(ctx, actor.organization_id).await
}

/// What becomes of schedules that run after one that is removed.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct Removal {
    /// Disable schedules that run after what is removed, and tell people; otherwise nothing is removed while there are any.
    pub disable_dependents: bool,
}

/// Removes the schedule and its history; its backups stay. Errors with `CONFLICT`, naming them, while others run after it,
/// unless they are to be disabled.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: ScheduleId, removal: Removal) -> Result<()> {
    actor.require(Permission::Configure)?;
    let schedule = db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    let deleted = db::schedules::delete(&ctx.db, actor.organization_id, id, removal.disable_dependents, ctx.now()).await;
    let let_go = deleted.map_err(|error| error.while_doing(format!("removing the schedule '{}'", schedule.name)))?;
    copies::forget_unwanted(ctx, actor.organization_id).await?;
    audit::record(ctx, actor, "schedule.delete", id, facts(&schedule)).await?;
    record_let_go(ctx, actor, &let_go).await
}

/// What runs after a schedule, or after those of a database, and would lose its start with it.
pub async fn dependents(ctx: &Ctx, actor: &Actor, parents: Parents) -> Result<Vec<Dependent>> {
    actor.require(Permission::View)?;
    db::schedules::dependents(&ctx.db, actor.organization_id, parents).await
}

/// The trail of schedules that lost what they ran after.
pub(super) async fn record_let_go(ctx: &Ctx, actor: &Actor, dependents: &[Dependent]) -> Result<()> {
    for one in dependents {
        audit::record(ctx, actor, "schedule.disable", one.id, json!({ "name": one.name, "removed": one.after })).await?;
    }
    Ok(())
}

/// Runs the schedule now, whatever the time, the load and the blackouts are, enabled or not.
/// Errors with `CONFLICT` while a run of it is open.
pub async fn run_now(ctx: &Arc<Ctx>, actor: &Actor, id: ScheduleId) -> Result<ScheduleRun> {
    actor.require(Permission::RunBackups)?;
    let schedule = db::schedules::get(&ctx.db, actor.organization_id, id).await?;
    if let Some(open) = db::schedule_runs::open(&ctx.db, id).await?.first() {
        return Err(
            Error::conflict(format!("a run of '{}' is already {}", schedule.name, open.status)).hint("wait for its end, or cancel its job")
        );
    }
    let run = new_run(id, ctx.now(), ctx.now());
    let run = start::start(ctx, actor.organization_id, &schedule, run, true)
        .await?
        .ok_or_else(|| Error::conflict(format!("'{}' was started by somebody else at the same moment", schedule.name)))?;
    audit::record(ctx, actor, "schedule.run", id, json!({ "name": schedule.name, "backup": run.backup_id })).await?;
    Ok(run)
}

/// A run that waits to be looked at.
fn new_run(schedule: ScheduleId, slot: Moment, now: Moment) -> ScheduleRun {
    ScheduleRun {
        id: RunId::new(),
        schedule_id: schedule,
        slot,
        status: RunStatus::Waiting,
        reason: None,
        slots: 1,
        not_before: now,
        job_id: None,
        backup_id: None,
        created_at: now,
        finished_at: None,
    }
}

/// The first slot after `now` of an enabled schedule with times of its own.
fn next_slot(schedule: &Schedule, now: Moment) -> Result<Option<Moment>> {
    match &schedule.cron {
        Some(cron) if schedule.enabled => Ok(Cron::parse(cron)?.next_after(schedule.time_zone, now)),
        _ => Ok(None),
    }
}

fn facts(schedule: &Schedule) -> Value {
    json!({ "name": schedule.name, "databaseId": schedule.database_id, "cron": schedule.cron, "after": schedule.after_schedule_id,
        "timeZone": schedule.time_zone, "enabled": schedule.enabled })
}

async fn one_view(ctx: &Ctx, organization: OrganizationId, schedule: Schedule) -> Result<ScheduleView> {
    views(ctx, organization, vec![schedule]).await?.pop().ok_or_else(|| Error::internal("a schedule without a view"))
}

async fn views(ctx: &Ctx, organization: OrganizationId, schedules: Vec<Schedule>) -> Result<Vec<ScheduleView>> {
    let ids: Vec<_> = schedules.iter().map(|schedule| schedule.id).collect();
    let mut latest = db::schedule_runs::latest(&ctx.db, &ids).await?;
    let mut databases: HashMap<DatabaseId, String> = HashMap::new();
    let mut parents: HashMap<ScheduleId, String> = HashMap::new();
    let mut views = Vec::with_capacity(schedules.len());
    for schedule in schedules {
        if !databases.contains_key(&schedule.database_id) {
            let database = db::databases::get(&ctx.db, organization, schedule.database_id).await?;
            databases.insert(database.id, database.name);
        }
        if let Some(parent) = schedule.after_schedule_id.filter(|parent| !parents.contains_key(parent)) {
            parents.insert(parent, db::schedules::get(&ctx.db, organization, parent).await?.name);
        }
        views.push(ScheduleView {
            database_name: databases.get(&schedule.database_id).cloned().unwrap_or_default(),
            after_schedule_name: schedule.after_schedule_id.and_then(|parent| parents.get(&parent).cloned()),
            last_run: latest.remove(&schedule.id),
            schedule,
        });
    }
    Ok(views)
}
