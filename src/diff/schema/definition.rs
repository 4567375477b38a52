//! What a table's statement says beyond its columns and objects, such as the checks of SQLite.

use crate::snapshot::Table;

/// Whether the statements differ in more than what is told already: clauses that name one of `explained`, and, with
/// `options`, what stands after the columns.
pub fn differs(before: &Table, after: &Table, explained: &[&str], options: bool) -> bool {
    if before.definition == after.definition {
        return false;
    }
    let left = |table: &Table| {
        let (mut clauses, tail) = clauses(&table.definition);
        clauses.retain(|clause| !words(clause).any(|word| explained.contains(&word)));
        clauses.sort();
        (clauses, if options { String::new() } else { tail })
    };
    left(before) != left(after)
}

/// What stands between the outer parentheses, cut at commas, and what follows them, each with single spaces.
fn clauses(definition: &str) -> (Vec<String>, String) {
    let (mut clauses, mut tail, mut clause) = (Vec::new(), String::new(), String::new());
    let (mut depth, mut quote) = (0, None);
    for letter in definition.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(letter),
            (None, '[') => quote = Some(']'),
            (None, '(') => {
                depth += 1;
                if depth == 1 {
                    continue;
                }
            }
            (None, ')') => {
                depth -= 1;
                if depth == 0 {
                    clauses.push(spaced(&std::mem::take(&mut clause)));
                    continue;
                }
            }
            (None, ',') if depth == 1 => {
                clauses.push(spaced(&std::mem::take(&mut clause)));
                continue;
            }
            _ => {}
        }
        if depth > 0 {
            clause.push(letter)
        } else if !clauses.is_empty() {
            tail.push(letter)
        }
    }
    if clauses.is_empty() {
        clauses.push(spaced(definition));
    }
    // Where the counter stands is no part of the definition.
    let tail = spaced(&tail).split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect::<Vec<_>>().join(" ");
    (clauses, tail)
}

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(clause: &str) -> impl Iterator<Item = &str> {
    clause.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Key, TableName};

    #[test]
    fn only_what_is_not_told_already_counts() {
        let of = |definition: &str| Table {
            name: TableName::new(None, "t"),
            columns: Vec::new(),
            key: Key::Row,
            definition: definition.to_owned(),
            options: Default::default(),
        };
        let check = |before: &str, after: &str, explained: &[&str], options: bool, expect: bool| {
            assert_eq!(differs(&of(before), &of(after), explained, options), expect, "{before} {after}");
        };
        check("CREATE TABLE t (a, b)", "CREATE TABLE t (a,\n b)", &[], false, false);
        check("CREATE TABLE t (a)", "CREATE TABLE t (a, `b` int)", &["b"], false, false);
        check("CREATE TABLE t (a)", "CREATE TABLE t (a, CHECK (a > 0, 1))", &["b"], false, true);
        check("CREATE TABLE t (a DEFAULT '(,')", "CREATE TABLE t (a DEFAULT '(,)')", &[], false, true);
        check("CREATE TABLE t (a) STRICT", "CREATE TABLE t (a)", &[], false, true);
        check("CREATE TABLE t (a) ENGINE=A", "CREATE TABLE t (a) ENGINE=B", &[], true, false);
        check("CREATE TABLE t (a) AUTO_INCREMENT=7 X", "CREATE TABLE t (a) AUTO_INCREMENT=9 X", &[], false, false);
        check("odd", "odder", &[], false, true);
        check("[a,b](c)", "[a,b](d)", &[], false, true);
    }
}
