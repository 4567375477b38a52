//! Reading a CREATE TABLE statement where SQLite's pragmas do not tell: what a generated column is made of.

use super::schema::same;

/// The expression that makes the column, as the statement has it.
pub(super) fn generated(create_table: &str, column: &str) -> Option<String> {
    let tokens: Vec<Token<'_>> = Tokens { text: create_table, at: 0 }.collect();
    let open = tokens.iter().position(|token| token.text == "(")?;
    let mut depth = 0_usize;
    let mut part = open + 1;
    for at in open..tokens.len() {
        match tokens[at].text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && tokens[at].text == ",") {
            let found = &tokens[part..at];
            if found.first().is_some_and(|name| same(&name.unquoted(), column)) {
                return expression(create_table, found);
            }
            part = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    None
}

/// What stands in the parentheses after AS, among the constraints of one column.
fn expression(create_table: &str, tokens: &[Token<'_>]) -> Option<String> {
    let mut depth = 0_usize;
    let mut start = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => {
                if depth == 0 && start.is_none() && at > 0 && tokens[at - 1].text.eq_ignore_ascii_case("as") {
                    start = Some(token.at + 1);
                }
                depth += 1;
            }
            ")" => {
                depth = depth.checked_sub(1)?;
                if let (0, Some(start)) = (depth, start) {
                    return Some(create_table[start..token.at].trim().to_owned());
                }
            }
            _ => {}
        }
    }
    None
}

/// A word, a quoted name or text, or one character of anything else.
struct Token<'a> {
    at: usize,
    text: &'a str,
}

impl Token<'_> {
    fn unquoted(&self) -> String {
        let inner = |quote: &str| self.text[1..self.text.len() - 1].replace(&quote.repeat(2), quote);
        match self.text.as_bytes() {
            [b'"', .., b'"'] => inner("\""),
            [b'`', .., b'`'] => inner("`"),
            [b'\'', .., b'\''] => inner("'"),
            [b'[', .., b']'] => self.text[1..self.text.len() - 1].to_owned(),
            _ => self.text.to_owned(),
        }
    }
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text[self.at..];
            let blank = rest.len() - rest.trim_start().len();
            let comment = match rest {
                _ if blank > 0 => blank,
                _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                _ if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
                _ => break,
            };
            self.at += comment;
        }
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let length = match first {
            '"' | '`' | '\'' => quoted(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let token = Token { at: self.at, text: &rest[..length] };
        self.at += length;
        Some(token)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

/// The length up to the closing quote, which is not doubled.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_of_a_generated_column_is_found() {
        let table = r#"CREATE TABLE "a(b" (a INT CHECK (a IN (1, 2)), -- it's (not) this
            "we""ird" TEXT GENERATED ALWAYS AS ( 'v,)' || upper(a) ) STORED, [c d] AS (a*2), CHECK (a > (0)))"#;
        assert_eq!(generated(table, "we\"ird").as_deref(), Some("'v,)' || upper(a)"));
        assert_eq!(generated(table, "C D").as_deref(), Some("a*2"));
        assert_eq!(generated(table, "a"), None);
        for broken in ["", "CREATE TABLE t", "CREATE TABLE t (a AS (1", "CREATE TABLE t (a))) AS (", "CREATE TABLE t ('a' AS ('"] {
            assert_eq!(generated(broken, "a"), None, "{broken}");
        }
    }
}
