//! How strings are read: the SQL modes that a script sets for its session.

use std::collections::HashMap;

use super::token::{Token, Tokens, What};

/// Longest SET statement that is looked into, bytes.
const LONGEST: usize = 64 * 1024;
/// Variables that are remembered.
const VARIABLES: usize = 64;

/// The part of `sql_mode` that says where a quoted text ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Quoting {
    no_backslash_escapes: bool,
    ansi_quotes: bool,
}

/// What the script has set so far, and the values it keeps in variables such as `@OLD_SQL_MODE`.
#[derive(Debug, Default)]
pub struct Modes {
    now: Quoting,
    kept: HashMap<String, Quoting>,
}

impl Modes {
    /// True when a backslash escapes in a text with this quote.
    pub fn escapes(&self, quote: u8) -> bool {
        !(self.now.no_backslash_escapes || quote == b'"' && self.now.ansi_quotes)
    }

    /// Sees what a statement sets. False when it sets the mode to what cannot be told.
    pub fn follow(&mut self, sql: &[u8]) -> bool {
        if !mentions_sql_mode(sql) {
            return true;
        }
        let mut tokens = Tokens::new(&sql[..sql.len().min(LONGEST)]);
        if !tokens.next().is_some_and(|first| first.is(sql, "set")) {
            return true;
        }
        let tokens: Vec<Token> = tokens.collect();
        let mut depth = 0;
        let assignments = tokens.split(|token| {
            match token.what {
                What::Sign(b'(') => depth += 1,
                What::Sign(b')') => depth -= 1,
                _ => {}
            }
            depth == 0 && token.what == What::Sign(b',')
        });
        assignments.into_iter().all(|assignment| self.assign(sql, assignment))
    }

    fn assign(&mut self, sql: &[u8], assignment: &[Token]) -> bool {
        let mut sides = assignment.splitn(2, |token| token.what == What::Sign(b'='));
        let (Some(left), Some(right)) = (sides.next(), sides.next()) else { return true };
        let Some(name) = left.iter().rfind(|token| !matches!(token.what, What::Sign(_))) else { return true };
        let own = left.iter().filter(|token| token.what == What::Sign(b'@')).count() == 1;
        let own_name = name.text(sql).to_ascii_lowercase();
        let value = self.value(sql, right);
        if own {
            match value {
                Some(value) if right.iter().any(|token| token.is(sql, "sql_mode")) && self.kept.len() < VARIABLES => {
                    self.kept.insert(own_name, value);
                }
                _ => drop(self.kept.remove(&own_name)),
            }
            return true;
        }
        if !own_name.ends_with("sql_mode") {
            return true;
        }
        self.now = value.unwrap_or(self.now);
        value.is_some()
    }

    /// The mode that the right side of an assignment stands for.
    fn value(&self, sql: &[u8], right: &[Token]) -> Option<Quoting> {
        let variables = right.iter().filter(|token| token.what == What::Sign(b'@')).count();
        let mut others = right.iter().filter(|token| !matches!(token.what, What::Sign(b'@' | b'.' | b':' | b'=')));
        let (first, second) = (others.next()?, others.next());
        match (variables, first.what, second) {
            (0, What::Text, None) => Some(quoting(&first.text(sql))),
            (0, What::Word, None) if !first.text(sql).starts_with(|c: char| c.is_ascii_digit()) => Some(quoting(&first.text(sql))),
            (1, _, None) => self.kept.get(&first.text(sql).to_ascii_lowercase()).copied(),
            (2, _, None) if first.is(sql, "sql_mode") => Some(self.now),
            (2, _, Some(name)) if name.is(sql, "sql_mode") && first.is(sql, "session") => Some(self.now),
            // As some tools put the old mode back: IFNULL(@OLD_SQL_MODE, '').
            (1, _, Some(_)) if first.is(sql, "ifnull") => {
                let name = right.iter().skip_while(|token| token.what != What::Sign(b'@')).nth(1)?;
                Some(self.kept.get(&name.text(sql).to_ascii_lowercase()).copied().unwrap_or_default())
            }
            _ => None,
        }
    }
}

fn mentions_sql_mode(sql: &[u8]) -> bool {
    sql.windows(8).any(|word| word.eq_ignore_ascii_case(b"sql_mode"))
}

fn quoting(modes: &str) -> Quoting {
    // Combinations that stand for several modes.
    const ANSI: &[&str] = &["ANSI_QUOTES", "ANSI", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"];
    let has = |wanted: &[&str]| modes.split(',').any(|mode| wanted.iter().any(|name| mode.trim().eq_ignore_ascii_case(name)));
    Quoting { no_backslash_escapes: has(&["NO_BACKSLASH_ESCAPES"]), ansi_quotes: has(ANSI) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_set_kept_and_put_back() {
        let mut modes = Modes::default();
        let mut check = |sql: &str, single: bool, double: bool| {
            assert!(modes.follow(sql.as_bytes()), "{sql}");
            assert_eq!((modes.escapes(b'\''), modes.escapes(b'"')), (single, double), "{sql}");
        };
        check("/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */", true, true);
        check("/*!50003 SET @saved_sql_mode = @@sql_mode */", true, true);
        check("/*!50003 SET sql_mode = 'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES' */", false, false);
        check("SELECT 'sql_mode'", false, false);
        check("/*!50003 SET sql_mode = @saved_sql_mode */", true, true);
        check("SET SESSION sql_mode='ansi'", true, false);
        check("/*!40101 SET SQL_MODE=IFNULL(@OLD_SQL_MODE, '') */", true, true);
        for sql in ["SET sql_mode = CONCAT('NO_', 'BACKSLASH_ESCAPES')", "SET sql_mode = @never", "SET SESSION sql_mode = 1048576"] {
            assert!(!modes.follow(sql.as_bytes()), "{sql}");
        }
        modes.follow(b"SET @OLD_SQL_MODE = 'NO_BACKSLASH_ESCAPES'");
        assert!(!modes.follow(b"SET SQL_MODE=@OLD_SQL_MODE"), "it was set to something else since");
    }
}
