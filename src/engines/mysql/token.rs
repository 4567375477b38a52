//! Words, names, texts and signs of one SQL statement of MySQL and MariaDB, past comments. What stands in executable
//! comments counts as SQL.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A bare word or number.
    Word,
    /// In backticks.
    Name,
    /// In single or double quotes.
    Text,
    /// One byte.
    Sign(u8),
}

/// One token and where it stands in the statement, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub what: What,
    pub place: Range<usize>,
}

/// Reads tokens from left to right.
pub struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    /// Depth of executable comments.
    executable: u32,
}

impl<'a> Tokens<'a> {
    pub fn new(sql: &'a [u8]) -> Self {
        Self { sql, at: 0, executable: 0 }
    }

    /// Goes past white space, comments and the marks of executable comments.
    fn skip(&mut self) {
        while let Some(rest) = self.sql.get(self.at..).filter(|rest| !rest.is_empty()) {
            let after =
                |mark: &[u8], skip: usize| memchr::memmem::find(&rest[skip..], mark).map_or(rest.len(), |at| at + skip + mark.len());
            self.at += match rest {
                [byte, ..] if byte.is_ascii_whitespace() => 1,
                [b'#', ..] => after(b"\n", 1),
                [b'-', b'-'] => 2,
                [b'-', b'-', next, ..] if next.is_ascii_whitespace() => after(b"\n", 2),
                [b'/', b'*', ..] => match executable_mark(rest) {
                    Some(length) => {
                        self.executable += 1;
                        length
                    }
                    None => after(b"*/", 2),
                },
                [b'*', b'/', ..] if self.executable > 0 => {
                    self.executable -= 1;
                    2
                }
                _ => return,
            };
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip();
        let start = self.at;
        let first = *self.sql.get(start)?;
        let what = match first {
            b'`' => What::Name,
            b'\'' | b'"' => What::Text,
            _ if is_word(first) => What::Word,
            _ => What::Sign(first),
        };
        self.at = match what {
            What::Word => self.sql[start..].iter().position(|byte| !is_word(*byte)).map_or(self.sql.len(), |length| start + length),
            What::Sign(_) => start + 1,
            What::Name | What::Text => end_of_quoted(self.sql, start),
        };
        Some(Token { what, place: start..self.at })
    }
}

/// Where a quoted text or name ends that begins at `start`.
fn end_of_quoted(sql: &[u8], start: usize) -> usize {
    let quote = sql[start];
    let mut at = start + 1;
    while at < sql.len() {
        match sql[at] {
            b'\\' if quote != b'`' => at += 1,
            byte if byte == quote && sql.get(at + 1) == Some(&quote) => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    sql.len()
}

impl Token {
    /// True for this bare word, in any case.
    pub fn is(&self, sql: &[u8], word: &str) -> bool {
        self.what == What::Word && sql[self.place.clone()].eq_ignore_ascii_case(word.as_bytes())
    }

    /// The name or text itself, unquoted.
    pub fn text(&self, sql: &[u8]) -> String {
        let raw = &sql[self.place.clone()];
        match self.what {
            What::Word | What::Sign(_) => String::from_utf8_lossy(raw).into_owned(),
            What::Name | What::Text => {
                let quote = raw[0];
                let inside = raw.strip_suffix(&[quote]).filter(|rest| !rest.is_empty()).unwrap_or(raw);
                let mut text = Vec::with_capacity(inside.len());
                let mut bytes = inside[1..].iter();
                while let Some(byte) = bytes.next() {
                    let escapes = *byte == quote || (*byte == b'\\' && quote != b'`');
                    match if escapes { bytes.next() } else { None } {
                        Some(escaped) => text.push(*escaped),
                        None => text.push(*byte),
                    }
                }
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }
}

/// The first words of a statement, on one line, for messages.
pub fn beginning(sql: &[u8]) -> String {
    let head = String::from_utf8_lossy(&sql[..sql.len().min(400)]).into_owned();
    let mut text = String::new();
    for word in head.split_whitespace() {
        if text.chars().count() > 60 {
            text.push_str(" ...");
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.chars().filter(|c| !c.is_control()).take(60));
    }
    text
}

/// The length of the mark that begins an executable comment, where the text begins with one. One for a version that no
/// server has is a comment: so is the line that switches the sandbox mode of MariaDB's client on.
pub fn executable_mark(text: &[u8]) -> Option<usize> {
    let mark = match text {
        [b'/', b'*', b'!', ..] => 3,
        [b'/', b'*', b'M', b'!', ..] => 4,
        _ => return None,
    };
    let digits = text[mark..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let version = &text[mark..mark + digits];
    (version != b"999999" && version != b"99999").then_some(mark + digits)
}

/// True for the bytes of names and numbers.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &[&str]) {
        let tokens: Vec<String> = Tokens::new(sql.as_bytes()).map(|token| token.text(sql.as_bytes())).collect();
        assert_eq!(tokens, expect, "{sql}");
    }

    #[test]
    fn executable_comments_are_read_and_others_are_not() {
        check("/*!50001 CREATE */ -- x\n VIEW /* y */ `a``b` # z", &["CREATE", "VIEW", "a`b"]);
        check("SET @a='it''s \\' x', b=\"\"", &["SET", "@", "a", "=", "it's ' x", ",", "b", "=", ""]);
        check("/*M!100616 SET a=1 */", &["SET", "a", "=", "1"]);
        check("a.b--1", &["a", ".", "b", "-", "-", "1"]);
        check("'open", &["open"]);
        check("`", &[""]);
    }
}
