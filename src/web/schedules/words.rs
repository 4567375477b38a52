//! Schedules in words.

use chrono_tz::Tz;

use crate::{
    domain::{
        schedule::{RunStatus, Schedule},
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
        (Some(cron), _) => format!("{cron} ({})", schedule.time_zone),
        (None, Some(parent)) => format!("after {parent}"),
        (None, None) => "never: what it came after is gone".to_owned(),
    }
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
