//! Times in which no run starts: whether one holds, and when it ends.

use chrono::{Datelike, Days, NaiveDate, NaiveTime};
use chrono_tz::Tz;

use super::{
    cron::first_moment_of,
    schedule::{Blackout, Weekday},
    time::Moment,
};
use crate::error::{Error, Result};

const DAY: i64 = 86_400_000;

/// When a run that is due at `now` may start at the earliest: `None` when no blackout holds. One that begins before another
/// has ended goes on with it.
pub fn ends_at(blackouts: &[Blackout], zone: Tz, now: Moment) -> Option<Moment> {
    let mut free = now;
    // A week and a day from now every blackout has had its turn: what goes on then never ends.
    while let Some(end) = blackouts.iter().filter_map(|blackout| blackout.end_at(zone, free)).max()
        && free < now.plus(8 * DAY)
    {
        free = end;
    }
    (free > now).then_some(free)
}

/// Errors when a time cannot be read, when one is empty, or when together they leave no time free.
pub fn check(blackouts: &[Blackout], zone: Tz, now: Moment) -> Result<()> {
    for blackout in blackouts {
        let (from, to) = (minutes(&blackout.from)?, minutes(&blackout.to)?);
        if from == to || from == 1440 {
            return Err(Error::validation(format!("a blackout from {} to {} is empty", blackout.from, blackout.to))
                .hint("write 00:00 and 24:00 for a whole day"));
        }
    }
    if ends_at(blackouts, zone, now).is_some_and(|end| end >= now.plus(8 * DAY)) {
        return Err(Error::validation("together the blackouts leave no time in which a run could start"));
    }
    Ok(())
}

impl Blackout {
    /// When the blackout that holds at `now` ends; `None` when none does.
    fn end_at(&self, zone: Tz, now: Moment) -> Option<Moment> {
        let (from, to) = (minutes(&self.from).ok()?, minutes(&self.to).ok()?);
        let today = now.utc().with_timezone(&zone).date_naive();
        let held = |day: NaiveDate| {
            let begins = self.days.is_empty() || self.days.contains(&weekday(day));
            let last = if to <= from { day.checked_add_days(Days::new(1))? } else { day };
            let (start, end) = (at(zone, day, from)?, at(zone, last, to)?);
            (begins && start <= now && now < end).then_some(end)
        };
        // One that began yesterday may pass midnight.
        [today.pred_opt()?, today].into_iter().filter_map(held).max()
    }
}

/// A time of day in minutes: `00:00` to `24:00`.
fn minutes(text: &str) -> Result<u32> {
    let wrong = || Error::validation(format!("'{text}' is not a time of day")).hint("write hours and minutes, such as 08:30");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let is_number = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| is_number(part).then(|| part.parse::<u32>().ok()).flatten().ok_or_else(wrong);
    match (number(hours)?, number(minutes)?) {
        (hours, minutes) if hours < 24 && minutes < 60 || (hours, minutes) == (24, 0) => Ok(hours * 60 + minutes),
        _ => Err(wrong()),
    }
}

fn at(zone: Tz, day: NaiveDate, minutes: u32) -> Option<Moment> {
    let day = day.checked_add_days(Days::new(u64::from(minutes / 1440)))?;
    let time = NaiveTime::from_hms_opt(minutes / 60 % 24, minutes % 60, 0)?;
    Some(first_moment_of(zone, day.and_time(time)))
}

fn weekday(day: NaiveDate) -> Weekday {
    Weekday::ALL[day.weekday().num_days_from_monday() as usize]
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn moment(text: &str) -> Moment {
        Moment(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
    }

    fn blackout(from: &str, to: &str, days: &[Weekday]) -> Blackout {
        Blackout { from: from.into(), to: to.into(), days: days.to_vec() }
    }

    #[track_caller]
    fn ends(blackouts: &[Blackout], now: &str, expected: Option<&str>) {
        assert_eq!(ends_at(blackouts, Tz::Europe__Berlin, moment(now)), expected.map(moment), "{now}");
    }

    #[test]
    fn a_blackout_holds_from_its_first_minute_to_the_one_before_its_end() {
        let office = [blackout("08:00", "18:00", &[])];
        ends(&office, "2026-11-20T06:59:59Z", None);
        ends(&office, "2026-11-20T07:00:00Z", Some("2026-11-20T17:00:00Z"));
        ends(&office, "2026-11-20T16:59:59Z", Some("2026-11-20T17:00:00Z"));
        ends(&office, "2026-11-20T17:00:00Z", None);
    }

    #[test]
    fn one_that_passes_midnight_belongs_to_the_day_it_begins_on() {
        let night = [blackout("22:00", "06:00", &[Weekday::Friday])];
        ends(&night, "2026-11-20T21:30:00Z", Some("2026-11-21T05:00:00Z"));
        ends(&night, "2026-11-21T04:00:00Z", Some("2026-11-21T05:00:00Z"));
        ends(&night, "2026-11-21T21:30:00Z", None);
        ends(&[blackout("00:00", "24:00", &[Weekday::Sunday])], "2026-11-22T12:00:00Z", Some("2026-11-22T23:00:00Z"));
    }

    #[test]
    fn blackouts_that_touch_are_one_and_clock_changes_move_their_ends() {
        let two = [blackout("20:00", "22:00", &[]), blackout("22:00", "01:00", &[])];
        ends(&two, "2026-11-20T19:30:00Z", Some("2026-11-21T00:00:00Z"));
        // The night has 23 hours, and the end at 02:30 is skipped.
        ends(&[blackout("22:00", "02:30", &[])], "2026-03-28T22:00:00Z", Some("2026-03-29T01:00:00Z"));
        ends(&[blackout("22:00", "06:00", &[])], "2026-10-24T21:00:00Z", Some("2026-10-25T05:00:00Z"));
    }

    #[test]
    fn what_cannot_be_a_blackout_is_refused() {
        let now = moment("2026-11-20T12:00:00Z");
        for wrong in [
            blackout("8", "18:00", &[]),
            blackout("08:00", "25:00", &[]),
            blackout("08:00", "08:00", &[]),
            blackout("00:00", "24:00", &[]),
            blackout("24:00", "24:00", &[]),
            blackout("+1:00", "02:00", &[]),
        ] {
            assert!(check(std::slice::from_ref(&wrong), Tz::UTC, now).is_err(), "{wrong:?}");
        }
        assert!(check(&[blackout("08:00", "18:00", &[])], Tz::UTC, now).is_ok());
        assert!(check(&[blackout("06:00", "18:00", &[]), blackout("18:00", "06:00", &[])], Tz::UTC, now).is_err(), "no time is left");
    }
}
