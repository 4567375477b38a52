//! Two ordered streams of rows walked side by side: what is equal is skipped, what differs is told.

use std::cmp::Ordering;

use super::{
    bits::Bits,
    bson,
    fields::{Fields, ORDER},
    pair::{RowSpec, Side, Which},
    values::Verdict,
};
use crate::{
    error::{Error, Result},
    snapshot::{ChangeKind, Layout, RowCursor, RowRef, TableName},
};

/// Rows between two calls of [`Watch::seen`].
const PACE: u64 = 4096;

/// One change as it is found.
#[derive(Debug, Clone, Copy)]
pub struct ChangeRef<'a> {
    pub kind: ChangeKind,
    /// The same on both sides.
    pub key: &'a [u8],
    /// Values as each side's layout writes them. In a table without a key both may be there, with their counts.
    pub before: Option<&'a [u8]>,
    pub after: Option<&'a [u8]>,
    /// Of a changed row: the columns, or fields of documents, that changed.
    pub columns: &'a Bits,
}

/// Takes the changes of one table, in the order of their keys.
pub trait ChangeSink {
    fn change(&mut self, change: &ChangeRef<'_>) -> Result<()>;

    /// A field of documents got the next place among the columns.
    fn field(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }
}

/// Is called every few thousand rows: to tell the progress, to slow down, and to stop with an error.
pub trait Watch {
    fn seen(&mut self, tally: &Tally) -> Result<()>;
}

impl<F: FnMut(&Tally) -> Result<()>> Watch for F {
    fn seen(&mut self, tally: &Tally) -> Result<()> {
        self(tally)
    }
}

/// What was found in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Changed rows that the options hide.
    pub hidden: u64,
    /// Of the changed ones, those in which nothing but the order of fields differs.
    pub order: u64,
    /// Rows of both sides together, those skipped included.
    pub rows: u64,
    /// Of these, not read because their hashes are equal.
    pub rows_skipped: u64,
    pub leaves_skipped: u64,
    /// Changed rows by column or field.
    pub columns: Vec<u64>,
    /// The fields of documents, by their places.
    pub fields: Vec<String>,
}

/// A side that has no rows.
pub struct NoRows;

impl RowCursor for NoRows {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        Ok(None)
    }

    fn advance(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Compares the rows of one table. Where the spec asks for it, the rows of both cursors must have gone through
/// [`RowSpec::rekey`] and be sorted. Errors of the cursors, the sink and the watch end it.
pub fn compare_rows(
    before: &mut dyn RowCursor,
    after: &mut dyn RowCursor,
    spec: &RowSpec,
    out: &mut dyn ChangeSink,
    watch: &mut dyn Watch,
) -> Result<Tally> {
    let mut merge = Merge::of(spec);
    let mut due = PACE;
    loop {
        // Equal bytes are equal rows only where both sides are written alike.
        let skipped = if spec.same_values { skip_common(before, after, &mut merge.tally)? } else { None };
        let Some(rows) = (match skipped {
            Some(rows) => Some(rows),
            None => merge.step(before, after, out)?,
        }) else {
            break;
        };
        merge.tally.rows += rows;
        if merge.tally.rows >= due {
            due = merge.tally.rows + PACE;
            watch.seen(&merge.tally)?;
        }
    }
    watch.seen(&merge.tally)?;
    Ok(merge.tally)
}

/// Goes past the largest subtree that both stand before. Returns the rows of both sides together.
fn skip_common(before: &mut dyn RowCursor, after: &mut dyn RowCursor, tally: &mut Tally) -> Result<Option<u64>> {
    let ours = before.subtrees()?;
    if ours.is_empty() {
        return Ok(None);
    }
    let theirs = after.subtrees()?;
    let common =
        ours.iter().enumerate().rev().find_map(|(at, tree)| Some((at, theirs.iter().position(|other| other.id == tree.id)?, *tree)));
    let Some((at, other, tree)) = common.filter(|(.., tree)| tree.rows > 0) else { return Ok(None) };
    before.skip(at)?;
    after.skip(other)?;
    tally.unchanged += tree.rows;
    tally.rows_skipped += 2 * tree.rows;
    tally.leaves_skipped += 2 * tree.leaves;
    Ok(Some(2 * tree.rows))
}

struct Merge<'s> {
    spec: &'s RowSpec,
    tally: Tally,
    /// Columns of the row in hand that changed.
    changed: Bits,
    none: Bits,
    fields: Fields,
    /// Where the cells of the row in hand begin and end, on each side.
    cells: [Vec<Option<(usize, usize)>>; 2],
}

