//! Schedules in words.

use chrono_tz::Tz;
use url::Url;

use super::form::WEEKDAYS;
use crate::{
    domain::{
        schedule::{Hook, RunStatus, Schedule},
        time::Moment,
    },
    error::Error,
    services::schedules::ScheduleView,
    web::state::{Look, State},
};

/// When it runs, for people.
pub fn when(view: &ScheduleView) -> String {
    let schedule = &view.schedule;
    match (&schedule.cron, &view.after_schedule_name) {
        (Some(cron), _) => format!("{} ({})", expression(cron), schedule.time_zone),
        (None, Some(parent)) => format!("after {parent}"),
        (None, None) => "never: what it came after is gone".to_owned(),
    }
}

/// One of the usual expressions in words, any other as it is.
fn expression(cron: &str) -> String {
    let number = |text: &str| text.parse::<u8>().ok();
    let parts: Vec<&str> = cron.split_whitespace().collect();
    let worded = match parts.as_slice() {
        ["@hourly"] => Some("every hour".to_owned()),
        ["@daily" | "@midnight"] => Some("every day at 00:00".to_owned()),
        ["@weekly"] => Some("every Sunday at 00:00".to_owned()),
        ["@monthly"] => Some("on day 1 of each month at 00:00".to_owned()),
        [minute, "*", "*", "*", "*"] => number(minute).map(|minute| format!("every hour at :{minute:02}")),
        [minute, hour, day, "*", weekday] => number(minute).zip(number(hour)).and_then(|(minute, hour)| {
            let time = format!("{hour:02}:{minute:02}");
            match (*day, *weekday) {
                ("*", "*") => Some(format!("every day at {time}")),
                ("*", "1-5") => Some(format!("Monday to Friday at {time}")),
                ("*", weekday) => WEEKDAYS.iter().find(|known| known.0 == weekday).map(|known| format!("every {} at {time}", known.1)),
                (day, "*") => number(day).map(|day| format!("on day {day} of each month at {time}")),
                _ => None,
            }
        }),
        _ => None,
    };
    worded.unwrap_or_else(|| cron.to_owned())
}

/// What a hook runs and when. Of an address only the host: its path may be a secret.
pub fn hook(hook: &Hook) -> String {
    let what = match (&hook.url, hook.command.split_first()) {
        (Some(url), _) => Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "an address".to_owned()),
        (None, Some((program, []))) => program.clone(),
        (None, Some((program, [_]))) => format!("{program} with 1 argument"),
        (None, Some((program, arguments))) => format!("{program} with {} arguments", arguments.len()),
        (None, None) => String::new(),
    };
    format!("{}: {what}, at most {} s", hook.stage, hook.timeout_seconds)
}

/// A moment in the schedule's own zone.
pub fn local(at: Moment, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// [`local`] in the schedule's zone.
pub fn slot(at: Moment, schedule: &Schedule) -> String {
    local(at, schedule.time_zone)
}

/// What to do, behind what is wrong.
pub fn hint(error: &Error) -> String {
    error.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default()
}

impl State for RunStatus {
    fn look(&self) -> Look {
        let (class, sign, word) = match self {
            Self::Waiting => ("", "○", "waiting"),
            Self::Queued => ("busy", "◐", "started"),
            Self::Completed => ("ok", "✓", "completed"),
            Self::Failed => ("bad", "✕", "failed"),
            Self::Cancelled => ("", "–", "cancelled"),
            Self::Skipped => ("", "–", "left out"),
            Self::Missed => ("warn", "!", "missed"),
        };
        Look { class, sign, word }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_expressions_are_told_in_words_and_others_as_they_are() {
        let check = |cron, expect| assert_eq!(expression(cron), expect);
        check("30 2 * * *", "every day at 02:30");
        check("5 * * * *", "every hour at :05");
        check("0 4 * * 0", "every Sunday at 04:00");
        check("15 1 1 * *", "on day 1 of each month at 01:15");
        check("0 22 * * 1-5", "Monday to Friday at 22:00");
        for cron in ["*/20 1-5 * * 1-5", "0 0 1 1 *", "0 0 13 * 5", "* * * * *"] {
            check(cron, cron);
        }
    }
}
