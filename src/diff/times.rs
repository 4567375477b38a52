//! Dates and times as text: the fraction without its last zeros, and the moment in nanoseconds.

use chrono::NaiveDate;

const SECOND: i128 = 1_000_000_000;

/// A time's text in three parts: up to the seconds, the fraction without zeros at its end, and what follows it, such as an
/// offset or ` BC`.
pub fn split(text: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let Some(point) = memchr::memchr(b'.', text) else {
        let seconds =
            text.iter().position(|byte| matches!(byte, b'+')).or_else(|| offset_after_minus(text)).unwrap_or_else(|| before_era(text));
        return (&text[..seconds], &[], &text[seconds..]);
    };
    let digits = text[point + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = text[point + 1..].split_at(digits);
    let kept = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
    (&text[..point], &fraction[..kept], rest)
}

/// Where an offset west of Greenwich begins: a minus after the last colon of the time.
fn offset_after_minus(text: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', text)?;
    memchr::memchr(b'-', &text[colon..]).map(|at| colon + at)
}

fn before_era(text: &[u8]) -> usize {
    if text.ends_with(b" BC") { text.len() - 3 } else { text.len() }
}

/// Nanoseconds since 1970 of a date or timestamp in UTC, or since midnight of a time; `None` where the text is another.
/// An offset other than `+00` gives `None` too.
pub fn nanoseconds(text: &[u8]) -> Option<i128> {
    let (head, fraction, rest) = split(text);
    let head = std::str::from_utf8(head).ok()?;
    let (rest, before_christ) = match rest.strip_suffix(b" BC") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if !matches!(rest, b"" | b"+00") {
        return None;
    }
    let (date, time) = match head.split_once(' ') {
        Some((date, time)) => (Some(date), Some(time)),
        None if head.contains(':') => (None, Some(head)),
        None => (Some(head), None),
    };
    let days = match date {
        Some(date) => days(date, before_christ)?,
        None => 0,
    };
    let (negative, time) = match time.unwrap_or("00:00:00") {
        time if time.starts_with('-') => (true, &time[1..]),
        time => (false, time),
    };
    let within = seconds(time)? * SECOND + nanos(fraction);
    Some(i128::from(days) * 86_400 * SECOND + if negative { -within } else { within })
}

fn days(date: &str, before_christ: bool) -> Option<i32> {
    let mut parts = date.rsplitn(3, '-');
    let (day, month, year) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse::<i32>().ok()?);
    let date = NaiveDate::from_ymd_opt(if before_christ { 1 - year } else { year }, month, day)?;
    Some(date.signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days() as i32)
}

fn seconds(time: &str) -> Option<i128> {
    let mut parts = time.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then(|| i128::from(hours) * 3600 + i128::from(minutes) * 60 + i128::from(seconds))
}

fn nanos(fraction: &[u8]) -> i128 {
    (0..9).fold(0, |sum, at| sum * 10 + i128::from(fraction.get(at).map_or(0, |digit| digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_splits_before_its_fraction_and_its_offset() {
        let check = |text: &str, head: &str, fraction: &str, rest: &str| {
            assert_eq!(split(text.as_bytes()), (head.as_bytes(), fraction.as_bytes(), rest.as_bytes()), "{text}");
        };
        check("2024-01-31 10:00:00.120", "2024-01-31 10:00:00", "12", "");
        check("2024-01-31 10:00:00.000+00", "2024-01-31 10:00:00", "", "+00");
        check("2024-01-31 10:00:00+00", "2024-01-31 10:00:00", "", "+00");
        check("10:00:00-03:30", "10:00:00", "", "-03:30");
        check("0044-03-15 00:00:00 BC", "0044-03-15 00:00:00", "", " BC");
        check("2024-01-31", "2024-01-31", "", "");
    }

    #[test]
    fn moments_are_told_in_nanoseconds() {
        let at = |text: &str| nanoseconds(text.as_bytes());
        assert_eq!(at("1970-01-02 00:00:01.5"), Some(86_401_500_000_000));
        assert_eq!(at("1970-01-02 00:00:01.5+00"), at("1970-01-02 00:00:01.500"));
        assert_eq!(at("1970-01-02"), at("1970-01-02 00:00:00"));
        assert_eq!(at("-00:00:01"), Some(-1_000_000_000));
        assert_eq!(at("838:59:59"), Some(3_020_399_000_000_000));
        assert_eq!(at("0001-01-01 00:00:00").unwrap() - at("0001-12-31 00:00:00 BC").unwrap(), 86_400_000_000_000);
        for odd in ["infinity", "10:00:00-03:30", "10:00", "2024-13-01", "2024-01-31 x", "1:2:3:4", ""] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }
}
