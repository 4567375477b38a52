//! Goes through two documents side by side.

use std::collections::HashMap;

use super::{
    align::align,
    node::{Member, Node, Shape},
};

/// Values inside one another that are gone into; what is deeper is compared as a whole.
const DEEPEST: usize = 128;
/// How often each byte may be looked at.
const PASSES: usize = 64;
/// Paths after which an exact answer is the whole document.
const EXACT: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every difference, for people.
    Tell,
    /// Differences that, done one after the other, make one document the other: an object whose fields would stand in
    /// another order is replaced as a whole, where the order counts.
    Exact,
    /// Until the first difference.
    First,
    /// Until the first difference of a value.
    FirstValue,
}

/// One difference. Removed elements come before added ones, the last first.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// RFC 6901.
    pub path: String,
    pub before: Option<Node<'a>>,
    pub after: Option<Node<'a>>,
    /// Only the order of the members differs.
    pub order: bool,
}

/// Every difference between two values; in [`Mode::Exact`] one for the whole document where there would be too many.
pub fn walk<'a>(before: Node<'a>, after: Node<'a>, mode: Mode) -> Vec<Step<'a>> {
    let budget = (before.bytes().len() + after.bytes().len()).saturating_add(1024).saturating_mul(PASSES);
    let mut walk = Walk { mode, budget, path: String::new(), steps: Vec::new() };
    walk.value(before, after, 0);
    if mode == Mode::Exact && walk.steps.len() > EXACT {
        return vec![Step { path: String::new(), before: Some(before), after: Some(after), order: false }];
    }
    walk.steps
}

struct Walk<'a> {
    mode: Mode,
    /// Bytes that may still be looked at.
    budget: usize,
    path: String,
    steps: Vec<Step<'a>>,
}

impl<'a> Walk<'a> {
    fn over(&self) -> bool {
        match self.mode {
            Mode::Tell => false,
            Mode::Exact => self.steps.len() > EXACT,
            Mode::First => !self.steps.is_empty(),
            Mode::FirstValue => self.steps.iter().any(|step| !step.order),
        }
    }

    fn value(&mut self, before: Node<'a>, after: Node<'a>, depth: usize) {
        if self.over() || before.identical(&after) {
            return;
        }
        let cost = before.bytes().len() + after.bytes().len();
        if depth < DEEPEST && self.budget >= cost && before.shape() == after.shape() {
            self.budget -= cost;
            match before.shape() {
                Shape::Object => {
                    if let (Some(old), Some(new)) = (before.members(), after.members()) {
                        return self.object((before, old), (after, new), depth);
                    }
                }
                Shape::Array => {
                    if let (Some(old), Some(new)) = (before.items(), after.items()) {
                        return self.array(&old, &new, depth);
                    }
                }
                Shape::Leaf => {}
            }
        }
        if !before.same(&after) {
            self.step(Some(before), Some(after), false);
        }
    }

    fn object(&mut self, (before, old): (Node<'a>, Vec<Member<'a>>), (after, new): (Node<'a>, Vec<Member<'a>>), depth: usize) {
        let place: HashMap<&str, usize> = new.iter().enumerate().map(|(at, (name, _))| (name.as_ref(), at)).collect();
        let mut places: Vec<usize> = old.iter().filter_map(|(name, _)| place.get(name.as_ref()).copied()).collect();
        let reordered = !places.is_sorted();
        let counts = matches!(before, Node::Bson(_));
        if self.mode == Mode::Exact && counts {
            let mut kept = vec![false; new.len()];
            places.iter().for_each(|at| kept[*at] = true);
            places.extend((0..new.len()).filter(|at| !kept[*at]));
            if !places.is_sorted() {
                return self.step(Some(before), Some(after), false);
            }
        }
        for (name, value) in &old {
            let outer = self.enter(name);
            match place.get(name.as_ref()) {
                Some(at) => self.value(*value, new[*at].1, depth + 1),
                None => self.step(Some(*value), None, false),
            }
            self.path.truncate(outer);
        }
        let known: std::collections::HashSet<&str> = old.iter().map(|(name, _)| name.as_ref()).collect();
        for (name, value) in new.iter().filter(|(name, _)| !known.contains(name.as_ref())) {
            let outer = self.enter(name);
            self.step(None, Some(*value), false);
            self.path.truncate(outer);
        }
        if reordered && self.mode != Mode::Exact {
            self.step(Some(before), Some(after), true);
        }
    }

    fn array(&mut self, old: &[Node<'a>], new: &[Node<'a>], depth: usize) {
        let pairs = align(old, new);
        let (mut kept_old, mut kept_new) = (vec![false; old.len()], vec![false; new.len()]);
        for (one, two) in &pairs {
            (kept_old[*one], kept_new[*two]) = (true, true);
        }
        for at in (0..old.len()).rev().filter(|at| !kept_old[*at]) {
            self.element(at, |walk| walk.step(Some(old[at]), None, false));
        }
        for at in (0..new.len()).filter(|at| !kept_new[*at]) {
            self.element(at, |walk| walk.step(None, Some(new[at]), false));
        }
        for (one, two) in pairs {
            self.element(two, |walk| walk.value(old[one], new[two], depth + 1));
        }
    }

    fn element(&mut self, at: usize, then: impl FnOnce(&mut Self)) {
        let outer = self.enter(&at.to_string());
        then(self);
        self.path.truncate(outer);
    }

    fn enter(&mut self, name: &str) -> usize {
        let outer = self.path.len();
        self.path.push('/');
        for letter in name.chars() {
            match letter {
                '~' => self.path.push_str("~0"),
                '/' => self.path.push_str("~1"),
                other => self.path.push(other),
            }
        }
        outer
    }

    fn step(&mut self, before: Option<Node<'a>>, after: Option<Node<'a>>, order: bool) {
        if !self.over() {
            self.steps.push(Step { path: self.path.clone(), before, after, order });
        }
    }
}
