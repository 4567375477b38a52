//! By when a new backup of a database is expected, from its schedules: what the dead-man's alert waits for.

use std::collections::HashMap;

use super::HOUR;
use crate::{
    db,
    domain::{
        blackout,
        cron::Cron,
        ids::{DatabaseId, OrganizationId, ScheduleId},
        schedule::Schedule,
        time::Moment,
    },
    error::Result,
    services::Ctx,
};

/// All schedules, each with the moment since when it is as it is now.
pub(in crate::services) struct Clockwork(HashMap<ScheduleId, (Schedule, Moment)>);

impl Clockwork {
    pub(in crate::services) async fn read(ctx: &Ctx, organization: OrganizationId) -> Result<Self> {
        let all = db::schedules::all_with_their_beginning(&ctx.db, organization).await?;
        Ok(Self(all.into_iter().map(|(schedule, since)| (schedule.id, (schedule, since))).collect()))
    }

    pub(super) fn has(&self, id: ScheduleId) -> bool {
        self.0.contains_key(&id)
    }

    /// By when the next good backup should be there at the latest, the newest one being of `newest`. `None` when no
    /// schedule that is on makes backups of the database by itself.
    pub(in crate::services) fn due(&self, database: DatabaseId, newest: Option<Moment>) -> Option<Moment> {
        let of_it = self.0.values().filter(|(schedule, _)| schedule.database_id == database);
        of_it.filter_map(|(schedule, _)| self.due_of(schedule.id, newest)).min()
    }

    /// Two slots of the schedule that a clock starts, counted by the calendar, so that one of working days says nothing at
    /// the weekend; then for each schedule of the chain what it may wait, and an hour to run.
    fn due_of(&self, id: ScheduleId, newest: Option<Moment>) -> Option<Moment> {
        let chain = self.chain(id)?;
        let (root, _) = chain.first()?;
        let cron = Cron::parse(root.cron.as_ref()?).ok()?;
        let since = chain.iter().map(|(_, since)| *since).max()?;
        let first = cron.next_after(root.time_zone, newest.map_or(since, |newest| newest.max(since)))?;
        let second = cron.next_after(root.time_zone, first)?;
        Some(chain.iter().fold(second, |start, (schedule, _)| latest_start(schedule, start).plus(HOUR)))
    }

    /// From the schedule that a clock starts to this one, which runs after the others. `None` when one of them is off: then
    /// this one is never started.
    fn chain(&self, id: ScheduleId) -> Option<Vec<&(Schedule, Moment)>> {
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let found = self.0.get(&id).filter(|(schedule, _)| schedule.enabled)?;
            if chain.len() == self.0.len() {
                return None;
            }
            next = found.0.after_schedule_id;
            chain.push(found);
        }
        chain.reverse();
        Some(chain)
    }
}

/// When a run that is due at `slot` starts at the latest: it may wait for the end of a blackout, and for a lower load.
fn latest_start(schedule: &Schedule, slot: Moment) -> Moment {
    let free = |at| blackout::ends_at(&schedule.details.blackouts, schedule.time_zone, at).unwrap_or(at);
    let patience = schedule.details.load.as_ref().map_or(0, |load| i64::from(load.latest_after_minutes) * 60_000);
    free(free(slot).max(slot.plus(patience)))
}
