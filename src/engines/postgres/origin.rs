//! The encoding and locale of the database an archive was made of.

use super::{archive::Archive, connect::literal, tools::Version};

/// Options of CREATE DATABASE that say how text is stored and ordered; the others (tablespace, owner) belong to the server.
const KEPT: &[&str] = &["ENCODING", "LOCALE_PROVIDER", "LOCALE", "LC_COLLATE", "LC_CTYPE", "ICU_LOCALE", "ICU_RULES", "BUILTIN_LOCALE"];

/// How a database was created: options and their values, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Origin(Vec<(String, String)>);

impl Origin {
    /// Reads the `CREATE DATABASE` statement in the table of contents. Nothing of its text is run: known options are
    /// taken out and written anew.
    pub fn of(archive: &Archive) -> Self {
        let entry = archive.entries().iter().find(|entry| entry.desc == "DATABASE");
        entry.and_then(|entry| entry.definition.as_deref()).map(Self::parse).unwrap_or_default()
    }

    fn parse(definition: &str) -> Self {
        let tokens = tokens(definition);
        let mut options = Vec::new();
        for window in tokens.windows(3) {
            if let [Token::Word(key), Token::Equals, Token::Word(value) | Token::Text(value)] = window
                && KEPT.contains(&key.as_str())
                && !value.chars().any(char::is_control)
            {
                options.push((key.clone(), value.clone()));
            }
        }
        Self(options)
    }

    pub fn encoding(&self) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == "ENCODING").map(|(_, value)| value.as_str())
    }

    /// The options for CREATE DATABASE on a server, each with a space before it.
    pub fn creation(&self, server: Version) -> String {
        // Servers before 15 have one provider and no word for it.
        let known = |key: &str, value: &str| server.major >= 15 || !(key == "LOCALE_PROVIDER" && value == "libc");
        self.0.iter().filter(|(key, value)| known(key, value)).map(|(key, value)| format!(" {key} = {}", literal(value))).collect()
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Equals,
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '=' => tokens.push(Token::Equals),
            '\'' | '"' => {
                let mut text = String::new();
                while let Some(inner) = chars.next() {
                    if inner == c && chars.next_if_eq(&c).is_none() {
                        break;
                    }
                    text.push(inner);
                }
                // A quoted identifier is a name, never an option.
                if c == '\'' {
                    tokens.push(Token::Text(text));
                }
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(inner) = chars.next_if(|inner| inner.is_ascii_alphanumeric() || *inner == '_') {
                    word.push(inner);
                }
                tokens.push(Token::Word(word));
            }
            _ => {}
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(definition: &str, server: u32, expect: &str) {
        assert_eq!(Origin::parse(definition).creation(Version { major: server, minor: 0 }), expect, "{definition}");
    }

    #[test]
    fn encoding_and_locale_are_taken_from_the_statement_and_nothing_else() {
        let pg15 =
            "CREATE DATABASE \"a ENCODING = 'X'\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';\n";
        check(pg15, 15, " ENCODING = 'UTF8' LOCALE_PROVIDER = 'libc' LOCALE = 'C.UTF-8'");
        check(pg15, 13, " ENCODING = 'UTF8' LOCALE = 'C.UTF-8'");
        check(
            "CREATE DATABASE x WITH TEMPLATE = template0 LC_COLLATE = 'it''s' TABLESPACE = fast; DROP TABLE t",
            17,
            " LC_COLLATE = 'it''s'",
        );
        check("", 17, "");
    }
}
