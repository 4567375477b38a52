//! What differs inside two documents, path by path: JSON by value, BSON with its types.
//!
//! Whatever the documents hold, the work, the depth and the output are bounded.

mod align;
mod json;
mod node;
mod operations;
mod walk;

pub use self::operations::{bson_operations, json_operations};
use self::{
    node::Node,
    walk::{Mode, Step, walk},
};
use crate::{
    domain::diff::{Change, PathChange},
    error::{Error, Result},
    snapshot::{BsonValue, bson_fields, bson_kind},
};

/// Paths that are told of one document.
const PATHS: usize = 1000;
/// Bytes of one value that are told.
const TEXT: usize = 4096;
/// Bytes of all values together; after them only the beginnings are told.
const TEXTS: usize = 1024 * 1024;
const BEGINNING: usize = 64;

/// The name that stands for the order of the fields among [`top_level_fields`].
pub const FIELD_ORDER: &str = "(field order)";

/// The paths that differ between two JSON texts: objects by member, arrays by position, where an element that came or went
/// moves those after it. Numbers of the same value are equal, and of a member that is there twice the last one counts.
/// Members in another order are one change with `order`. `None` when either is no JSON.
///
/// Removed elements have their place before, all others their place after. Long values are cut with `…`; after 1,000 paths
/// one more entry, for the whole document, says how many there are beside them.
pub fn json_paths(before: &[u8], after: &[u8]) -> Option<Vec<PathChange>> {
    Some(tell(&walk(Node::json(before)?, Node::json(after)?, Mode::Tell)))
}

/// True when two JSON texts have the same value, whatever the order of their members and the form of their numbers.
pub fn json_equal(before: &[u8], after: &[u8]) -> bool {
    if before == after {
        return true;
    }
    match (Node::json(before), Node::json(after)) {
        (Some(before), Some(after)) => walk(before, after, Mode::FirstValue).iter().all(|step| step.order),
        _ => false,
    }
}

/// The same for BSON documents, where another type, and another exponent of a Decimal128, is a change; NaN equals NaN and
/// -0 equals 0. Errors when either is no BSON.
pub fn bson_paths(before: &[u8], after: &[u8]) -> Result<Vec<PathChange>> {
    Ok(tell(&walk(bson(before)?, bson(after)?, Mode::Tell)))
}

/// True when nothing differs but the order of fields, NaN from NaN or -0 from 0.
pub fn bson_equal_but_for_order(before: &[u8], after: &[u8]) -> Result<bool> {
    Ok(walk(bson(before)?, bson(after)?, Mode::FirstValue).iter().all(|step| step.order))
}

/// The names of a document's fields, those before first, and whether each differs. Where only their order differs,
/// [`FIELD_ORDER`] is one more. Empty when either is no BSON; a side that is `None` has no fields.
pub fn top_level_fields(before: Option<&[u8]>, after: Option<&[u8]>) -> Vec<(String, bool)> {
    let fields = |document: Option<&[u8]>| -> Option<Vec<(String, Vec<u8>, u8)>> {
        let Some(document) = document else { return Some(Vec::new()) };
        let field = |field: crate::snapshot::BsonField<'_>| {
            (String::from_utf8_lossy(field.name).into_owned(), field.value.bytes.to_vec(), field.value.kind)
        };
        bson_fields(document).map(|each| each.ok().map(field)).collect()
    };
    let (Some(old), Some(new)) = (fields(before), fields(after)) else { return Vec::new() };
    let place: std::collections::HashMap<&str, usize> = new.iter().enumerate().map(|(at, field)| (field.0.as_str(), at)).collect();
    let mut told = Vec::with_capacity(new.len());
    let mut places = Vec::new();
    for (name, bytes, kind) in &old {
        let Some(at) = place.get(name.as_str()) else {
            told.push((name.clone(), true));
            continue;
        };
        places.push(*at);
        let (_, other, other_kind) = &new[*at];
        let (one, two) = (BsonValue { kind: *kind, bytes }, BsonValue { kind: *other_kind, bytes: other });
        told.push((name.clone(), one != two && !walk(Node::Bson(one), Node::Bson(two), Mode::First).is_empty()));
    }
    let known: std::collections::HashSet<&str> = old.iter().map(|field| field.0.as_str()).collect();
    told.extend(new.iter().filter(|field| !known.contains(field.0.as_str())).map(|field| (field.0.clone(), true)));
    if !places.is_sorted() {
        told.push((FIELD_ORDER.to_owned(), true));
    }
    told
}

fn bson(document: &[u8]) -> Result<Node<'_>> {
    match bson_fields(document).find_map(|field| field.err()) {
        Some(_) => Err(Error::validation("a document is damaged: it cannot be read as BSON")),
        None => Ok(Node::Bson(BsonValue { kind: bson_kind::DOCUMENT, bytes: document })),
    }
}

fn tell(steps: &[Step<'_>]) -> Vec<PathChange> {
    let mut left = TEXTS;
    let mut told: Vec<_> = steps.iter().take(PATHS).map(|step| tell_one(step, &mut left)).collect();
    if steps.len() > PATHS {
        let more = format!("… and {} more changes", steps.len() - PATHS);
        told.push(PathChange { path: String::new(), change: Change::Changed, order: false, before: None, after: Some(more) });
    }
    told
}

fn tell_one(step: &Step<'_>, left: &mut usize) -> PathChange {
    let change = match (&step.before, &step.after) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    };
    let types = step.before.as_ref().zip(step.after.as_ref()).and_then(|(before, after)| before.types(after));
    let mut text = |node: &Node<'_>, type_name: Option<&str>| {
        let mut text = if step.order { node.names() } else { node.text() };
        let limit = if *left == 0 { BEGINNING } else { TEXT };
        if text.len() > limit {
            text.truncate(text.floor_char_boundary(limit));
            text.push('…');
        }
        if let Some(name) = type_name.filter(|_| !step.order) {
            text.push_str(&format!(" ({name})"));
        }
        *left = left.saturating_sub(text.len());
        text
    };
    let before = step.before.as_ref().map(|node| text(node, types.map(|types| types.0)));
    let after = step.after.as_ref().map(|node| text(node, types.map(|types| types.1)));
    PathChange { path: step.path.clone(), change, order: step.order, before, after }
}

#[cfg(test)]
mod tests;
