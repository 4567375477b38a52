//! Which entries of an archive belong to chosen tables.

use std::collections::{HashMap, HashSet};

use super::archive::Entry;
use crate::error::{Error, Kind, Result};

/// What comes along with a table, or with what came along, when it depends on it.
const FOLLOWS: &[&str] = &[
    "TABLE DATA",
    "TABLE ATTACH",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "STATISTICS DATA",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
];

/// What a table may need to be there first; it is taken only into a database that has nothing yet.
const SUPPORTS: &[&str] = &[
    "SCHEMA",
    "EXTENSION",
    "TYPE",
    "SHELL TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "COLLATION",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "CAST",
    "ACCESS METHOD",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "SEQUENCE",
    "FOREIGN DATA WRAPPER",
    "SERVER",
];

/// The chosen part of an archive.
#[derive(Debug)]
pub struct Selection {
    pub ids: HashSet<i64>,
    pub warnings: Vec<String>,
}

impl Selection {
    /// Takes the tables (`name` or `schema.name`, exact) with their rows, partitions, keys, indexes, triggers, owned
    /// sequences and grants; `fresh` takes the types, functions and schemas they need too. A foreign key to a table
    /// that is not chosen is left out of a fresh database, with a warning.
    /// Errors when the archive has no such table.
    pub fn of(tables: &[String], entries: &[Entry], fresh: bool) -> Result<Self> {
        let mut ids = chosen(tables, entries)?;
        let by_id: HashMap<i64, &Entry> = entries.iter().map(|entry| (entry.id, entry)).collect();
        add_partitions(&mut ids, entries, &by_id);
        let mut dropped = HashSet::new();
        let mut warnings = Vec::new();
        loop {
            let before = ids.len();
            for entry in entries.iter().filter(|entry| FOLLOWS.contains(&entry.desc.as_str())) {
                if ids.contains(&entry.id) || dropped.contains(&entry.id) || !entry.dependencies.iter().any(|id| ids.contains(id)) {
                    continue;
                }
                match missing_table(entry, &ids, &by_id) {
                    // A constraint or default of another table that only refers to a chosen one.
                    Some(_) if entry.desc != "FK CONSTRAINT" || !own_table_chosen(entry, &ids, &by_id) => {}
                    Some(other) if fresh => {
                        dropped.insert(entry.id);
                        warnings.push(format!("the foreign key '{}' is left out: it refers to {other}, which is not restored", entry.tag));
                    }
                    _ => {
                        ids.insert(entry.id);
                    }
                }
            }
            if fresh {
                add_supports(&mut ids, entries, &by_id);
            }
            if ids.len() == before {
                return Ok(Self { ids, warnings });
            }
        }
    }

    /// The list that `pg_restore --use-list` reads, in the order of the archive.
    pub fn list(&self, entries: &[Entry]) -> String {
        entries.iter().filter(|entry| self.ids.contains(&entry.id)).map(|entry| format!("{};\n", entry.id)).collect()
    }
}

fn chosen(tables: &[String], entries: &[Entry]) -> Result<HashSet<i64>> {
    let mut ids = HashSet::new();
    let mut unknown = Vec::new();
    for wanted in tables {
        let is = |entry: &&Entry| {
            entry.desc == "TABLE"
                && (entry.tag == *wanted || entry.schema.as_ref().is_some_and(|schema| format!("{schema}.{}", entry.tag) == *wanted))
        };
        let before = ids.len();
        ids.extend(entries.iter().filter(is).map(|entry| entry.id));
        if ids.len() == before && !entries.iter().any(|entry| is(&entry)) {
            unknown.push(wanted.as_str());
        }
    }
    if unknown.is_empty() {
        return Ok(ids);
    }
    Err(Error::new(Kind::Restore, format!("the backup has no table {}", unknown.join(", ")))
        .hint("write it as name or schema.name, as the backup lists it"))
}

fn is_table(entry: &Entry) -> bool {
    ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW"].contains(&entry.desc.as_str())
}

/// A `TABLE ATTACH` entry depends on the parent and the partition; its own tag is the partition's name.
fn add_partitions(ids: &mut HashSet<i64>, entries: &[Entry], by_id: &HashMap<i64, &Entry>) {
    loop {
        let before = ids.len();
        for attach in entries.iter().filter(|entry| entry.desc == "TABLE ATTACH") {
            let (children, parents): (Vec<i64>, Vec<i64>) = attach
                .dependencies
                .iter()
                .filter(|id| by_id.get(id).is_some_and(|entry| is_table(entry)))
                .partition(|id| by_id.get(id).is_some_and(|entry| entry.tag == attach.tag && entry.schema == attach.schema));
            if parents.iter().any(|id| ids.contains(id)) {
                ids.extend(children);
            }
        }
        if ids.len() == before {
            return;
        }
    }
}

