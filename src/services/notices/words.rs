//! The words of notices. Whoever is woken by one reads what failed, why, and what to do.

use crate::{
    domain::{
        ids::NoticeId,
        notice::{Notice, NoticeEvent, Severity},
        time::Moment,
    },
    services::Ctx,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A notice of now, to be filled in.
pub(super) fn notice(ctx: &Ctx, event: NoticeEvent, severity: Severity, subject: &str, title: String) -> Notice {
    Notice {
        id: NoticeId::new(),
        event,
        severity,
        at: ctx.now(),
        project_id: None,
        database_id: None,
        subject: subject.to_owned(),
        title,
        what: String::new(),
        next_step: String::new(),
        link: None,
        facts: vec![("When".into(), time(ctx, ctx.now()))],
        group: String::new(),
    }
}

/// An address of this installation; `None` when BASE_URL does not say how people reach it.
pub(super) fn link(ctx: &Ctx, path: &str) -> Option<String> {
    let base = ctx.config.base_url.as_ref()?.as_str().trim_end_matches('/').to_owned();
    Some(format!("{base}{path}"))
}

/// `2026-11-21 03:00 CET`, in the zone of TZ.
pub(super) fn time(ctx: &Ctx, at: Moment) -> String {
    at.utc().with_timezone(&ctx.config.tz).format("%Y-%m-%d %H:%M %Z").to_string()
}

/// [`time`] and how long ago that is.
pub(super) fn time_ago(ctx: &Ctx, at: Moment) -> String {
    format!("{}, {} ago", time(ctx, at), span(ctx.now().since(at)))
}

/// `2 days`, `5 hours`, `12 minutes`, from milliseconds: the largest unit.
pub(super) fn span(milliseconds: u64) -> String {
    let (number, unit) = match milliseconds {
        ms if ms >= 2 * DAY => (ms / DAY, "day"),
        ms if ms >= HOUR => (ms / HOUR, "hour"),
        ms if ms >= MINUTE => (ms / MINUTE, "minute"),
        ms => (ms / 1000, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// An error's text taken apart: what happened, and the next step that stands in parentheses at its end.
pub(super) fn cause_and_step(error: &str) -> (String, Option<String>) {
    let error = error.trim();
    let (mut depth, mut start) = (0_u32, None);
    if error.ends_with(')') {
        for (at, c) in error.char_indices().rev() {
            match c {
                ')' => depth += 1,
                '(' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                start = Some(at);
                break;
            }
        }
    }
    match start {
        // The number that an operating system puts behind its words is no advice.
        Some(start) if error[start..].starts_with("(os error ") => (sentence(error), None),
        Some(start) if start > 0 => (sentence(&error[..start]), Some(sentence(&error[start + 1..error.len() - 1]))),
        _ => (sentence(error), None),
    }
}

/// With a capital at its beginning and a full stop at its end.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut chars = text.chars();
    // The name of a program or a file keeps its small letter.
    let first_word = text.split_whitespace().next().unwrap_or_default();
    let plain = first_word.chars().all(|c| c.is_ascii_alphabetic());
    let mut sentence: String = match chars.next() {
        Some(first) if plain => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    };
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_next_step_is_told_apart_from_its_cause() {
        let (cause, step) = cause_and_step("pg_dump ended with code 1 (see below): no route (check the host (and port))");
        assert_eq!(
            (cause.as_str(), step.as_deref()),
            ("pg_dump ended with code 1 (see below): no route.", Some("Check the host (and port)."))
        );
        assert_eq!(cause_and_step("disk full"), ("Disk full.".to_owned(), None));
        assert_eq!(cause_and_step("(all in parentheses)").1, None);
        assert_eq!(cause_and_step("odd )").1, None);
    }

    #[test]
    fn spans_and_sizes_are_read_at_a_glance() {
        assert_eq!(
            [span(59_000), span(60_000), span(HOUR), span(26 * HOUR), span(3 * DAY)],
            ["59 seconds", "1 minute", "1 hour", "26 hours", "3 days"]
        );
    }
}
