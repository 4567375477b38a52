//! Differences as a JSON patch (RFC 6902), which makes one document the other.

use super::{
    bson,
    node::Node,
    walk::{Mode, Step, walk},
};
use crate::{error::Result, snapshot::json_quote};

/// The operations that make the value of one JSON text that of the other, as a JSON array. Members are in any order
/// afterwards, as the standard has it. `None` when either is no JSON.
pub fn json_operations(before: &[u8], after: &[u8]) -> Option<String> {
    Some(write(&walk(Node::json(before)?, Node::json(after)?, Mode::Exact)))
}

/// The same for BSON documents: values are canonical extended JSON, and an object whose fields would stand in another order
/// is replaced as a whole. Errors when either is no BSON.
pub fn bson_operations(before: &[u8], after: &[u8]) -> Result<String> {
    Ok(write(&walk(bson(before)?, bson(after)?, Mode::Exact)))
}

fn write(steps: &[Step<'_>]) -> String {
    let mut out = String::from("[");
    for (at, step) in steps.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let operation = match (&step.before, &step.after) {
            (None, _) => "add",
            (_, None) => "remove",
            _ => "replace",
        };
        out.push_str(&format!(r#"{{"op":"{operation}","path":"#));
        json_quote(&step.path, &mut out);
        if let Some(after) = &step.after {
            out.push_str(",\"value\":");
            out.push_str(&after.exact());
        }
        out.push('}');
    }
    out.push(']');
    out
}
