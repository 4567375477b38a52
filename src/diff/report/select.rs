//! Which changes a filter takes, told by their kind and the columns that changed.

use super::{
    entry::{Entry, kind_number},
    index::{BlockNote, Pattern},
};
use crate::{
    diff::{Bits, bits},
    domain::diff::{Change, ChangeFilter, ColumnDiff},
    snapshot::ChangeKind,
};

/// A filter on one table.
pub struct Selection {
    kind: Option<ChangeKind>,
    /// Only changed rows in which one of these changed.
    column: Option<Bits>,
    /// Changed rows in which nothing else changed are left out.
    ignore: Bits,
}

/// What a filter says of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Yes,
    No,
    /// It would be taken, were it not for the columns that are ignored.
    Ignored,
}

/// Changes of a block that a filter takes, and those it ignores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    pub taken: u64,
    pub ignored: u64,
}

impl Selection {
    pub fn of(filter: &ChangeFilter, columns: &[ColumnDiff]) -> Self {
        let named = |wanted: &str| {
            columns.iter().enumerate().filter(move |(_, column)| column.name == wanted).map(|(at, _)| at).collect::<Vec<_>>()
        };
        let ignored = filter.ignore.iter().flat_map(|list| list.split(',')).flat_map(|name| named(name.trim()));
        Self {
            kind: filter.kind.map(kind),
            column: filter.column.as_deref().filter(|name| !name.is_empty()).map(|name| named(name).into_iter().collect()),
            ignore: ignored.collect(),
        }
    }

    pub fn takes(&self, kind: ChangeKind, columns: &[u8]) -> Taken {
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return Taken::No;
        }
        if let Some(wanted) = &self.column
            && (kind != ChangeKind::Changed || !wanted.iter().any(|at| bits::has(columns, at)))
        {
            return Taken::No;
        }
        let ignored = kind == ChangeKind::Changed && !columns.is_empty() && bits::within(columns, &self.ignore);
        if ignored { Taken::Ignored } else { Taken::Yes }
    }

    pub fn entry(&self, entry: &Entry<'_>) -> Taken {
        self.takes(entry.kind, entry.columns)
    }

    /// What the index tells of a block; `None` where the block has to be read.
    pub fn hits(&self, note: &BlockNote, patterns: &[Taken]) -> Option<Hits> {
        if self.column.is_none() && self.ignore.is_empty() {
            let of = |kind: ChangeKind| u64::from(note.kinds[kind_number(kind)]);
            return Some(Hits { taken: self.kind.map_or_else(|| note.changes(), of), ignored: 0 });
        }
        let mut hits = Hits::default();
        for (id, count) in note.patterns.as_ref()? {
            match patterns.get(*id as usize)? {
                Taken::Yes => hits.taken += u64::from(*count),
                Taken::Ignored => hits.ignored += u64::from(*count),
                Taken::No => {}
            }
        }
        Some(hits)
    }

    /// What the filter says of each pattern.
    pub fn patterns(&self, patterns: &[Pattern]) -> Vec<Taken> {
        patterns.iter().map(|(kind, columns)| self.takes(*kind, columns.bytes())).collect()
    }
}

pub fn kind(change: Change) -> ChangeKind {
    match change {
        Change::Added => ChangeKind::Added,
        Change::Removed => ChangeKind::Removed,
        Change::Changed => ChangeKind::Changed,
    }
}

pub fn change(kind: ChangeKind) -> Change {
    match kind {
        ChangeKind::Added => Change::Added,
        ChangeKind::Removed => Change::Removed,
        ChangeKind::Changed => Change::Changed,
    }
}