impl<'s> Merge<'s> {
    fn of(spec: &'s RowSpec) -> Self {
        let name = spec.after.as_ref().or(spec.before.as_ref()).map(|side| side.table.name.clone());
        let name = name.unwrap_or_else(|| TableName::new(None, ""));
        let columns = if spec.documents { Vec::new() } else { vec![0; spec.columns.len()] };
        Self {
            spec,
            tally: Tally { columns, ..Tally::default() },
            changed: Bits::default(),
            none: Bits::default(),
            fields: Fields::new(&name, &spec.ignored),
            cells: Default::default(),
        }
    }

    /// Goes past the next row of one side, or of both where their keys are equal. Returns how many, as the
    /// database counts them; `None` at the end.
    #[inline]
    fn step(&mut self, before: &mut dyn RowCursor, after: &mut dyn RowCursor, out: &mut dyn ChangeSink) -> Result<Option<u64>> {
        match (before.peek()?, after.peek()?) {
            (Some(one), Some(other)) if one.key == other.key => {
                let count = self.pair(one, other, out)?;
                before.advance()?;
                after.advance()?;
                Ok(Some(count))
            }
            (Some(row), other) if other.is_none_or(|other| row.key < other.key) => {
                let count = self.alone(row, Which::Before, out)?;
                before.advance()?;
                Ok(Some(count))
            }
            (_, Some(row)) => {
                let count = self.alone(row, Which::After, out)?;
                after.advance()?;
                Ok(Some(count))
            }
            _ => Ok(None),
        }
    }

    /// A row that only one side has. Returns how often.
    fn alone(&mut self, row: RowRef<'_>, which: Which, out: &mut dyn ChangeSink) -> Result<u64> {
        let side = if which == Which::Before { &self.spec.before } else { &self.spec.after };
        if let Some(side) = side.as_ref().filter(|_| self.spec.documents) {
            let document = side.layout.values(row.value)?.next()?;
            self.meet_fields(document.unwrap_or_default(), out)?;
        }
        let count = self.count(side, row.value)?;
        let (kind, before, after) = match which {
            Which::Before => (ChangeKind::Removed, Some(row.value), None),
            Which::After => (ChangeKind::Added, None, Some(row.value)),
        };
        *(if which == Which::Before { &mut self.tally.removed } else { &mut self.tally.added }) += count;
        out.change(&ChangeRef { kind, key: row.key, before, after, columns: &self.none })?;
        Ok(count)
    }

    fn count(&self, side: &Option<Side>, value: &[u8]) -> Result<u64> {
        match side {
            Some(side) if self.spec.multiset => Ok(side.layout.count(value)?.0),
            _ => Ok(1),
        }
    }

    /// Rows of both sides under one key. Returns how many.
    #[inline]
    fn pair(&mut self, one: RowRef<'_>, other: RowRef<'_>, out: &mut dyn ChangeSink) -> Result<u64> {
        if self.spec.same_values && one.value == other.value {
            let count = self.count(&self.spec.before, one.value)?;
            self.tally.unchanged += count;
            return Ok(2 * count);
        }
        if self.spec.multiset {
            return self.counts(one, other, out);
        }
        let verdict = self.columns(one.value, other.value, out)?;
        match verdict {
            Verdict::Equal => self.tally.unchanged += 1,
            Verdict::Hidden => self.tally.hidden += 1,
            Verdict::Order | Verdict::Different => {
                self.tally.changed += 1;
                self.tally.order += u64::from(verdict == Verdict::Order);
                for at in self.changed.iter() {
                    if self.tally.columns.len() <= at {
                        self.tally.columns.resize(at + 1, 0);
                    }
                    self.tally.columns[at] += 1;
                }
                let (before, after) = (Some(one.value), Some(other.value));
                out.change(&ChangeRef { kind: ChangeKind::Changed, key: one.key, before, after, columns: &self.changed })?;
            }
        }
        Ok(2)
    }

