//! Changes inside a document as a tree of the paths that changed, and of nothing else.

use crate::domain::diff::{Change, PathChange};

/// One step of writing the tree: templates cannot call themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A part that holds changes: its name, and how many.
    Open {
        name: String,
        changes: usize,
    },
    /// One change: its name within its part.
    Leaf {
        name: String,
        change: Leaf,
    },
    Close,
}

/// One changed place of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub kind: Change,
    pub order: bool,
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Default)]
struct Part {
    /// In the order of their first change.
    parts: Vec<(String, Part)>,
    leaf: Option<Leaf>,
}

impl Part {
    fn put(&mut self, names: &[String], leaf: Leaf) {
        let Some((name, rest)) = names.split_first() else {
            self.leaf = Some(leaf);
            return;
        };
        let found = self.parts.iter().position(|part| part.0 == *name);
        let place = found.unwrap_or_else(|| {
            self.parts.push((name.clone(), Part::default()));
            self.parts.len() - 1
        });
        self.parts[place].1.put(rest, leaf);
    }

    fn changes(&self) -> usize {
        usize::from(self.leaf.is_some()) + self.parts.iter().map(|part| part.1.changes()).sum::<usize>()
    }

    fn write(self, name: String, steps: &mut Vec<Step>) {
        let changes = self.changes() - usize::from(self.leaf.is_some());
        if let Some(change) = self.leaf {
            steps.push(Step::Leaf { name: name.clone(), change });
        }
        if self.parts.is_empty() {
            return;
        }
        steps.push(Step::Open { name, changes });
        self.parts.into_iter().for_each(|(name, part)| part.write(name, steps));
        steps.push(Step::Close);
    }
}

/// The tree of these changes. Parts with a single thing in them are drawn as one: `limits.dbs`.
pub fn steps(paths: &[PathChange]) -> Vec<Step> {
    let mut root = Part::default();
    for path in paths {
        let leaf = Leaf { kind: path.change, order: path.order, before: path.before.clone(), after: path.after.clone() };
        root.put(&names(&path.path), leaf);
    }
    let mut steps = Vec::new();
    if let Some(change) = root.leaf.take() {
        steps.push(Step::Leaf { name: "the whole".into(), change });
    }
    root.parts.into_iter().for_each(|(name, part)| {
        let (name, part) = shortened(name, part);
        part.write(name, &mut steps);
    });
    steps
}

/// A chain of parts that hold one thing each, as one part with a longer name.
fn shortened(mut name: String, mut part: Part) -> (String, Part) {
    while part.leaf.is_none() && part.parts.len() == 1 {
        let (inner, only) = part.parts.remove(0);
        name = format!("{name}.{inner}");
        part = only;
    }
    part.parts = part.parts.into_iter().map(|(name, part)| shortened(name, part)).collect();
    (name, part)
}

/// The names in an RFC 6901 pointer.
fn names(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, before: Option<&str>, after: Option<&str>) -> PathChange {
        let change = match (before, after) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        PathChange { path: path.into(), change, order: false, before: before.map(str::to_owned), after: after.map(str::to_owned) }
    }

    fn drawn(paths: &[PathChange]) -> String {
        let text = |step: &Step| match step {
            Step::Open { name, changes } => format!("{name}:{changes}("),
            Step::Leaf { name, change } => format!("{name}{} ", change.kind.sign()),
            Step::Close => ")".into(),
        };
        steps(paths).iter().map(text).collect()
    }

    #[test]
    fn only_what_changed_is_in_the_tree() {
        let paths =
            [change("/limits/dbs", Some("1"), Some("5")), change("/limits/users", None, Some("3")), change("/name", Some("\"a\""), None)];
        assert_eq!(drawn(&paths), "limits:2(dbs~ users+ )name− ");
    }

    #[test]
    fn a_lonely_path_is_one_line() {
        assert_eq!(drawn(&[change("/a/b/0/c", Some("1"), Some("2"))]), "a.b.0.c~ ");
        assert_eq!(drawn(&[change("/a/b/x", Some("1"), Some("2")), change("/a/b/y", Some("1"), Some("2"))]), "a.b:2(x~ y~ )");
    }

    #[test]
    fn names_with_slashes_and_changes_of_the_whole_are_shown_as_they_are() {
        assert_eq!(drawn(&[change("/a~1b~0/c", Some("1"), Some("2"))]), "a/b~.c~ ");
        assert_eq!(drawn(&[change("", Some("1"), Some("[]"))]), "the whole~ ");
        assert_eq!(drawn(&[change("/a", Some("1"), None), change("/a/b", None, Some("1"))]), "a− a:1(b+ )");
    }
}
