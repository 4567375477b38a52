//! Which collections a dump holds, by patterns.

use super::catalogue::Collection;
use crate::{
    domain::{database::Settings, fields::SettingsExt},
    error::{Error, Result},
};

/// Patterns of the dump options: a name in which `*` stands for any text. In a dump of one database they are names of
/// collections, in one of all databases `database.collection`.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    include: Vec<String>,
    exclude: Vec<String>,
    qualified: bool,
}

impl Selection {
    pub fn new(options: &Settings, all_databases: bool) -> Result<Self> {
        let list = |name: &str| options.list(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let selection = Self { include: list("includeCollections"), exclude: list("excludeCollections"), qualified: all_databases };
        let unqualified = selection.include.iter().chain(&selection.exclude).find(|pattern| all_databases && !pattern.contains(['.', '*']));
        match unqualified {
            Some(pattern) => Err(Error::validation(format!("the pattern '{pattern}' names no database"))
                .hint("with all databases write patterns as database.collection, such as *.sessions")),
            None => Ok(selection),
        }
    }

    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    pub fn holds(&self, collection: &Collection) -> bool {
        let name = if self.qualified { collection.to_string() } else { collection.name.clone() };
        (self.include.is_empty() || self.include.iter().any(|pattern| matches(pattern, &name)))
            && !self.exclude.iter().any(|pattern| matches(pattern, &name))
    }

    /// A pattern of `includeCollections` that none of these matches.
    pub fn unmatched<'a>(&'a self, all: &[Collection]) -> Option<&'a str> {
        let name = |collection: &Collection| if self.qualified { collection.to_string() } else { collection.name.clone() };
        self.include.iter().find(|pattern| !all.iter().any(|collection| matches(pattern, &name(collection)))).map(String::as_str)
    }
}

/// `*` stands for any text, everything else for itself.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (pattern, name, expect) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("*", "", true),
            ("log.*", "log.2024", true),
            ("log.*", "logs", false),
            ("*.files", "fs.files", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("o?ders", "orders", false),
            ("🐘*", "🐘x", true),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
