//! What little of an SQL statement's meaning must be known to run a script: COPY and its source, and how strings are read.

/// Where a COPY statement reads from or writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    FromStdin,
    ToStdout,
    /// A file on the server.
    File,
    /// A program that the server runs.
    Program,
}

/// `None` when it is no COPY statement.
pub fn copy_of(sql: &str) -> Option<Copy> {
    let mut tokens = Tokens::new(sql);
    if tokens.next()? != Token::Word("copy".into()) {
        return None;
    }
    let mut depth = 0;
    let mut at_direction = false;
    for token in tokens {
        if at_direction {
            return Some(match token {
                Token::Word(word) if word == "stdin" => Copy::FromStdin,
                Token::Word(word) if word == "stdout" => Copy::ToStdout,
                Token::Word(word) if word == "program" => Copy::Program,
                _ => Copy::File,
            });
        }
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth -= 1,
            Token::Word(word) if depth == 0 => at_direction = word == "from" || word == "to",
            _ => {}
        }
    }
    None
}

/// The value a `SET standard_conforming_strings` statement sets.
pub fn sets_conforming_strings(sql: &str) -> Option<bool> {
    let mut words = Tokens::new(sql).filter_map(|token| match token {
        Token::Word(word) | Token::Text(word) => Some(word),
        Token::Sign(_) => None,
    });
    if words.next()? != "set" {
        return None;
    }
    let mut name = words.next()?;
    if name == "session" || name == "local" {
        name = words.next()?;
    }
    let mut value = words.next()?;
    if value == "to" {
        value = words.next()?;
    }
    (name == "standard_conforming_strings").then(|| !["off", "false", "0", "no"].contains(&value.to_ascii_lowercase().as_str()))
}

/// True when nothing but comments and white space is in it.
pub fn only_comments(sql: &[u8]) -> bool {
    Tokens::new(&String::from_utf8_lossy(sql)).next().is_none()
}

/// The first word of a script, in lower case, past comments.
pub fn first_word(sql: &str) -> Option<String> {
    match Tokens::new(sql).next()? {
        Token::Word(word) => Some(word),
        Token::Text(_) | Token::Sign(_) => None,
    }
}

/// True when names stand in backticks, or comments are executable: MySQL's and MariaDB's own ways.
pub fn is_of_mysql(sql: &str) -> bool {
    ["/*!", "/*M!"].iter().any(|mark| sql.contains(mark)) || Tokens::new(sql).take(200).any(|token| token == Token::Sign('`'))
}

/// True for the bytes of names and numbers.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The first words of a statement, on one line, for messages.
pub fn beginning(sql: &str) -> String {
    let mut text = String::new();
    for word in sql.split_whitespace() {
        if text.chars().count() > 60 {
            text.push_str(" ...");
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.chars().take(60));
    }
    text
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A bare word, in lower case.
    Word(String),
    /// The inside of `'...'`.
    Text(String),
    Sign(char),
}

/// Reads tokens, past comments; quoted names count as the sign `"`.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn new(sql: &'a str) -> Self {
        Self { rest: sql }
    }

    fn skip_comments(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(inside) = self.rest.strip_prefix("/*") {
                self.rest = after_comment(inside);
            } else {
                return;
            }
        }
    }
}

fn after_comment(mut rest: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        match (rest.find("*/"), rest.find("/*")) {
            (Some(close), open) if open.is_none_or(|open| close < open) => {
                depth -= 1;
                rest = &rest[close + 2..];
            }
            (_, Some(open)) => {
                depth += 1;
                rest = &rest[open + 2..];
            }
            _ => return "",
        }
    }
    rest
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_comments();
        let first = self.rest.chars().next()?;
        if first.is_ascii() && !is_word(first as u8) {
            self.rest = &self.rest[1..];
            if first != '\'' && first != '"' {
                return Some(Token::Sign(first));
            }
            let (inside, rest) = quoted(self.rest, first);
            self.rest = rest;
            return Some(if first == '"' { Token::Sign('"') } else { Token::Text(inside) });
        }
        let end = self.rest.bytes().position(|byte| !is_word(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Token::Word(word.to_ascii_lowercase()))
    }
}

/// What stands before the closing quote, and what stands after it.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut inside = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return (inside, &text[at + 1..]);
        }
        inside.push(c);
    }
    (inside, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_apart_by_where_their_rows_are() {
        for (sql, expect) in [
            ("COPY public.t (a, \"from\") FROM stdin;", Some(Copy::FromStdin)),
            ("copy t from STDIN with (format csv)", Some(Copy::FromStdin)),
            ("/* a */ COPY -- b\n t FROM /* stdin */ PROGRAM 'sh'", Some(Copy::Program)),
            ("COPY (SELECT a FROM stdin) TO stdout", Some(Copy::ToStdout)),
            ("COPY t FROM '/etc/passwd'", Some(Copy::File)),
            ("COPY t FROM E'/etc/passwd'", Some(Copy::File)),
            ("COPY t TO $$/tmp/x$$", Some(Copy::File)),
            ("SELECT 'COPY t FROM stdin'", None),
            ("", None),
        ] {
            assert_eq!(copy_of(sql), expect, "{sql}");
        }
    }

    #[test]
    fn the_setting_for_backslashes_is_seen() {
        assert_eq!(sets_conforming_strings("SET standard_conforming_strings = off;"), Some(false));
        assert_eq!(sets_conforming_strings("set session standard_conforming_strings to 'ON'"), Some(true));
        assert_eq!(sets_conforming_strings("SET search_path = off"), None);
    }

    #[test]
    fn a_message_quotes_the_beginning_of_a_statement_on_one_line() {
        assert_eq!(beginning("CREATE TABLE t (\n  a int\n);"), "CREATE TABLE t ( a int );");
        assert!(beginning(&"word ".repeat(100)).len() < 80);
    }
}
