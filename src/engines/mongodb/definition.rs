//! The definitions of an archive as commands: what a server takes of the options and indexes that another server told.

use mongodb::bson::{Bson, Document, doc};

use super::metadata::Metadata;

/// Options that `create` has; what else an archive names is not sent, because it could change the command.
const OPTIONS: &[&str] = &[
    "capped",
    "size",
    "max",
    "storageEngine",
    "validator",
    "validationLevel",
    "validationAction",
    "indexOptionDefaults",
    "viewOn",
    "pipeline",
    "collation",
    "timeseries",
    "expireAfterSeconds",
    "clusteredIndex",
    "changeStreamPreAndPostImages",
    "encryptedFields",
];

/// Options that mean nothing to a new collection: what servers no longer have or say by themselves.
const SILENT: &[&str] = &["autoIndexId", "flags", "uuid", "recordIdsReplicated", "create", "temp"];

/// What a collection is, as far as a restore treats it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// It keeps the order in which documents come, and drops the oldest.
    Capped,
    TimeSeries,
    View,
}

pub fn shape(metadata: &Metadata, kind: &str) -> Shape {
    let options = &metadata.options;
    match () {
        () if kind == "view" || options.contains_key("viewOn") => Shape::View,
        () if kind == "timeseries" || options.contains_key("timeseries") => Shape::TimeSeries,
        () if is_true(options.get("capped")) => Shape::Capped,
        () => Shape::Plain,
    }
}

/// The command that creates it under this name; what it leaves out is told in `warnings`.
pub fn create(name: &str, label: &str, metadata: &Metadata, warnings: &mut Vec<String>) -> Document {
    let mut command = doc! { "create": name };
    let mut left_out = Vec::new();
    for (key, value) in &metadata.options {
        match () {
            // Old servers tell `capped: false` with a size, which new ones refuse.
            () if ["capped", "size", "max"].contains(&key.as_str()) && !is_true(metadata.options.get("capped")) => {}
            () if OPTIONS.contains(&key.as_str()) => drop(command.insert(key, value.clone())),
            () if SILENT.contains(&key.as_str()) => {}
            () => left_out.push(key.as_str()),
        }
    }
    if !left_out.is_empty() {
        warnings.push(format!("{label} is created without the option {}, which DBSnap does not know", left_out.join(", ")));
    }
    command
}

/// True when deleting by age comes with the collection itself, so that documents may go while others still come.
pub fn expires(metadata: &Metadata) -> bool {
    metadata.options.contains_key("expireAfterSeconds")
}

/// The indexes to create once the documents are there: without those that come with the collection, and with what old
/// servers allowed and new ones refuse put right, as mongorestore does it. What was changed is told in `warnings`.
pub fn indexes(label: &str, metadata: &Metadata, warnings: &mut Vec<String>) -> Vec<Document> {
    let mut all = Vec::new();
    for index in metadata.indexes.iter().filter(|index| !comes_with_collection(index)) {
        let mut index = index.clone();
        let simple =
            index.get_document("collation").is_ok_and(|collation| collation.get_str("locale").is_ok_and(|locale| locale == "simple"));
        if number(index.get("v")) == Some(1.0) && simple {
            index.remove("collation");
        }
        // The version is the server's affair; the namespace is the one it is created in.
        for key in ["v", "ns", "clustered"] {
            index.remove(key);
        }
        let name = index.get_str("name").unwrap_or("without a name").to_owned();
        if let Ok(key) = index.get_document_mut("key") {
            let mut changed = false;
            for (_, direction) in key.iter_mut() {
                changed |= put_right(direction);
            }
            if changed {
                warnings.push(format!("the index '{name}' of {label} has a direction that servers no longer take: it ascends"));
            }
        }
        // Truthiness of old servers: anything but false, 0 and null.
        for flag in ["unique", "sparse", "hidden", "background"] {
            match index.get(flag) {
                None | Some(Bson::Boolean(_)) => {}
                Some(value) => {
                    let on = is_true(Some(value));
                    index.insert(flag, on);
                }
            }
        }
        if let Some(Bson::Null) = index.get("partialFilterExpression") {
            index.remove("partialFilterExpression");
        }
        all.push(index);
    }
    all
}

