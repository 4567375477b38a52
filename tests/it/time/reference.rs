//! The slots of a schedule found the slow way: a walk through real time, minute by minute, looking at a wall clock. It
//! shares nothing with the product but the time zone data.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use dbsnap::domain::time::Moment;

/// Every slot later than `after`, up to `until`.
pub fn slots(cron: &str, zone: Tz, after: Moment, until: Moment) -> BTreeSet<Moment> {
    let fields: Vec<&str> = cron.split(' ').collect();
    let interval = fields[..2].iter().any(|field| field.contains(['*', '/']));
    let due = |local: NaiveDateTime| {
        let weekday = local.weekday().num_days_from_sunday();
        let (day, weekday) = (holds(fields[2], local.day(), 1, 31), holds(fields[4], weekday, 0, 6));
        let either = !fields[2].starts_with('*') && !fields[4].starts_with('*');
        holds(fields[0], local.minute(), 0, 59)
            && holds(fields[1], local.hour(), 0, 23)
            && holds(fields[3], local.month(), 1, 12)
            && if either { day || weekday } else { day && weekday }
    };
    let shown_at = |minute: i64| Moment(minute * 60_000).utc().with_timezone(&zone).naive_local();
    let start = after.0 / 60_000 - 3 * 1440;
    let mut latest = shown_at(start);
    let mut found = BTreeSet::new();
    for minute in start..=until.0 / 60_000 {
        let shown = shown_at(minute);
        let here = if interval {
            due(shown)
        } else {
            // A fixed time is due when the clock first shows it, or has jumped over it.
            let ahead = (shown - latest).num_minutes();
            let reached = (1..=ahead).any(|step| due(latest + TimeDelta::minutes(step)));
            latest = latest.max(shown);
            reached
        };
        if here && Moment(minute * 60_000) > after {
            found.insert(Moment(minute * 60_000));
        }
    }
    found
}

fn holds(field: &str, value: u32, least: u32, most: u32) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').map_or((item, 1), |(range, step)| (range, step.parse().unwrap()));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
            None if range == "*" => (least, most),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        (first..=last).contains(&value) && (value - first).is_multiple_of(step)
    })
}
