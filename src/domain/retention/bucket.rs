//! The hours, days, weeks, months and years that backups fall into.

use std::collections::HashSet;

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;

use super::Policy;
use crate::domain::time::Moment;

/// A rule of standard mode while the backups are walked, newest first.
pub(super) struct Rule {
    name: &'static str,
    /// How many buckets it keeps the newest backup of.
    keep: u32,
    /// The bucket of a local time, as text that names it.
    bucket: fn(&DateTime<Tz>) -> String,
    seen: HashSet<String>,
}

impl Rule {
    /// The rules of a policy that keep anything.
    pub(super) fn all(policy: &Policy) -> Vec<Rule> {
        let rule = |name, keep, bucket| Rule { name, keep, bucket, seen: HashSet::new() };
        let rules = [
            rule("hourly", policy.keep_hourly, hour),
            rule("daily", policy.keep_daily, day),
            rule("weekly", policy.keep_weekly, week),
            rule("monthly", policy.keep_monthly, month),
            rule("yearly", policy.keep_yearly, year),
        ];
        rules.into_iter().filter(|rule| rule.keep > 0).collect()
    }

    /// Takes the next older backup. Says why it is kept, when it is the newest of one of the buckets that count.
    ///
    /// Buckets are remembered, not only the last one: where clocks go back over midnight, a day comes up twice.
    pub(super) fn take(&mut self, zone: Tz, at: Moment) -> Option<String> {
        let count = self.seen.len();
        if count >= self.keep as usize {
            return None;
        }
        let bucket = (self.bucket)(&at.utc().with_timezone(&zone));
        if !self.seen.insert(bucket.clone()) {
            return None;
        }
        Some(format!("{} {} of {} ({bucket})", self.name, count + 1, self.keep))
    }
}

/// An hour as the clock shows it: where clocks go back, the hour that comes twice is one, as in restic.
fn hour(at: &DateTime<Tz>) -> String {
    format!("{} {:02}:00", day(at), at.hour())
}

fn day(at: &DateTime<Tz>) -> String {
    format!("{}-{:02}", month(at), at.day())
}

/// An ISO week: its year is the one that its Thursday is in.
fn week(at: &DateTime<Tz>) -> String {
    let week = at.iso_week();
    format!("{:04}-W{:02}", week.year(), week.week())
}

fn month(at: &DateTime<Tz>) -> String {
    format!("{}-{:02}", year(at), at.month())
}

fn year(at: &DateTime<Tz>) -> String {
    format!("{:04}", at.year())
}
