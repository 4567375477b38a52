//! When a schedule is due: a cron expression in a time zone, with the days on which clocks change.
//!
//! croner reads the pattern. What a clock change does to it is decided here, on real moments:
//! - FIXED patterns have neither `*` nor a step in minute and hour. A local time that is skipped runs once, at the next
//!   valid moment; one that repeats runs once, the first time.
//! - All others keep their real interval: every moment whose local time matches is one, 25 on a day of 25 hours.

use chrono::{DateTime, Datelike, NaiveDateTime};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

use super::{backup::BackupType, time::Moment};
use crate::error::{Error, Result};

mod fields;
#[cfg(test)]
mod tests;
mod zone;

/// No pattern that is ever due waits longer: 29 February on one given weekday, over a century without leap day.
const HORIZON_DAYS: i64 = 41 * 366;

/// Days over which the runs are counted to name the period: four years with their leap day.
const SURVEY_DAYS: i64 = 1461;

const DAY: i64 = 86_400;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    /// One bit per minute, hour, day of month, month and day of week (0 is Sunday) that matches.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields must match; otherwise one of them is enough.
    both_days: bool,
    /// It is about times of the day, not about an interval.
    fixed: bool,
}

impl Cron {
    /// Reads five fields (minute, hour, day of month, month, day of week) or one of `@hourly`, `@daily`, `@midnight`,
    /// `@weekly`, `@monthly`, `@yearly`, `@annually`. Day of month and day of week both given mean either, unless one
    /// of them begins with `*`, as in Vixie cron. Errors with `VALIDATION_ERROR`, also when no date can ever match.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let fields = fields::read(text)?;
        let both_days = fields.any_day || fields.any_weekday;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).dom_and_dow(both_days).build();
        let pattern = parser.parse(&fields.pattern).map_err(|cause| fields::refused(text, &cause.to_string()))?.pattern;
        let bits = |values: Vec<u16>| values.into_iter().fold(0_u64, |bits, value| bits | 1 << value);
        // The bit that croner marks plain values with.
        let plain = 1;
        let cron = Self {
            text: text.to_owned(),
            minutes: bits(pattern.minutes.get_set_values(plain)),
            hours: bits(pattern.hours.get_set_values(plain)),
            days: bits(pattern.days.get_set_values(plain)),
            months: bits(pattern.months.get_set_values(plain)),
            weekdays: bits(pattern.days_of_week.get_set_values(plain)),
            both_days,
            fixed: fields.fixed,
        };
        if cron.is_impossible() {
            return Err(fields::refused(text, "no month has such a day, so it would never be due"));
        }
        Ok(cron)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first moment later than `after` at which it is due in `zone`; `None` beyond about 40 years.
    pub fn next_after(&self, zone: Tz, after: Moment) -> Option<Moment> {
        let after = after.0.div_euclid(1000);
        // Far from the ends of what a calendar can tell, so that nothing below overflows.
        if !(-60_000_000_000..=200_000_000_000).contains(&after) {
            return None;
        }
        let next = if self.fixed { self.next_fixed(zone, after) } else { self.next_interval(zone, after) };
        next.map(|seconds| Moment(seconds * 1000))
    }

    /// The first `count` moments later than `after`.
    pub fn next_runs(&self, zone: Tz, after: Moment, count: usize) -> Vec<Moment> {
        std::iter::successors(self.next_after(zone, after), |last| self.next_after(zone, *last)).take(count).collect()
    }

    /// What its backups are called by: how long it is from one to the next, on average.
    pub fn backup_type(&self) -> BackupType {
        if self.minutes.count_ones() * self.hours.count_ones() > 1 {
            return BackupType::Hourly;
        }
        let first = 20_089; // 1 January 2025
        let days = (first..first + SURVEY_DAYS).filter(|day| self.matches_day(*day)).count();
        match SURVEY_DAYS / i64::try_from(days).unwrap_or(SURVEY_DAYS).max(1) {
            0..=3 => BackupType::Daily,
            4..=13 => BackupType::Weekly,
            14..=200 => BackupType::Monthly,
            _ => BackupType::Yearly,
        }
    }

    /// Each matching local time is one moment. A later local time never comes to an earlier moment, so the first local
    /// time whose moment is late enough is the next.
    fn next_fixed(&self, zone: Tz, after: i64) -> Option<i64> {
        let mut local = self.next_local(after + zone::offset(zone, after) + 1)?;
        loop {
            let moment = zone::first_moment_of(zone, local);
            if moment > after {
                return Some(moment);
            }
            local = self.next_local(local + 1)?;
        }
    }

    /// From one change of the zone's offset to the next, local time runs like real time.
    fn next_interval(&self, zone: Tz, after: i64) -> Option<i64> {
        let mut start = after;
        let mut offset = zone::offset(zone, after);
        let mut local = self.next_local(after + offset + 1)?;
        loop {
            let moment = local - offset;
            let Some(change) = zone::first_change(zone, start, moment) else { return Some(moment) };
            if change.at - after > HORIZON_DAYS * DAY {
                return None;
            }
            (start, offset) = (change.at, change.after);
            local = self.next_local(start + offset)?;
        }
    }

    /// The first matching local time at or after `from`, both in seconds since 1970 as if the local time were UTC.
    fn next_local(&self, from: i64) -> Option<i64> {
        let from = from.div_euclid(60) + i64::from(from.rem_euclid(60) > 0);
        let today = from.div_euclid(1440);
        let in_day = (today..today + HORIZON_DAYS).find_map(|day| {
            if !self.matches_day(day) {
                return None;
            }
            let least = if day == today { from.rem_euclid(1440) } else { 0 };
            Some(day * 1440 + self.next_minute_of_day(least)?)
        });
        in_day.map(|minute| minute * 60)
    }

    /// The first matching minute of a day, not before `least`.
    fn next_minute_of_day(&self, least: i64) -> Option<i64> {
        let (hour, minute) = (least / 60, least % 60);
        let later = |bits: u64, from: i64| {
            let left = if from > 63 { 0 } else { bits >> from << from };
            (left != 0).then(|| i64::from(left.trailing_zeros()))
        };
        let this_hour = (self.hours >> hour & 1 == 1).then(|| later(self.minutes, minute)).flatten();
        match this_hour {
            Some(minute) => Some(hour * 60 + minute),
            None => Some(later(self.hours, hour + 1)? * 60 + later(self.minutes, 0)?),
        }
    }

    /// `day` in days since 1970.
    fn matches_day(&self, day: i64) -> bool {
        let Some(date) = DateTime::from_timestamp(day * DAY, 0) else { return false };
        let by_day = self.days >> date.day() & 1 == 1;
        let by_weekday = self.weekdays >> date.weekday().num_days_from_sunday() & 1 == 1;
        let day_fits = if self.both_days { by_day && by_weekday } else { by_day || by_weekday };
        day_fits && self.months >> date.month() & 1 == 1
    }

    fn is_impossible(&self) -> bool {
        let longest = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let first_day = self.days.trailing_zeros();
        let some_date = (1..).zip(longest).any(|(month, days)| self.months >> month & 1 == 1 && first_day <= days);
        self.both_days && !some_date
    }
}

/// The first moment at which clocks in `zone` show this local time; when they skip it, the moment at which they do.
pub fn first_moment_of(zone: Tz, local: NaiveDateTime) -> Moment {
    Moment(zone::first_moment_of(zone, local.and_utc().timestamp()) * 1000)
}

/// A zone by its IANA name. Errors with `VALIDATION_ERROR`.
pub fn zone(name: &str) -> Result<Tz> {
    name.trim().parse().map_err(|_| {
        let shown: String = name.chars().take(60).collect();
        Error::validation(format!("'{shown}' is not a known time zone"))
            .hint("use an IANA name such as Europe/Berlin, America/New_York or UTC")
    })
}
