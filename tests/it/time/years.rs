//! Years in seconds: no slot is lost without a word, and none runs twice, whatever happens to the process and its clock.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use dbsnap::{
    domain::{
        job::JobStatus,
        schedule::{RunStatus, ScheduleRun},
        time::Moment,
    },
    services::schedules::{self, ScheduleView},
};
use serde_json::json;

use super::{World, moment, reference};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// Compares the history with the slots of the slow walk: each has a run of its own, or is counted by a missed one.
fn check(schedule: &ScheduleView, runs: &[ScheduleRun], after: Moment, until: Moment) -> usize {
    let name = &schedule.schedule.name;
    let expected = reference::slots(schedule.schedule.cron.as_deref().unwrap(), schedule.schedule.time_zone, after, until);
    let mut open: BTreeSet<Moment> = expected.clone();
    let by_slot: BTreeMap<Moment, &ScheduleRun> = runs.iter().map(|run| (run.slot, run)).collect();
    assert_eq!(by_slot.len(), runs.len(), "{name}: a slot has two runs");
    for run in runs {
        assert!(open.remove(&run.slot), "{name}: {} is no slot, or was there before: {run:?}", run.slot);
        assert!(matches!(run.status, RunStatus::Completed | RunStatus::Missed), "{name}: {run:?}");
    }
    // What a missed run counts besides its own slot are slots before it that have no run.
    for run in runs.iter().rev().filter(|run| run.status == RunStatus::Missed) {
        for _ in 1..run.slots {
            let before = open.range(..run.slot).next_back().copied();
            assert!(before.is_some_and(|slot| open.remove(&slot)), "{name}: {run:?} counts more slots than there are");
        }
    }
    assert!(open.is_empty(), "{name}: lost without a word: {open:?}");
    expected.len()
}

/// Every schedule is walked through a year in which the process is killed at random moments, stays away for minutes or
/// days, has its clock set back, and loses its thread in the middle of a look.
async fn a_year(start: &str, schedules: &[(&str, &str, &str, bool)], seed: u64) {
    let mut dice = Dice(seed);
    let start = moment(start);
    let end = start.plus(366 * DAY);
    let mut world = World::at(start).await;
    let mut made = Vec::new();
    for (name, cron, zone, catch_up) in schedules {
        let database = world.database(name).await;
        made.push(world.schedule(database, name, json!({"cron": cron, "timeZone": zone, "catchUp": catch_up})).await);
    }
    let mut now = start;
    let (mut restarts, mut cut_short, mut set_back) = (0, 0, 0);
    while now < end {
        match dice.below(400) {
            0..=2 => {
                let away = [5 * MINUTE, 3 * 60 * MINUTE, 3 * DAY][usize::try_from(dice.below(3)).unwrap()];
                now = now.plus(1 + dice.below(away));
                world.restart(now).await;
                restarts += 1;
            }
            3..=4 => {
                now = now.plus(-dice.below(100 * MINUTE));
                set_back += 1;
            }
            5..=14 => {
                // The look is dropped wherever it happens to be, as if the process ended there.
                world.clock.set(now);
                let cut = Duration::from_micros(u64::try_from(dice.below(12_000)).unwrap());
                cut_short += usize::from(tokio::time::timeout(cut, schedules::tick(world.ctx())).await.is_err());
            }
            _ => now = now.max(world.next_due().await).plus(dice.below(MINUTE)),
        }
        world.tick(now).await;
        world.work().await;
    }
    assert!(restarts > 2 && set_back > 0 && cut_short > 0, "nothing happened: {restarts} {set_back} {cut_short}");
    let (mut slots, mut completed, mut jobs) = (0, 0, HashSet::new());
    for schedule in &made {
        let runs = world.runs(schedule).await;
        let until = runs.last().unwrap().slot.max(now);
        slots += check(schedule, &runs, start, until);
        for run in runs.iter().filter(|run| run.status == RunStatus::Completed) {
            completed += 1;
            assert!(jobs.insert(run.job_id.unwrap()), "one job for two slots");
        }
    }
    assert_eq!(world.backup_jobs().await, completed, "every backup belongs to one slot");
    println!("{slots} slots, {completed} backups, {restarts} restarts, {set_back} times set back, {cut_short} looks cut short");
}

#[tokio::test]
async fn a_year_with_restarts_at_random_moments_loses_no_slot_and_runs_none_twice() {
    let schedules = [
        ("berlin", "30 2 * * *", "Europe/Berlin", true),
        ("berlin-gap", "30 1-3 * * *", "Europe/Berlin", false),
        ("new-york", "30 1 * * *", "America/New_York", false),
        ("lord-howe", "*/30 1-2 * * *", "Australia/Lord_Howe", true),
        ("sao-paulo", "0 0 * * *", "America/Sao_Paulo", true),
        ("casablanca", "15 2,3 * * 0", "Africa/Casablanca", false),
        ("kathmandu", "0 */12 * * *", "Asia/Kathmandu", true),
        ("either", "45 23 1,15 * 5", "America/New_York", true),
    ];
    a_year("2018-01-10T00:00:00Z", &schedules, 0x5eed).await;
}

#[tokio::test]
async fn a_year_of_hours_has_as_many_runs_as_the_year_has_hours() {
    let schedules = [("hourly", "0 * * * *", "Europe/Berlin", true), ("apia", "0 9 * * *", "Pacific/Apia", false)];
    a_year("2011-06-01T00:00:00Z", &schedules, 0xfeed).await;
}

#[tokio::test]
async fn a_hundred_hourly_databases_all_get_their_turn_and_never_more_than_three_at_once() {
    let start = moment("2026-10-24T21:30:00Z");
    let mut world = World::at(start).await;
    let mut made = Vec::new();
    for number in 0..100 {
        let name = format!("db{number}");
        let database = world.database(&name).await;
        made.push(world.schedule(database, &name, json!({"cron": "@hourly", "timeZone": "Europe/Berlin"})).await);
    }
    // Two days, one of which has 25 hours.
    let (hours, mut done) = (48, 0);
    for hour in 0..hours {
        let now = start.plus(hour * 60 * MINUTE + 30 * MINUTE + 3_000);
        if hour == 20 {
            world.restart(now).await;
        }
        world.tick(now).await;
        // Three workers; a fourth one finds nothing to do.
        while let Some(first) = world.claim().await {
            let mut running = vec![first];
            for _ in 0..2 {
                running.extend(world.claim().await);
            }
            if running.len() == 3 {
                assert!(world.claim().await.is_none(), "more backups at once than configured");
            }
            for (job, lease) in &running {
                world.end(job, lease, JobStatus::Completed).await;
                done += 1;
            }
        }
    }
    assert_eq!(done, hours * 100);
    for schedule in &made {
        let runs = world.runs(schedule).await;
        let expected: Vec<Moment> =
            reference::slots("0 * * * *", schedule.schedule.time_zone, start, start.plus(hours * 60 * MINUTE)).into_iter().collect();
        assert_eq!(runs.iter().map(|run| run.slot).collect::<Vec<_>>(), expected);
        assert!(runs.iter().all(|run| run.status == RunStatus::Completed));
    }
}
