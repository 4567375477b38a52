//! One look at the clock: slots that are due are taken, runs that wait are started or left to wait.
//!
//! Everything is decided from what the catalogue holds and the present time, never from when the product last looked: it
//! may have been down, slept, or had its clock set.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use futures_util::{StreamExt, stream};

use super::{load, new_run, start};
use crate::{
    db::{self, schedule_runs::Taking},
    domain::{
        blackout,
        cron::Cron,
        ids::{OrganizationId, ScheduleId},
        schedule::{Overlap, RunStatus, Schedule, ScheduleRun},
        time::Moment,
    },
    error::{Kind, Result},
    services::{Ctx, notices},
};

/// A slot that is looked at later than this was missed, milliseconds.
const LATE: u64 = 90_000;

/// How soon a run is looked at again that waits for another one, and for a lower load, milliseconds.
const OTHER: i64 = 5_000;
const LOAD: i64 = 30_000;

/// Schedules whose runs are looked at at once.
const AT_ONCE: usize = 16;
/// Slots that are walked through before others get their turn.
const AT_A_TIME: usize = 10_000;

/// Takes what is due and starts what may start. What fails for one schedule is logged and tried at the next tick; errors
/// only when the catalogue cannot be read.
pub async fn tick(ctx: &Arc<Ctx>) -> Result<()> {
    let now = ctx.now();
    let mut set_back = false;
    for (_, schedule) in db::schedules::all_enabled(&ctx.db).await? {
        match take(ctx, &schedule, now).await {
            Ok(earlier) => set_back |= earlier,
            Err(error) => tracing::error!(schedule = schedule.name, %error, "its due slots could not be taken yet"),
        }
    }
    if set_back {
        // What was queued while the clock was ahead would wait until it is there again.
        db::jobs::start_those_made_later(&ctx.db, now).await?;
    }
    consider_all(ctx, now).await?;
    for (organization, run) in db::schedule_runs::untold(&ctx.db).await? {
        if let Err(error) = tell_missed(ctx, organization, &run).await {
            tracing::error!(%error, "a missed run could not be told yet");
        }
    }
    ctx.scheduler_seen.store(Moment::now().0, Ordering::SeqCst);
    Ok(())
}

/// Takes the slots of a schedule up to `now`. Of those that are late the newest is caught up, if nothing is due just now
/// and the schedule wants it; the others are missed. True when the clock was set back.
pub(super) async fn take(ctx: &Ctx, schedule: &Schedule, now: Moment) -> Result<bool> {
    let Some(cron) = &schedule.cron else { return Ok(false) };
    let (cron, zone) = (Cron::parse(cron)?, schedule.time_zone);
    let first = match schedule.next_run_at {
        Some(first) if first <= now => first,
        next => {
            // The clock was set back, or a zone has other rules now: an earlier slot comes first.
            let soonest = cron.next_after(zone, now).filter(|soonest| next.is_none_or(|next| *soonest < next));
            return match soonest {
                Some(_) => db::schedules::move_next(&ctx.db, schedule.id, next, soonest).await,
                None => Ok(false),
            };
        }
    };
    let known = db::schedule_runs::known_slots(&ctx.db, schedule.id, first, now).await?;
    // A clock that was ahead once has had slots counted as missed that come only now.
    let counted = db::schedule_runs::missed_since(&ctx.db, schedule.id, first).await?;
    let mut again = vec![0; counted.len()];
    let (mut due, mut last) = (Due::default(), first);
    let slots = std::iter::successors(Some(first), |slot| cron.next_after(zone, *slot)).take_while(|slot| *slot <= now);
    for (number, slot) in slots.enumerate() {
        last = slot;
        if known.binary_search(&slot).is_err() {
            due.add(slot, now);
            for ((from, missed), again) in counted.iter().zip(&mut again) {
                *again += u64::from(*from <= slot && slot < missed.slot);
            }
        }
        if number % AT_A_TIME == AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
    }
    let mut taking = runs_for(schedule, &due, now);
    (taking.from, taking.to) = (schedule.next_run_at, cron.next_after(zone, last));
    taking.recounted = counted.iter().zip(again).filter(|(_, slots)| *slots > 0).map(|((_, run), slots)| (run.id, slots)).collect();
    let missed = taking.runs.iter().find(|run| run.status == RunStatus::Missed).cloned();
    if db::schedule_runs::take(&ctx.db, schedule.id, taking).await?
        && let Some(run) = missed
    {
        tracing::warn!(schedule = schedule.name, slot = %run.slot, slots = run.slots, "missed");
    }
    Ok(false)
}

/// The slots up to now that nobody has taken, not kept one by one: after a clock was wrong by years there are millions.
#[derive(Default)]
struct Due {
    /// Those that are late: how many, the first, the newest and the one before it.
    late: u64,
    first: Option<Moment>,
    newest: Option<Moment>,
    before_newest: Option<Moment>,
    on_time: Vec<Moment>,
}

impl Due {
    /// Takes one slot more, later than those before.
    fn add(&mut self, slot: Moment, now: Moment) {
        if now.since(slot) <= LATE {
            self.on_time.push(slot);
            return;
        }
        self.late += 1;
        self.first.get_or_insert(slot);
        self.before_newest = self.newest.replace(slot);
    }
}

