//! The two sides of a comparison once they are open: a snapshot, or a live database at one moment.

use std::sync::Arc;

use super::live::Live;
use crate::{
    diff::{NoRows, RowSpec, Which},
    domain::{diff::SideFacts, run::Run},
    engines::{KeyRange, Order},
    error::Result,
    snapshot::{RowCursor, RowRef, Schema, Snapshot, Sorter, Subtree, Table, TableName},
};

/// Memory for sorting the rows of one table, bytes; what is more goes to files.
const SORT_MEMORY: usize = 48 * 1024 * 1024;

/// One open side.
pub enum Side {
    Snapshot(Arc<Snapshot>),
    Live(Box<Live>),
}

impl Side {
    pub fn schema(&self) -> &Schema {
        match self {
            Self::Snapshot(snapshot) => snapshot.schema(),
            Self::Live(live) => live.schema(),
        }
    }

    /// The rows of a table, where they are known without reading them.
    pub fn rows(&self, name: &TableName) -> Option<u64> {
        match self {
            Self::Snapshot(snapshot) => snapshot.entry(name).map(|entry| entry.rows),
            Self::Live(_) => None,
        }
    }

    pub fn leaves(&self, name: &TableName) -> u64 {
        match self {
            Self::Snapshot(snapshot) => snapshot.entry(name).map_or(0, |entry| entry.leaves),
            Self::Live(_) => 0,
        }
    }

    /// The share of the rows that were kept, where it is not all.
    pub fn sample(&self, name: &TableName) -> Option<f64> {
        match self {
            Self::Snapshot(snapshot) => snapshot.entry(name).and_then(|entry| entry.sample),
            Self::Live(_) => None,
        }
    }

    pub fn facts(&self, label: &str) -> SideFacts {
        let label = label.to_owned();
        match self {
            Self::Snapshot(snapshot) => SideFacts {
                label,
                kind: "snapshot".into(),
                moment: Some(snapshot.facts().moment),
                server_version: snapshot.facts().server_version.clone(),
                rows: snapshot.tables().iter().map(|table| table.rows).sum(),
                bytes: snapshot.tables().iter().map(|table| table.bytes).sum(),
            },
            Self::Live(live) => SideFacts {
                label,
                kind: "live".into(),
                moment: Some(live.facts().moment),
                server_version: live.facts().server_version.clone(),
                rows: 0,
                bytes: 0,
            },
        }
    }

    fn cursor(&self, table: &Table, asked: &Asked<'_>, run: &Run) -> Result<Box<dyn RowCursor>> {
        let map = asked.spec.needs_rekey().then_some((asked.spec, asked.which));
        let (rows, ordered): (Box<dyn RowCursor>, bool) = match self {
            Self::Snapshot(snapshot) => {
                let rows = snapshot.cursor(&table.name, asked.range.after.as_deref(), asked.range.to.as_deref())?;
                (if asked.skips { Box::new(rows) } else { Box::new(RowByRow(rows)) }, true)
            }
            Self::Live(live) => {
                let order = live.order(table)?;
                (Box::new(live.rows(table, asked.range)?), order == Order::Key)
            }
        };
        let kept = asked.sample.as_ref().filter(|(share, _)| self.sample(&table.name) != Some(*share));
        let rows: Box<dyn RowCursor> = match kept {
            Some((share, snapshot)) => Box::new(Sampled { rows, share: *share, snapshot: Arc::clone(snapshot) }),
            None => rows,
        };
        if map.is_none() && ordered {
            return Ok(rows);
        }
        sorted(rows, &table.name, asked.spec.keyless(), map, run)
    }
}

/// Which rows of a table are wanted, and how.
pub struct Asked<'a> {
    pub which: Which,
    pub range: &'a KeyRange,
    pub spec: &'a RowSpec,
    /// Equal hashes are equal rows.
    pub skips: bool,
    /// The share of rows that is compared, and a snapshot that knows which those are.
    pub sample: Option<(f64, Arc<Snapshot>)>,
}

/// The rows of a table that a side may not have, in the order in which they are compared. Sorting spools in the run's
/// scratch folder.
pub fn cursor(side: Option<(&Side, &Table)>, asked: &Asked<'_>, run: &Run) -> Result<Box<dyn RowCursor>> {
    match side {
        Some((side, table)) => side.cursor(table, asked, run),
        None => Ok(Box::new(NoRows)),
    }
}

/// Sorts rows, under other keys where the spec says so. Files of the sorter are in the run's scratch folder until it is
/// dropped.
fn sorted(
    mut rows: Box<dyn RowCursor>,
    name: &TableName,
    keyless: bool,
    map: Option<(&RowSpec, Which)>,
    run: &Run,
) -> Result<Box<dyn RowCursor>> {
    let mut sorter = Sorter::new(&run.scratch, SORT_MEMORY, name, keyless);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut seen = 0_u64;
    while let Some(row) = rows.peek()? {
        match map {
            Some((spec, which)) => {
                key.clear();
                value.clear();
                spec.rekey(which, row, &mut key, &mut value)?;
                sorter.push(RowRef { key: &key, value: &value })?;
            }
            None => sorter.push(row)?,
        }
        rows.advance()?;
        seen += 1;
        if seen.is_multiple_of(4096) {
            run.check()?;
        }
    }
    Ok(Box::new(sorter.finish()?))
}

/// A cursor whose subtrees are kept to itself: equal bytes do not mean equal rows where columns are laid out otherwise.
struct RowByRow<C>(C);

impl<C: RowCursor> RowCursor for RowByRow<C> {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        self.0.peek()
    }

    fn advance(&mut self) -> Result<()> {
        self.0.advance()
    }

    fn subtrees(&mut self) -> Result<&[Subtree]> {
        Ok(&[])
    }
}

/// The rows that a sample keeps.
struct Sampled {
    rows: Box<dyn RowCursor>,
    share: f64,
    snapshot: Arc<Snapshot>,
}

impl RowCursor for Sampled {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        while let Some(row) = self.rows.peek()? {
            if self.snapshot.keeps(row.key, self.share) {
                break;
            }
            self.rows.advance()?;
        }
        self.rows.peek()
    }

    fn advance(&mut self) -> Result<()> {
        self.peek()?;
        self.rows.advance()
    }
}
