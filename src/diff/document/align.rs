//! Which elements of two arrays belong together.

use super::node::Node;

/// Cells of the table that finds the longest common subsequence; arrays that need more are compared by position.
const CELLS: usize = 250_000;
/// How deep elements are looked into for being equal.
const DEPTH: usize = 6;

/// Pairs of places, ascending on both sides; what is in none came or went.
pub fn align(before: &[Node<'_>], after: &[Node<'_>]) -> Vec<(usize, usize)> {
    let start = before.iter().zip(after).take_while(|(one, two)| one.identical(two)).count();
    let (old, new) = (&before[start..], &after[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(one, two)| one.identical(two)).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut pairs: Vec<_> = (0..start).map(|at| (at, at)).collect();
    pairs.extend(middle(old, new).into_iter().map(|(one, two)| (start + one, start + two)));
    pairs.extend((0..end).rev().map(|at| (before.len() - 1 - at, after.len() - 1 - at)));
    pairs
}

fn middle(old: &[Node<'_>], new: &[Node<'_>]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > CELLS {
        return (0..old.len().min(new.len())).map(|at| (at, at)).collect();
    }
    let digests = |nodes: &[Node<'_>]| nodes.iter().map(|node| node.digest(DEPTH)).collect::<Vec<_>>();
    let mut pairs = Vec::new();
    let (mut one, mut two) = (0, 0);
    let mut anchors = longest_common(&digests(old), &digests(new));
    anchors.push((old.len(), new.len()));
    // Between two anchors, elements in the same place are taken for the same one that changed.
    for (to_one, to_two) in anchors {
        pairs.extend((one..to_one).zip(two..to_two));
        if to_one < old.len() {
            pairs.push((to_one, to_two));
        }
        (one, two) = (to_one + 1, to_two + 1);
    }
    pairs
}

fn longest_common(old: &[u64], new: &[u64]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for one in (0..old.len()).rev() {
        for two in (0..new.len()).rev() {
            longest[one * width + two] = if old[one] == new[two] {
                longest[(one + 1) * width + two + 1] + 1
            } else {
                longest[(one + 1) * width + two].max(longest[one * width + two + 1])
            };
        }
    }
    let mut pairs = Vec::new();
    let (mut one, mut two) = (0, 0);
    while one < old.len() && two < new.len() {
        if old[one] == new[two] {
            pairs.push((one, two));
            (one, two) = (one + 1, two + 1);
        } else if longest[(one + 1) * width + two] >= longest[one * width + two + 1] {
            one += 1;
        } else {
            two += 1;
        }
    }
    pairs
}