    /// The same row, perhaps not as often.
    fn counts(&mut self, one: RowRef<'_>, other: RowRef<'_>, out: &mut dyn ChangeSink) -> Result<u64> {
        let (before, after) = (self.count(&self.spec.before, one.value)?, self.count(&self.spec.after, other.value)?);
        self.tally.unchanged += before.min(after);
        let kind = match after.cmp(&before) {
            Ordering::Equal => return Ok(before + after),
            Ordering::Greater => ChangeKind::Added,
            Ordering::Less => ChangeKind::Removed,
        };
        self.tally.added += after.saturating_sub(before);
        self.tally.removed += before.saturating_sub(after);
        out.change(&ChangeRef { kind, key: one.key, before: Some(one.value), after: Some(other.value), columns: &self.none })?;
        Ok(before + after)
    }

    /// Compares two values column by column; `changed` then holds those that changed.
    fn columns(&mut self, before: &[u8], after: &[u8], out: &mut dyn ChangeSink) -> Result<Verdict> {
        self.changed.clear();
        let (Some(ours), Some(theirs)) = (&self.spec.before, &self.spec.after) else {
            return Err(Error::internal("a table that only one side has was compared with itself"));
        };
        let (before, after) = (ours.layout.count(before)?.1, theirs.layout.count(after)?.1);
        if self.spec.documents {
            let (one, other) = (ours.layout.values(before)?.next()?, theirs.layout.values(after)?.next()?);
            return self.documents(one.unwrap_or_default(), other.unwrap_or_default(), out);
        }
        read_cells(&ours.layout, before, &mut self.cells[0])?;
        read_cells(&theirs.layout, after, &mut self.cells[1])?;
        let mut worst = Verdict::Equal;
        for (one, other, at) in &self.spec.compared {
            let column = &self.spec.columns[*at];
            let cell = |side: usize, value, bytes| -> Option<&[u8]> {
                let (from, to) = self.cells[side][value]?;
                <[u8]>::get(bytes, from..to)
            };
            let (one, other) = (cell(0, *one, before), cell(1, *other, after));
            let verdict = column.comparison.map_or(Verdict::Equal, |comparison| comparison.cells(&self.spec.rules, one, other));
            let verdict = if column.ignored { verdict.min(Verdict::Hidden) } else { verdict };
            if verdict.counts() {
                self.changed.set(*at);
            }
            worst = worst.max(verdict);
        }
        Ok(worst)
    }

    fn documents(&mut self, before: &[u8], after: &[u8], out: &mut dyn ChangeSink) -> Result<Verdict> {
        let (fields, changed) = (&mut self.fields, &mut self.changed);
        let mut worst = Verdict::Equal;
        let moved = bson::compare(&self.spec.rules, before, after, |name, verdict| {
            let place = fields.place(name);
            let verdict = if place.ignored { verdict.min(Verdict::Hidden) } else { verdict };
            if verdict.counts() {
                changed.set(place.at);
            }
            worst = worst.max(verdict);
        })?;
        if moved {
            let place = fields.place(ORDER.as_bytes());
            worst = worst.max(if place.ignored { Verdict::Hidden } else { Verdict::Order });
            if !place.ignored {
                changed.set(place.at);
            }
        }
        if worst.counts() {
            self.meet_fields(before, out)?;
            self.meet_fields(after, out)?;
        }
        Ok(worst)
    }

    /// Every field of a document that is told gets its place, so that it is shown whole.
    fn meet_fields(&mut self, document: &[u8], out: &mut dyn ChangeSink) -> Result<()> {
        for field in bson::fields_of(document)? {
            self.fields.place(field.name);
        }
        for name in &self.fields.names()[self.tally.fields.len()..] {
            self.tally.fields.push(name.clone());
            out.field(name)?;
        }
        Ok(())
    }
}

