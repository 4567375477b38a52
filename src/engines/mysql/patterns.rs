//! Which tables are dumped: patterns are matched here, so that nothing of them reaches a command line.

use super::catalogue::{Scope, Table};
use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::{Error, Result},
};

/// Patterns for names, in which `*` stands for any text. Where several databases are dumped a pattern is
/// `database.table`; one without a dot is then a table of any database.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Choice {
    pub fn of(options: &Settings) -> Self {
        let list = |name| options.list(name).into_iter().map(str::to_owned).collect();
        Self { include: list("includeTables"), exclude: list("excludeTables") }
    }

    /// True when chosen tables alone are dumped, without routines and events.
    pub fn only_tables(&self) -> bool {
        !self.include.is_empty()
    }

    /// Errors when a pattern for tables to include matches none: a misspelt name must not make an empty backup.
    pub fn check(&self, tables: &[Table], scope: &Scope) -> Result<()> {
        match self.include.iter().find(|pattern| !tables.iter().any(|table| is_match(pattern, table, scope))) {
            Some(pattern) => Err(Error::validation(format!("no table or view is called '{pattern}'"))
                .hint("check the tables to include; the account sees only those it has a right on")),
            None => Ok(()),
        }
    }

    pub fn takes(&self, table: &Table, scope: &Scope) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| is_match(pattern, table, scope));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

fn is_match(pattern: &str, table: &Table, scope: &Scope) -> bool {
    let qualified = || matches(pattern, &format!("{}.{}", table.database, table.name));
    matches(pattern, &table.name) || (pattern.contains('.') && qualified()) || (scope.is_all() && qualified())
}

/// True when the text is the pattern, in which each `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how much it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::{super::catalogue::Kind, *};

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        let check = |pattern, text, expect| assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        check("orders", "orders", true);
        check("orders", "orders2", false);
        check("*", "", true);
        check("a*c*e", "abcde", true);
        check("a*c*e", "abcd", false);
        check("%", "x", false);
        check("*_log", "audit_log", true);
        check("*aab", "aaaab", true);
        check("", "", true);
    }

    #[test]
    fn patterns_choose_in_one_database_and_in_all() {
        let table =
            |database: &str, name: &str| Table { database: database.into(), name: name.into(), kind: Kind::Table, engine: None, size: 0 };
        let choice = |include: &[&str], exclude: &[&str]| Choice {
            include: include.iter().map(ToString::to_string).collect(),
            exclude: exclude.iter().map(ToString::to_string).collect(),
        };
        let one = Scope::One("shop".into());
        let all = Scope::All(vec!["shop".into(), "crm".into()]);
        assert!(choice(&[], &[]).takes(&table("shop", "a"), &one));
        assert!(choice(&["a.b"], &[]).takes(&table("shop", "a.b"), &one), "a name with a dot");
        assert!(choice(&["shop.a"], &[]).takes(&table("shop", "a"), &one));
        assert!(!choice(&["a*"], &["a1"]).takes(&table("shop", "a1"), &one));
        assert!(choice(&["crm.*"], &[]).takes(&table("crm", "a"), &all) && !choice(&["crm.*"], &[]).takes(&table("shop", "a"), &all));
        assert!(choice(&["nowhere"], &[]).check(&[table("shop", "a")], &one).is_err());
    }
}
