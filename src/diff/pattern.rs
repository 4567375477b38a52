//! Names of tables and columns with `*` for any text.

use crate::snapshot::TableName;

/// Whether a name fits; `*` stands for any text, everything else for itself.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether a table is meant by one of the patterns, each `name` or `schema.name`; no patterns mean every table.
pub fn wants_table(patterns: &[String], table: &TableName) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| fits_table(pattern, table))
}

/// Whether a pattern `name` or `schema.name` means the table.
pub fn fits_table(pattern: &str, table: &TableName) -> bool {
    fits(pattern, &table.to_string()) || fits(pattern, &table.name)
}

/// Whether a column is meant by one of the patterns, each `column`, `table.column` or `schema.table.column`.
pub fn ignores_column(patterns: &[String], table: &TableName, column: &str) -> bool {
    patterns.iter().any(|pattern| {
        fits(pattern, column)
            || fits(pattern, &format!("{}.{column}", table.name))
            || (table.schema.is_some() && fits(pattern, &format!("{table}.{column}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expect) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "ac", false),
            ("*b*", "abc", true),
            ("a*a", "a", false),
            ("x*", "abc", false),
        ] {
            assert_eq!(fits(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn tables_and_columns_are_meant_with_and_without_their_schema() {
        let users = TableName::new(Some("public"), "users");
        let check = |pattern: &str, expect: bool| assert_eq!(ignores_column(&[pattern.to_owned()], &users, "seen"), expect, "{pattern}");
        check("seen", true);
        check("users.seen", true);
        check("public.users.seen", true);
        check("*.seen", true);
        check("orders.seen", false);
        check("see", false);
        assert!(wants_table(&[], &users) && wants_table(&["users".into()], &users) && wants_table(&["public.*".into()], &users));
        assert!(!wants_table(&["orders".into()], &users));
    }
}