/// The first table that the entry needs and that is not chosen. What it needs may be a key of that table.
fn missing_table(entry: &Entry, ids: &HashSet<i64>, by_id: &HashMap<i64, &Entry>) -> Option<String> {
    let needed = entry.dependencies.iter().filter_map(|id| by_id.get(id));
    let tables = needed.flat_map(|entry| {
        let beneath = entry.dependencies.iter().filter_map(|id| by_id.get(id)).filter(|_| !is_table(entry) && entry.desc != "SEQUENCE");
        std::iter::once(entry).chain(beneath)
    });
    tables.filter(|entry| is_table(entry)).find(|entry| !ids.contains(&entry.id)).map(|entry| entry.tag.clone())
}

/// The tag of a foreign key is `table constraint`.
fn own_table_chosen(key: &Entry, ids: &HashSet<i64>, by_id: &HashMap<i64, &Entry>) -> bool {
    key.dependencies.iter().filter_map(|id| by_id.get(id)).any(|entry| {
        is_table(entry) && ids.contains(&entry.id) && entry.schema == key.schema && key.tag.starts_with(&format!("{} ", entry.tag))
    })
}

fn add_supports(ids: &mut HashSet<i64>, entries: &[Entry], by_id: &HashMap<i64, &Entry>) {
    loop {
        let mut needed: HashSet<i64> = HashSet::new();
        let mut schemas: HashSet<&str> = HashSet::new();
        for entry in ids.iter().filter_map(|id| by_id.get(id)) {
            needed
                .extend(entry.dependencies.iter().filter(|id| by_id.get(id).is_some_and(|entry| SUPPORTS.contains(&entry.desc.as_str()))));
            schemas.extend(entry.schema.as_deref());
        }
        needed.extend(entries.iter().filter(|entry| entry.desc == "SCHEMA" && schemas.contains(entry.tag.as_str())).map(|entry| entry.id));
        let before = ids.len();
        ids.extend(needed);
        if ids.len() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, desc: &str, tag: &str, dependencies: &[i64]) -> Entry {
        Entry {
            id,
            desc: desc.into(),
            tag: tag.into(),
            schema: Some("public".into()),
            dependencies: dependencies.into(),
            ..Entry::default()
        }
    }

    fn archive() -> Vec<Entry> {
        vec![
            entry(1, "TYPE", "mood", &[]),
            entry(2, "TABLE", "customers", &[1]),
            entry(3, "TABLE", "orders", &[]),
            entry(4, "SEQUENCE", "orders_id_seq", &[3]),
            entry(5, "SEQUENCE OWNED BY", "orders_id_seq", &[4]),
            entry(6, "DEFAULT", "orders id", &[3, 4]),
            entry(7, "TABLE DATA", "orders", &[3]),
            entry(8, "SEQUENCE SET", "orders_id_seq", &[4]),
            entry(9, "CONSTRAINT", "customers customers_pkey", &[2]),
            entry(10, "CONSTRAINT", "orders orders_pkey", &[3]),
            entry(11, "FK CONSTRAINT", "orders orders_customer_fkey", &[3, 9, 2]),
            entry(12, "TABLE", "log", &[]),
            entry(13, "TABLE", "log_2026", &[]),
            entry(14, "TABLE ATTACH", "log_2026", &[12, 13]),
            entry(15, "TABLE DATA", "log_2026", &[13]),
            entry(16, "VIEW", "all_orders", &[3]),
        ]
    }

    fn check(tables: &[&str], fresh: bool, expect: &[i64], warnings: usize) {
        let tables: Vec<String> = tables.iter().map(|&table| table.to_owned()).collect();
        let selection = Selection::of(&tables, &archive(), fresh).unwrap();
        let mut ids: Vec<i64> = selection.ids.iter().copied().collect();
        ids.sort_unstable();
        assert_eq!((ids.as_slice(), selection.warnings.len()), (expect, warnings), "{tables:?}");
    }

    #[test]
    fn a_table_brings_its_rows_keys_and_sequences() {
        check(&["orders"], true, &[3, 4, 5, 6, 7, 8, 10], 1);
        check(&["public.orders"], false, &[3, 4, 5, 6, 7, 8, 10, 11], 0);
        check(&["orders", "customers"], true, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], 0);
        check(&["customers"], false, &[2, 9], 0);
    }

    #[test]
    fn a_partitioned_table_brings_its_partitions_and_a_partition_stays_alone() {
        check(&["log"], true, &[12, 13, 14, 15], 0);
        check(&["log_2026"], true, &[13, 15], 0);
    }

    #[test]
    fn a_table_that_is_not_there_is_named() {
        let error = Selection::of(&["orders".into(), "nope".into()], &archive(), true).unwrap_err();
        assert!(error.to_string().contains("no table nope"), "{error}");
        assert_eq!(Selection::of(&["log".into()], &archive(), true).unwrap().list(&archive()), "12;\n13;\n14;\n15;\n");
    }
}
