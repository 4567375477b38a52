//! What the formats share: cleaning and cutting of text, words and colours of severities, the plain message.

use crate::domain::notice::{Notice, NoticeEvent, Severity};

/// Text from anywhere as one that moves no cursor and reverses no line: control characters and those that change the
/// direction of writing are taken out. Line breaks stay.
pub(super) fn clean(text: &str) -> String {
    let odd =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    text.replace("\r\n", "\n").replace('\t', " ").chars().filter(|c| !odd(*c)).collect()
}

/// [`clean`], and on one line.
pub(super) fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most `limit` characters, with an ellipsis where something was cut. Counted as the strictest services do: what lies
/// beyond the first plane of Unicode, such as an emoji, is two.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit || text.encode_utf16().count() <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(1);
    let kept = text.chars().take_while(|c| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    kept.chain(['…']).collect()
}

/// A notice whose texts are no longer than anybody reads, for forms without limits of their own.
pub(super) fn bounded(notice: &Notice) -> Notice {
    let facts = notice.facts.iter().take(50).map(|(name, value)| (cut(name, 100), cut(value, 500)));
    Notice {
        subject: cut(&notice.subject, 500),
        title: cut(&notice.title, 1000),
        what: cut(&notice.what, 20_000),
        next_step: cut(&notice.next_step, 5000),
        facts: facts.collect(),
        group: cut(&notice.group, 500),
        ..notice.clone()
    }
}

/// `&`, `<`, `>` and quotes as HTML and Slack write them.
pub(super) fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// True of what needs nobody: it ended well.
pub(super) fn is_good(notice: &Notice) -> bool {
    matches!(
        notice.event,
        NoticeEvent::BackupSucceeded | NoticeEvent::BackupRecovered | NoticeEvent::RestoreFinished | NoticeEvent::Resolved
    )
}

/// A sign that says at a glance how grave it is.
pub(super) fn sign(notice: &Notice) -> &'static str {
    match notice.severity {
        _ if is_good(notice) => "✅",
        Severity::Info => "ℹ️",
        Severity::Warning => "⚠️",
        Severity::Error => "❌",
        Severity::Critical => "🚨",
    }
}

/// 0xRRGGBB.
pub(super) fn color(notice: &Notice) -> u32 {
    match notice.severity {
        _ if is_good(notice) => 0x2e_8b_57,
        Severity::Info => 0x4a_6f_a5,
        Severity::Warning => 0xc9_82_1a,
        Severity::Error => 0xc0_39_2b,
        Severity::Critical => 0x8e_1b_1b,
    }
}

/// The message below the title as plain text: what happened, what to do, the facts, where to look.
pub(super) fn plain(notice: &Notice) -> String {
    let mut parts = vec![clean(&notice.what)];
    if !notice.next_step.is_empty() {
        parts.push(format!("What to do: {}", clean(&notice.next_step)));
    }
    let facts: Vec<_> = notice.facts.iter().map(|(name, value)| format!("{}: {}", line(name), line(value))).collect();
    if !facts.is_empty() {
        parts.push(facts.join("\n"));
    }
    parts.extend(notice.link.clone());
    parts.join("\n\n")
}

/// [`plain`] in at most so many bytes. Where that is too few, each part is cut: the next step is not lost behind a long cause.
pub(super) fn plain_within(notice: &Notice, bytes: usize) -> String {
    let mut text = plain(notice);
    let mut room = bytes;
    while text.len() > bytes && room > 0 {
        text = plain(&Notice {
            what: cut(&notice.what, room / 2),
            next_step: cut(&notice.next_step, room / 4),
            facts: notice.facts.iter().take(10).map(|(name, value)| (cut(name, 40), cut(value, room / 40))).collect(),
            ..notice.clone()
        });
        room = room * 3 / 4;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_move_the_cursor_nor_turn_the_line_around() {
        assert_eq!(line("shop\r\nBcc: x\u{1b}[2J \u{202e}txt.exe"), "shop Bcc: x[2J txt.exe");
        assert_eq!(clean("one\r\ntwo\u{0}"), "one\ntwo");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!((cut("🐘🐘", 4), cut("🐘🐘", 3), cut("a🐘🐘", 3)), ("🐘🐘".into(), "🐘…".into(), "a…".into()));
    }
}
