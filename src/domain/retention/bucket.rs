//! The hours, days, weeks, months and years that backups fall into.

use std::collections::HashSet;

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;

use super::Policy;

/// A rule of standard mode while the backups are walked, newest first.
pub(super) struct Rule {
    name: &'static str,
    /// How many buckets it keeps the newest backup of.
    keep: u32,
    /// The bucket of a local time as a number, which is quick to compare, and as text that names it.
    bucket: fn(&DateTime<Tz>) -> i64,
    label: fn(&DateTime<Tz>) -> String,
    seen: HashSet<i64>,
}

impl Rule {
    /// The rules of a policy that keep anything.
    pub(super) fn all(policy: &Policy) -> Vec<Rule> {
        let mut rules = vec![
            Rule::new("hourly", policy.keep_hourly, |at| days(at) * 24 + i64::from(at.hour()), hour),
            Rule::new("daily", policy.keep_daily, days, day),
            Rule::new("weekly", policy.keep_weekly, |at| i64::from(at.iso_week().year()) * 60 + i64::from(at.iso_week().week()), week),
            Rule::new("monthly", policy.keep_monthly, |at| i64::from(at.year()) * 12 + i64::from(at.month()), month),
            Rule::new("yearly", policy.keep_yearly, |at| i64::from(at.year()), year),
        ];
        rules.retain(|rule| rule.keep > 0);
        rules
    }

    fn new(name: &'static str, keep: u32, bucket: fn(&DateTime<Tz>) -> i64, label: fn(&DateTime<Tz>) -> String) -> Rule {
        Rule { name, keep, bucket, label, seen: HashSet::new() }
    }

    /// True when it has all the buckets that it keeps: it takes no older backup any more.
    pub(super) fn is_full(&self) -> bool {
        self.seen.len() >= self.keep as usize
    }

    /// Takes the next older backup, by the local time at which it ended. Says why it is kept, when it is the newest of one of
    /// the buckets that count.
    ///
    /// Buckets are remembered, not only the last one: where clocks go back over midnight, a day comes up twice.
    pub(super) fn take(&mut self, at: &DateTime<Tz>) -> Option<String> {
        if self.is_full() || !self.seen.insert((self.bucket)(at)) {
            return None;
        }
        Some(format!("{} {} of {} ({})", self.name, self.seen.len(), self.keep, (self.label)(at)))
    }
}

/// Days of the calendar, one number for each.
fn days(at: &DateTime<Tz>) -> i64 {
    i64::from(at.date_naive().num_days_from_ce())
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
