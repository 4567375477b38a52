//! Local time and real time: where a zone's offset changes, and which moment a local time is.
//!
//! Moments are seconds since 1970, UTC; local times are seconds since 1970 as if they were UTC; offsets are seconds.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Changes are looked for in steps of this size. No zone changes twice within it (a test walks through all of them).
pub(super) const STEP: i64 = 6 * 3600;

/// No offset is larger, in either direction.
const MOST: i64 = 16 * 3600;

/// A moment from which another offset holds.
pub(super) struct Change {
    pub at: i64,
    pub after: i64,
}

/// Local time minus UTC at a moment.
pub(super) fn offset(zone: Tz, at: i64) -> i64 {
    let at = DateTime::from_timestamp(at, 0).unwrap_or_default().naive_utc();
    i64::from(zone.offset_from_utc_datetime(&at).fix().local_minus_utc())
}

/// The first change after `from`, not after `until`.
pub(super) fn first_change(zone: Tz, from: i64, until: i64) -> Option<Change> {
    let before = offset(zone, from);
    let mut low = from;
    while low < until {
        let mut high = until.min(low + STEP);
        if offset(zone, high) == before {
            low = high;
            continue;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if offset(zone, middle) == before { low = middle } else { high = middle }
        }
        return Some(Change { at: high, after: offset(zone, high) });
    }
    None
}

/// The first moment at which clocks show `local`; when they skip it, the moment at which they do.
pub(super) fn first_moment_of(zone: Tz, local: i64) -> i64 {
    let mut start = local - MOST;
    loop {
        let moment = local - offset(zone, start);
        match first_change(zone, start, local + MOST) {
            Some(change) if change.at <= moment => {
                if local < change.at + change.after {
                    return change.at;
                }
                start = change.at;
            }
            _ => return moment,
        }
    }
}
