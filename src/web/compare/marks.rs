//! What of a text changed, for marking it: the same beginning and end are set apart, never within a character.

/// The pieces of two texts. `before` is `start`, `old`, `end`; `after` is `start`, `new`, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks<'a> {
    pub start: &'a str,
    pub old: &'a str,
    pub new: &'a str,
    pub end: &'a str,
}

/// Longest word that is marked whole when a part of it changed, characters.
const WORD: usize = 32;

/// Splits two texts where they begin and stop to differ. Equal texts are all `start`. A word or number that changed in part
/// is marked whole, unless it is very long.
pub fn marks<'a>(before: &'a str, after: &'a str) -> Marks<'a> {
    let mut start: usize = before.chars().zip(after.chars()).take_while(|(old, new)| old == new).map(|(same, _)| same.len_utf8()).sum();
    while start > 0 && (joined(before, start) || joined(after, start)) {
        start -= before[..start].chars().next_back().map_or(0, char::len_utf8);
    }
    let differ = start < before.len().max(after.len());
    if differ && (within_word(before, start) || within_word(after, start)) {
        start -= word_before(&before[..start]);
    }
    let (old, new) = (&before[start..], &after[start..]);
    let mut end: usize =
        old.chars().rev().zip(new.chars().rev()).take_while(|(old, new)| old == new).map(|(same, _)| same.len_utf8()).sum();
    while end > 0 && (joined(old, old.len() - end) || joined(new, new.len() - end)) {
        end -= old[old.len() - end..].chars().next().map_or(0, char::len_utf8);
    }
    let (old_end, new_end) = (old.len() - end, new.len() - end);
    if end > 0 && (old_end > 0 || new_end > 0) && (within_word(old, old_end) || within_word(new, new_end)) {
        end -= word_after(&old[old_end..]);
    }
    Marks { start: &before[..start], old: &old[..old.len() - end], new: &new[..new.len() - end], end: &old[old.len() - end..] }
}

impl Marks<'_> {
    /// True when enough is the same that the parts tell more than the whole.
    pub fn are_telling(&self) -> bool {
        let same = self.start.chars().count() + self.end.chars().count();
        let longest = same + self.old.chars().count().max(self.new.chars().count());
        longest >= 6 && same * 3 >= longest
    }
}

/// True when a word goes on over `place`.
fn within_word(text: &str, place: usize) -> bool {
    text[..place].chars().next_back().is_some_and(is_word) && text[place..].chars().next().is_some_and(is_word)
}

/// Bytes of the word that ends the text; 0 when it is very long.
fn word_before(text: &str) -> usize {
    word(text.chars().rev())
}

fn word_after(text: &str) -> usize {
    word(text.chars())
}

fn word(text: impl Iterator<Item = char>) -> usize {
    let mut bytes = 0;
    for (i, c) in text.take_while(|c| is_word(*c)).enumerate() {
        if i == WORD {
            return 0;
        }
        bytes += c.len_utf8();
    }
    bytes
}

/// Letters and digits of scripts that set words apart.
fn is_word(c: char) -> bool {
    c < '\u{2e80}' && (c.is_alphanumeric() || extends(c))
}

/// True when the character at `place` belongs to the one before it, as accents and joined emoji do.
fn joined(text: &str, place: usize) -> bool {
    const JOINER: char = '\u{200d}';
    let next = text[place..].chars().next();
    let previous = text[..place].chars().next_back();
    previous == Some(JOINER) || next.is_some_and(extends) || (next.is_some_and(is_regional) && previous.is_some_and(is_regional))
}

/// Combining marks, joiners, variation selectors and skin tones.
fn extends(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{93a}'..='\u{94f}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200d}'
        | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0100}'..='\u{e01ef}')
}

/// Half of a flag.
fn is_regional(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(before: &'a str, after: &'a str) -> [&'a str; 4] {
        let marks = marks(before, after);
        [marks.start, marks.old, marks.new, marks.end]
    }

    #[test]
    fn the_changed_part_stands_between_what_both_have() {
        assert_eq!(parts("m.schmid@firma.de", "m.schmidt@firma.de"), ["m.", "schmid", "schmidt", "@firma.de"]);
        assert_eq!(parts("anna@oldmail.com", "anna@newmail.com"), ["anna@", "oldmail", "newmail", ".com"]);
        assert_eq!(parts("2026-11-16 14:30:22", "2026-11-16 15:02:59"), ["2026-11-16 ", "14:30:22", "15:02:59", ""]);
        assert_eq!(parts("varchar(80) NULL", "varchar(200) NULL"), ["varchar(", "80", "200", ") NULL"]);
        assert_eq!(parts("a, b", "a, b, c"), ["a, b", "", ", c", ""]);
        assert_eq!(parts("same", "same"), ["same", "", "", ""]);
        assert_eq!(parts("", "new"), ["", "", "new", ""]);
        assert_eq!(parts("--", "---"), ["--", "", "-", ""], "no character counts twice");
        let (old, new) = (format!("{}x{}", "a".repeat(90), "b".repeat(90)), format!("{}y{}", "a".repeat(90), "b".repeat(90)));
        assert_eq!(parts(&old, &new)[1..3], ["x", "y"], "of a very long word the part is marked");
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(parts("die größe", "die große"), ["die ", "größe", "große", ""]);
        assert_eq!(parts("日本語", "日本国"), ["日本", "語", "国", ""]);
        assert_eq!(parts(".e\u{301}", ".e"), [".", "e\u{301}", "e", ""], "an accent stays with its letter");
        let (family, couple) = ("👨\u{200d}👩\u{200d}👧!", "👨\u{200d}👩\u{200d}👦!");
        assert_eq!(parts(family, couple), ["", &family[..family.len() - 1], &couple[..couple.len() - 1], "!"]);
        assert_eq!(parts("👍🏽", "👍🏿"), ["", "👍🏽", "👍🏿", ""]);
        assert_eq!(parts("🇩🇪", "🇩🇰"), ["", "🇩🇪", "🇩🇰", ""]);
    }

    #[test]
    fn parts_are_put_together_again() {
        for (before, after) in [("abc", "xbz"), ("日本語", "日本国語"), ("a\u{0}b", "a\u{202e}b"), ("🏳️‍🌈 a", "🏳️ a")]
        {
            let Marks { start, old, new, end } = marks(before, after);
            assert_eq!((format!("{start}{old}{end}"), format!("{start}{new}{end}")), (before.to_owned(), after.to_owned()));
        }
    }

    #[test]
    fn two_values_that_share_little_are_shown_whole() {
        assert!(!marks("free", "pro").are_telling());
        assert!(!marks("1", "12").are_telling());
        assert!(marks("anna@oldmail.com", "anna@newmail.com").are_telling());
        assert!(!marks("schmid", "schmidt").are_telling());
    }
}