/// Where each cell of a value stands in it.
fn read_cells(layout: &Layout, value: &[u8], cells: &mut Vec<Option<(usize, usize)>>) -> Result<()> {
    cells.clear();
    let mut values = layout.values(value)?;
    for _ in layout.value_columns() {
        let cell = values.next()?.map(|cell| {
            let from = cell.as_ptr().addr() - value.as_ptr().addr();
            (from, from + cell.len())
        });
        cells.push(cell);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diff::tests::sample::{Cells, Cursor, column, store, table},
        domain::diff::DiffOptions,
        snapshot::{Class, Table},
    };

    /// Keeps the kinds of the changes, and fails at the change with this number.
    struct Kinds(Vec<ChangeKind>, usize);

    impl ChangeSink for Kinds {
        fn change(&mut self, change: &ChangeRef<'_>) -> Result<()> {
            self.0.push(change.kind);
            if self.0.len() == self.1 { Err(Error::cancelled()) } else { Ok(()) }
        }
    }

    fn users() -> Table {
        table(vec![column("id", Class::Integer), column("v", Class::Text)], &["id"])
    }

    fn rows(ids: impl Iterator<Item = u64>) -> Vec<Cells> {
        ids.map(|id| vec![Some(id.to_string().into_bytes()), None]).collect()
    }

    #[test]
    fn a_side_without_rows_has_none_and_stays_so() {
        NoRows.advance().unwrap();
        assert!(NoRows.peek().unwrap().is_none() && NoRows.subtrees().unwrap().is_empty());
        let (users, mut kinds) = (users(), Kinds(Vec::new(), 0));
        let spec = RowSpec::of(Some(&users), None, &DiffOptions::default()).unwrap();
        let mut cursor = Cursor::new(&store(&users, &rows(0..3)), false, 0);
        let tally = compare_rows(&mut cursor, &mut NoRows, &spec, &mut kinds, &mut |_: &Tally| Ok(())).unwrap();
        assert_eq!((tally.removed, kinds.0), (3, vec![ChangeKind::Removed; 3]));
        kinds = Kinds(Vec::new(), 0);
        kinds.field("a name is not kept by a sink that does not ask for it").unwrap();
    }

    #[test]
    fn the_watch_is_called_on_the_way_and_stops_the_walk() {
        let users = users();
        let spec = RowSpec::of(Some(&users), Some(&users), &DiffOptions::default()).unwrap();
        let (before, after) = (store(&users, &rows(0..6000)), store(&users, &rows(6000..12_000)));
        let mut seen = Vec::new();
        let mut walk = |stop: u64, fail: usize| {
            let (mut one, mut other) = (Cursor::new(&before, false, 0), Cursor::new(&after, false, 0));
            compare_rows(&mut one, &mut other, &spec, &mut Kinds(Vec::new(), fail), &mut |tally: &Tally| {
                seen.push(tally.rows);
                if tally.rows >= stop { Err(Error::cancelled()) } else { Ok(()) }
            })
        };
        assert_eq!(walk(u64::MAX, 0).unwrap().rows, 12_000);
        assert!(walk(5000, 0).is_err() && walk(u64::MAX, 7).is_err());
        assert_eq!(seen[..3], [4096, 8192, 12_000]);
    }

    #[test]
    fn a_spec_of_one_side_compares_no_pairs() {
        let users = users();
        let spec = RowSpec::of(Some(&users), None, &DiffOptions::default()).unwrap();
        let (before, after) = (store(&users, &rows(0..1)), store(&users, &rows(0..1)));
        let (mut one, mut other) = (Cursor::new(&before, false, 0), Cursor::new(&after, false, 1));
        let refused = compare_rows(&mut one, &mut other, &spec, &mut Kinds(Vec::new(), 0), &mut |_: &Tally| Ok(()));
        assert_eq!(refused.unwrap_err().kind, crate::error::Kind::Internal);
    }
}