/// The index of `_id`, and the one that a clustered collection is stored by.
fn comes_with_collection(index: &Document) -> bool {
    let ascends = |direction: &Bson| match direction {
        Bson::String(kind) => kind.is_empty(),
        other => number(Some(other)).is_none_or(|number| number >= 0.0),
    };
    let by_id = index.get_document("key").is_ok_and(|key| key.len() == 1 && key.get("_id").is_some_and(ascends));
    by_id || is_true(index.get("clustered"))
}

/// Before 3.4 a direction could be anything; what is neither a number nor the name of a kind meant ascending.
fn put_right(direction: &mut Bson) -> bool {
    let fine = match &*direction {
        Bson::String(kind) => !kind.is_empty(),
        other => number(Some(other)).is_some_and(|number| number != 0.0) || matches!(other, Bson::Decimal128(_)),
    };
    if !fine {
        *direction = Bson::Int32(1);
    }
    !fine
}

fn number(value: Option<&Bson>) -> Option<f64> {
    match value? {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    }
}

fn is_true(value: Option<&Bson>) -> bool {
    match value {
        None | Some(Bson::Null | Bson::Undefined | Bson::Boolean(false)) => false,
        Some(value) => number(Some(value)).is_none_or(|number| number != 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(options: Document, indexes: Vec<Document>) -> Metadata {
        Metadata { options, indexes, ..Metadata::default() }
    }

    #[test]
    fn options_are_sent_as_they_are_and_never_more_than_create_has() {
        let check = |options: Document, expect: Document, warned: usize| {
            let mut warnings = Vec::new();
            assert_eq!(create("c", "d.c", &metadata(options, Vec::new()), &mut warnings), expect);
            assert_eq!(warnings.len(), warned, "{warnings:?}");
        };
        check(doc! { "capped": true, "size": 4096, "max": 3 }, doc! { "create": "c", "capped": true, "size": 4096, "max": 3 }, 0);
        check(doc! { "capped": false, "size": 0, "autoIndexId": true }, doc! { "create": "c" }, 0);
        check(doc! { "create": "other", "$db": "admin", "writeConcern": { "w": 0 } }, doc! { "create": "c" }, 1);
        let stored = doc! { "clusteredIndex": { "key": { "_id": 1 }, "unique": true }, "expireAfterSeconds": 60_i64 };
        check(stored.clone(), doc! { "create": "c" }.into_iter().chain(stored).collect(), 0);
    }

    #[test]
    fn indexes_of_old_servers_are_put_right_and_others_are_kept_whole() {
        let mut warnings = Vec::new();
        let mut check = |index: Document, expect: Option<Document>| {
            assert_eq!(indexes("d.c", &metadata(doc! {}, vec![index]), &mut warnings).pop(), expect);
            std::mem::take(&mut warnings).len()
        };
        check(doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" }, None);
        check(doc! { "v": 2, "key": { "_id": 1 }, "name": "by id", "unique": true, "clustered": true }, None);
        let hashed = doc! { "key": { "_id": "hashed" }, "name": "h" };
        check(hashed.clone(), Some(hashed));
        let kept = doc! {
            "key": { "z": 1, "a": -1.5, "t": "text" }, "name": "n", "unique": true, "sparse": false, "expireAfterSeconds": 3600,
            "weights": { "t": 7 }, "default_language": "none", "textIndexVersion": 3, "hidden": true,
            "partialFilterExpression": { "a": { "$gt": 5 } }, "collation": { "locale": "de", "strength": 2 }, "wildcardProjection": { "x": 1 },
        };
        let mut told = kept.clone();
        told.extend(doc! { "v": 2, "ns": "other.c" });
        assert_eq!(check(told, Some(kept)), 0);
        assert_eq!(
            check(
                doc! { "v": 0, "key": { "a": true, "b": "", "c": -1 }, "name": "n" },
                Some(doc! { "key": { "a": 1, "b": 1, "c": -1 }, "name": "n" })
            ),
            1
        );
        check(
            doc! { "v": 1, "key": { "a": 1 }, "name": "n", "collation": { "locale": "simple" } },
            Some(doc! { "key": { "a": 1 }, "name": "n" }),
        );
        check(
            doc! { "key": { "a": 1 }, "name": "n", "unique": 1, "sparse": 0.0 },
            Some(doc! { "key": { "a": 1 }, "name": "n", "unique": true, "sparse": false }),
        );
    }
}
