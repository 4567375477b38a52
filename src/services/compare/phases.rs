//! In which order the changes of several tables are written, so that no foreign key is broken on the way.

use std::collections::HashSet;

use crate::{
    engines::Engine,
    snapshot::{ChangeKind, Schema, TableName},
};

/// One pass over the changes of a kind of a table, named by its place in the list it was given with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    pub table: usize,
    pub kind: ChangeKind,
}

/// The passes over `tables`, which stand in an order in which rows can be inserted. `referenced` says of each whether
/// another one's foreign keys point to it.
///
/// An engine that looks at foreign keys only at the end gets the removals first: what they leave free, such as an address
/// that must be unique, can be taken again. PostgreSQL looks at once, so there a row that others may point to goes last.
pub fn phases(engine: &dyn Engine, tables: usize, referenced: impl Fn(usize) -> bool) -> Vec<Phase> {
    let at_once = engine.info().id == "postgresql";
    let last = |table: &usize| at_once && referenced(*table);
    let removals =
        |wanted: bool| (0..tables).rev().filter(move |table| last(table) == wanted).map(|table| Phase { table, kind: ChangeKind::Removed });
    let of = |kind| (0..tables).map(move |table| Phase { table, kind });
    removals(false).chain(of(ChangeKind::Added)).chain(of(ChangeKind::Changed)).chain(removals(true)).collect()
}

/// The tables that foreign keys of others point to.
pub fn referenced(schema: &Schema) -> HashSet<TableName> {
    let points = schema.objects.iter().filter(|object| object.table != object.references);
    points.filter_map(|object| object.references.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines;

    #[test]
    fn rows_that_others_point_to_go_last_where_keys_are_looked_at_at_once() {
        let order = |engine: &str| -> Vec<(usize, ChangeKind)> {
            let phases = phases(engines::find(engine).unwrap(), 2, |table| table == 0);
            phases.into_iter().map(|phase| (phase.table, phase.kind)).collect()
        };
        use ChangeKind::{Added, Changed, Removed};
        assert_eq!(order("postgresql"), [(1, Removed), (0, Added), (1, Added), (0, Changed), (1, Changed), (0, Removed)]);
        assert_eq!(order("sqlite"), [(1, Removed), (0, Removed), (0, Added), (1, Added), (0, Changed), (1, Changed)]);
    }
}
