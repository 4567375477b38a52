//! How values are written in pages: sizes, counts, times, states.

use std::fmt::Display;

use askama::{Result, Values, filters::Safe, get_value};
use chrono_tz::Tz;

use crate::domain::{amount, time::Moment};

/// A number, however often it is borrowed: templates borrow what they pass on.
pub trait Figure {
    fn figure(&self) -> u64;
}

impl Figure for u64 {
    fn figure(&self) -> u64 {
        *self
    }
}

impl Figure for usize {
    fn figure(&self) -> u64 {
        *self as u64
    }
}

impl<T: Figure> Figure for &T {
    fn figure(&self) -> u64 {
        (**self).figure()
    }
}

/// A moment, however often it is borrowed.
pub trait Instant {
    fn instant(&self) -> Moment;
}

impl Instant for Moment {
    fn instant(&self) -> Moment {
        *self
    }
}

impl<T: Instant> Instant for &T {
    fn instant(&self) -> Moment {
        (**self).instant()
    }
}

/// `1.2 GB`: powers of 1000, three digits.
#[askama::filter_fn]
pub fn bytes<N: Figure>(size: N, _: &dyn Values) -> Result<String> {
    Ok(amount::size(size.figure()))
}

/// `1,204,511`.
#[askama::filter_fn]
pub fn count<N: Display>(number: N, _: &dyn Values) -> Result<String> {
    Ok(amount::grouped(&number.to_string()))
}

/// `850 ms`, `6.1 s`, `4 min 12 s`, `2 h 5 min`, from milliseconds.
#[askama::filter_fn]
pub fn duration<N: Figure>(ms: N, _: &dyn Values) -> Result<String> {
    Ok(duration_text(ms.figure()))
}

/// `16 Nov 2026, 14:30:22` in the configured zone, as a `time` element.
#[askama::filter_fn]
pub fn at<M: Instant>(moment: M, values: &dyn Values) -> Result<Safe<String>> {
    let moment = moment.instant();
    let zone = get_value::<Tz>(values, "tz")?;
    Ok(Safe(format!(r#"<time datetime="{moment}" title="{}">{}</time>"#, long(moment, zone), short(moment, zone))))
}

/// The same as text alone, for where no element may stand.
#[askama::filter_fn]
pub fn plain_at<M: Instant>(moment: M, values: &dyn Values) -> Result<String> {
    Ok(short(moment.instant(), get_value::<Tz>(values, "tz")?))
}

/// `12 minutes ago`; the script keeps it fresh, the title has the exact time.
#[askama::filter_fn]
pub fn ago<M: Instant>(moment: M, values: &dyn Values) -> Result<Safe<String>> {
    let moment = moment.instant();
    let zone = get_value::<Tz>(values, "tz")?;
    let text = ago_text(Moment::now().since(moment));
    Ok(Safe(format!(r#"<time datetime="{moment}" data-relative title="{}">{text}</time>"#, long(moment, zone))))
}

/// `14:30:22.104` in the configured zone.
#[askama::filter_fn]
pub fn clock<M: Instant>(moment: M, values: &dyn Values) -> Result<String> {
    let moment = moment.instant();
    let zone = get_value::<Tz>(values, "tz")?;
    Ok(moment.utc().with_timezone(zone).format("%H:%M:%S%.3f").to_string())
}

/// A value of a database as HTML: escaped, with what cannot be seen made visible, see [`super::visible`].
#[askama::filter_fn]
pub fn shown<T: Display>(text: T, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(super::visible::html(&text.to_string())))
}

/// A value of a database for an attribute, with what cannot be seen made visible.
#[askama::filter_fn]
pub fn named<T: Display>(text: T, _: &dyn Values) -> Result<String> {
    Ok(super::visible::text(&text.to_string()))
}

/// `s` unless the number is 1.
#[askama::filter_fn]
pub fn s<N: Figure>(number: N, _: &dyn Values) -> Result<&'static str> {
    Ok(if number.figure() == 1 { "" } else { "s" })
}

fn long(moment: Moment, zone: &Tz) -> String {
    moment.utc().with_timezone(zone).format("%A %-d %B %Y, %H:%M:%S %Z").to_string()
}

fn short(moment: Moment, zone: &Tz) -> String {
    moment.utc().with_timezone(zone).format("%-d %b %Y, %H:%M:%S").to_string()
}

pub fn duration_text(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=59 => format!("{:.1} s", ms as f64 / 1000.0),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

fn ago_text(ms: u64) -> String {
    match ms / 1000 {
        0..10 => "just now".to_owned(),
        s @ 10..60 => format!("{s} sec. ago"),
        s @ 60..3600 => format!("{} min. ago", s / 60),
        s @ 3600..86400 => format!("{} hr. ago", s / 3600),
        s if s < 172_800 => "yesterday".to_owned(),
        s => format!("{} days ago", s / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_honest() {}

    #[test]
    fn durations_and_counts_read_as_a_person_says_them() {
        for (ms, text) in [(850, "850 ms"), (6_100, "6.1 s"), (252_000, "4 min 12 s"), (7_500_000, "2 h 5 min"), (180_000_000, "2 d 2 h")] {
            assert_eq!(duration_text(ms), text);
        }
    }
}