fn runs_for(schedule: &Schedule, due: &Due, now: Moment) -> Taking {
    let caught_up = due.newest.filter(|_| due.on_time.is_empty() && schedule.details.catch_up);
    let (missed, last) = match caught_up {
        Some(_) => (due.late - 1, due.before_newest),
        None => (due.late, due.newest),
    };
    let missed_run = last.map(|last| ScheduleRun {
        status: RunStatus::Missed,
        reason: Some("DBSnap did not run, or could not reach its catalogue, when it was due".to_owned()),
        slots: missed,
        finished_at: Some(now),
        ..new_run(schedule.id, last, now)
    });
    let due_now = caught_up.iter().chain(&due.on_time).map(|slot| new_run(schedule.id, *slot, now));
    Taking { runs: missed_run.into_iter().chain(due_now).collect(), first_missed: due.first, ..Taking::default() }
}

/// Looks at the runs that wait: those of one schedule in their order, several schedules at once. A database that is asked for
/// its load and does not answer holds up no other schedule.
async fn consider_all(ctx: &Arc<Ctx>, now: Moment) -> Result<()> {
    let mut by_schedule: BTreeMap<ScheduleId, Vec<_>> = BTreeMap::new();
    for (organization, run) in db::schedule_runs::due(&ctx.db, now).await? {
        by_schedule.entry(run.schedule_id).or_default().push((organization, run));
    }
    let looking = stream::iter(by_schedule.into_values()).for_each_concurrent(AT_ONCE, |runs| async move {
        for (organization, run) in runs {
            if let Err(error) = consider(ctx, organization, run, now).await {
                tracing::error!(%error, "a waiting run could not be started yet");
            }
        }
    });
    looking.await;
    Ok(())
}

/// Starts a waiting run, leaves it out, or lets it wait on.
async fn consider(ctx: &Arc<Ctx>, organization: OrganizationId, run: ScheduleRun, now: Moment) -> Result<()> {
    let schedule = db::schedules::get(&ctx.db, organization, run.schedule_id).await?;
    match decide(ctx, organization, &schedule, &run, now).await? {
        Decision::Start => start_or_miss(ctx, organization, &schedule, run, now).await,
        Decision::Wait(until, reason) => db::schedule_runs::postpone(&ctx.db, run.id, until, &reason).await,
        Decision::Skip(reason) => {
            tracing::info!(schedule = schedule.name, slot = %run.slot, reason, "left out");
            db::schedule_runs::finish(&ctx.db, run.id, RunStatus::Skipped, Some(&reason), now).await.map(drop)
        }
    }
}

enum Decision {
    Start,
    Wait(Moment, String),
    Skip(String),
}

async fn decide(ctx: &Ctx, organization: OrganizationId, schedule: &Schedule, run: &ScheduleRun, now: Moment) -> Result<Decision> {
    if !schedule.enabled {
        return Ok(Decision::Skip("the schedule was disabled while it waited".to_owned()));
    }
    let open = db::schedule_runs::open(&ctx.db, schedule.id).await?;
    let local = |at: Moment| at.utc().with_timezone(&schedule.time_zone).format("%Y-%m-%d %H:%M %Z").to_string();
    // One run waits at most.
    if let Some(earlier) = open.iter().find(|other| other.status == RunStatus::Waiting && other.slot < run.slot) {
        return Ok(Decision::Skip(format!("the run of {} still waited", local(earlier.slot))));
    }
    // One from the future was made when the clock was wrong: it holds up nothing.
    if let Some(running) = open.iter().find(|other| other.status == RunStatus::Queued && other.slot <= now) {
        let reason = format!("the run of {} had not ended", local(running.slot));
        return Ok(match schedule.details.overlap {
            Overlap::Skip => Decision::Skip(reason),
            Overlap::Queue => Decision::Wait(now.plus(OTHER), reason),
        });
    }
    if let Some(end) = blackout::ends_at(&schedule.details.blackouts, schedule.time_zone, now) {
        return Ok(Decision::Wait(end, format!("no run starts before {}", local(end))));
    }
    // A run of a chain has the slot of the run that it comes after, and is due when that one has ended.
    let due = if schedule.after_schedule_id.is_some() { run.slot.max(run.created_at) } else { run.slot };
    if let Some(condition) = &schedule.details.load
        && now < due.plus(i64::from(condition.latest_after_minutes) * 60_000)
        && let Some(reason) = load::above(ctx, organization, schedule, condition).await
    {
        return Ok(Decision::Wait(now.plus(LOAD), reason));
    }
    Ok(Decision::Start)
}

/// A run that can never be started is missed, and says why. Whatever may pass by itself is tried at the next tick.
async fn start_or_miss(ctx: &Arc<Ctx>, organization: OrganizationId, schedule: &Schedule, run: ScheduleRun, now: Moment) -> Result<()> {
    let id = run.id;
    match start::start(ctx, organization, schedule, run, false).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind, Kind::Validation | Kind::NotFound) => {
            tracing::error!(schedule = schedule.name, %error, "the run cannot be started");
            db::schedule_runs::finish(&ctx.db, id, RunStatus::Missed, Some(&error.to_string()), now).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

async fn tell_missed(ctx: &Arc<Ctx>, organization: OrganizationId, run: &ScheduleRun) -> Result<()> {
    let schedule = db::schedules::get(&ctx.db, organization, run.schedule_id).await?;
    notices::missed(ctx, organization, &schedule, run).await?;
    db::schedule_runs::mark_told(&ctx.db, run.id).await
}
