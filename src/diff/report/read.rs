//! Reads a report: pages of changes that a filter takes, single changes, and all of them in order.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use super::{
    KIND,
    entry::{Entry, entries},
    heading::Rows,
    index::Index,
    search::Needle,
    select::{Hits, Selection, Taken},
    show,
    view::change_view,
};
use crate::{
    diff::{bits, bson::fields_of, pair::Which},
    domain::diff::{ChangeFilter, ChangePage, ChangeView, ColumnDiff, DiffSummary, ValueView},
    error::{Error, Result},
    snapshot::{
        ReadAt, RowChange, Table, Unlock,
        container::{BlockRef, Reader},
    },
};

/// How long a text search goes on before it gives what it has.
const SEARCH: Duration = Duration::from_millis(300);

/// A report; many threads may share it.
#[derive(Clone)]
pub struct Report {
    blocks: Reader,
    index: Arc<RwLock<Index>>,
}

/// A change with what a patch says beside its rows.
pub(in crate::diff) struct PatchRow {
    pub change: RowChange,
    /// The columns that changed.
    pub columns: Vec<String>,
    pub documents: bool,
    pub multiset: bool,
}

/// One table of a report as it was when it was asked for.
struct Plan {
    rows: Rows,
    columns: Vec<ColumnDiff>,
    fields: Vec<String>,
    selection: Selection,
    blocks: Vec<PlannedBlock>,
}

#[derive(Clone, Copy)]
struct PlannedBlock {
    block: BlockRef,
    first: u64,
    changes: u64,
    hits: Option<Hits>,
}

impl Report {
    pub(super) fn new(blocks: Reader, index: Arc<RwLock<Index>>) -> Self {
        Self { blocks, index }
    }

    /// Opens a finished report. Errors when it is cut, altered, or encrypted under a key that `keys` does not give.
    pub fn open(file: Arc<dyn ReadAt>, keys: Option<&dyn Unlock>) -> Result<Self> {
        let (blocks, footer) = Reader::open(file, KIND, keys)?;
        Ok(Self::new(blocks, Arc::new(RwLock::new(Index::read(&footer)?))))
    }

    /// `None` while the report is still written.
    pub fn summary(&self) -> Option<DiffSummary> {
        self.index().summary.clone()
    }

    /// The tables in the order in which they were compared.
    pub fn table_names(&self) -> Vec<String> {
        self.index().tables.iter().map(|table| table.heading.name.clone()).collect()
    }

    /// The table as it is on each side: its stored columns are those of the rows in the report.
    /// Errors when the report has no such table.
    pub fn tables(&self, table: &str) -> Result<(Option<Table>, Option<Table>)> {
        let index = self.index();
        let heading = &index.table(table)?.heading;
        Ok((heading.table(Which::Before).cloned(), heading.table(Which::After).cloned()))
    }

    /// A page of the changes that the filter takes, from page 1, of the first table where it names none. A text search
    /// ends with its time: `next` then goes into `from`, which replaces `page`.
    /// Errors when the report has no such table.
    pub fn page(&self, filter: &ChangeFilter, page: u32, limit: u32, from: Option<&str>) -> Result<ChangePage> {
        self.page_within(filter, page, limit, from, SEARCH)
    }

    pub(in crate::diff) fn page_within(
        &self,
        filter: &ChangeFilter,
        page: u32,
        limit: u32,
        from: Option<&str>,
        time: Duration,
    ) -> Result<ChangePage> {
        let mut plan = self.plan(filter)?;
        let skip = u64::from(page.saturating_sub(1)) * u64::from(limit);
        if let Some(needle) = filter.q.as_deref().and_then(Needle::of) {
            return self.search(plan, &needle, skip, limit, from, time);
        }
        let mut total = Hits::default();
        let mut changes = Vec::new();
        for planned in &mut plan.blocks {
            let known = planned.hits;
            let reaches = |hits: Hits| hits.taken > 0 && total.taken + hits.taken > skip;
            let wanted = changes.len() < limit as usize && known.is_none_or(reaches);
            let hits = match known {
                Some(hits) if !wanted => hits,
                _ => {
                    let block = self.blocks.read(planned.block)?;
                    let mut hits = Hits::default();
                    for (entry, at) in entries(&block).zip(planned.first..) {
                        let entry = entry?;
                        match plan.selection.entry(&entry) {
                            Taken::No => continue,
                            Taken::Ignored => hits.ignored += 1,
                            Taken::Yes => {
                                if total.taken + hits.taken >= skip && changes.len() < limit as usize {
                                    changes.push(change_view(&plan.rows, &plan.columns, at, &entry)?);
                                }
                                hits.taken += 1;
                            }
                        }
                    }
                    hits
                }
            };
            total = Hits { taken: total.taken + hits.taken, ignored: total.ignored + hits.ignored };
        }
        let (total, ignored) = (Some(total.taken), total.ignored);
        Ok(ChangePage { table: plan.rows.heading.name.clone(), columns: plan.columns, changes, total, ignored, next: None })
    }

    fn search(&self, plan: Plan, needle: &Needle, skip: u64, limit: u32, from: Option<&str>, time: Duration) -> Result<ChangePage> {
        let begun = Instant::now();
        let start = match from {
            Some(token) => token.parse().map_err(|_| Error::validation("the place to go on from is none that was given"))?,
            None => 0_u64,
        };
        let skip = if from.is_some() { 0 } else { skip };
        let mut found = Hits::default();
        let mut changes: Vec<ChangeView> = Vec::new();
        let mut next = None;
        'blocks: for planned in plan.blocks.iter().filter(|planned| planned.first + planned.changes > start) {
            if planned.hits.is_some_and(|hits| hits == Hits::default()) {
                continue;
            }
            let block = self.blocks.read(planned.block)?;
            for (entry, at) in entries(&block).zip(planned.first..) {
                let entry = entry?;
                let taken = plan.selection.entry(&entry);
                if at < start || taken == Taken::No || !needle.meets(&plan.rows, &plan.fields, &entry)? {
                    continue;
                }
                if taken == Taken::Ignored {
                    found.ignored += 1;
                    continue;
                }
                if changes.len() == limit as usize {
                    next = Some(at.to_string());
                    break 'blocks;
                }
                if found.taken >= skip {
                    changes.push(change_view(&plan.rows, &plan.columns, at, &entry)?);
                }
                found.taken += 1;
            }
            let after = planned.first + planned.changes;
            if begun.elapsed() >= time && plan.blocks.last().is_some_and(|last| last.first + last.changes > after) {
                next = Some(after.to_string());
                break;
            }
        }
        let total = (from.is_none() && next.is_none()).then_some(found.taken);
        Ok(ChangePage { table: plan.rows.heading.name.clone(), columns: plan.columns, changes, total, ignored: found.ignored, next })
    }

    /// The change in the place `at`. Errors when the table has no such change.
    pub fn change(&self, table: &str, at: u64) -> Result<RowChange> {
        let plan = self.plan(&of_table(table))?;
        self.find(&plan, at, |entry| plan.rows.change(entry))
    }

    /// The change in the place `at` as a page shows it.
    pub fn view(&self, table: &str, at: u64) -> Result<ChangeView> {
        let plan = self.plan(&of_table(table))?;
        self.find(&plan, at, |entry| change_view(&plan.rows, &plan.columns, at, entry))
    }

    /// A whole value. `None` where the side has no such row or column. Errors when there is no such change.
    pub fn value(&self, table: &str, at: u64, column: &str, which: Which) -> Result<Option<ValueView>> {
        let plan = self.plan(&of_table(table))?;
        let place = plan.columns.iter().position(|other| other.name == column);
        let place = place.ok_or_else(|| Error::not_found(format!("the column '{column}' of {table}")))?;
        self.find(&plan, at, |entry| {
            let Some(row) = plan.rows.row(entry, which)? else { return Ok(None) };
            if plan.rows.heading.documents {
                let document = row.cells.first().and_then(|cell| cell.as_deref()).unwrap_or_default();
                let fields = fields_of(document)?;
                let field = fields.iter().find(|field| field.name == column.as_bytes());
                return Ok(field.map(|field| show::view(show::field_text(field.value), field.value.bytes.len(), true)));
            }
            let side = plan.rows.side(which).zip(plan.rows.heading.place(place, which));
            Ok(side.map(|(side, place)| show::cell(side.classes[place], row.cells[place].as_deref(), true)))
        })
    }

    fn find<T>(&self, plan: &Plan, at: u64, read: impl FnOnce(&Entry<'_>) -> Result<T>) -> Result<T> {
        let missing = || Error::not_found(format!("change {at} of {}", plan.rows.heading.name));
        let block = plan.blocks.partition_point(|block| block.first + block.changes <= at);
        let planned = plan.blocks.get(block).ok_or_else(missing)?;
        let plain = self.blocks.read(planned.block)?;
        let entry = entries(&plain).nth((at - planned.first) as usize).ok_or_else(missing)??;
        read(&entry)
    }

    /// Every change of a table that the filter takes, its text included, in order, each with its place; reads one block
    /// at a time. `table` counts, not the filter's. Errors when the report has no such table.
    pub fn changes(&self, table: &str, filter: &ChangeFilter) -> Result<impl Iterator<Item = Result<(u64, RowChange)>> + Send + use<>> {
        self.walk(table, filter, |plan, at, entry| Ok((at, plan.rows.change(entry)?)))
    }

    /// The same with what a patch says beside the rows.
    pub(in crate::diff) fn patch_rows(
        &self,
        table: &str,
        filter: &ChangeFilter,
    ) -> Result<impl Iterator<Item = Result<PatchRow>> + Send + use<>> {
        self.walk(table, filter, |plan, _, entry| {
            let (documents, multiset) = (plan.rows.heading.documents, plan.rows.heading.multiset);
            let columns = bits::iter(entry.columns).filter_map(|at| Some(plan.columns.get(at)?.name.clone())).collect();
            Ok(PatchRow { change: plan.rows.change(entry)?, columns, documents, multiset })
        })
    }

    fn walk<T: Send, F: Fn(&Plan, u64, &Entry<'_>) -> Result<T> + Send>(
        &self,
        table: &str,
        filter: &ChangeFilter,
        read: F,
    ) -> Result<impl Iterator<Item = Result<T>> + Send + use<T, F>> {
        let plan = self.plan(&ChangeFilter { table: Some(table.to_owned()), ..filter.clone() })?;
        let needle = filter.q.as_deref().and_then(Needle::of);
        let reader = self.blocks.clone();
        let blocks: Vec<_> = plan.blocks.iter().copied().filter(|planned| planned.hits.is_none_or(|hits| hits.taken > 0)).collect();
        let read_block = move |planned: PlannedBlock| -> Result<Vec<T>> {
            let block = reader.read(planned.block)?;
            let mut taken = Vec::new();
            for (entry, at) in entries(&block).zip(planned.first..) {
                let entry = entry?;
                let meets = |needle: &Needle| needle.meets(&plan.rows, &plan.fields, &entry);
                if plan.selection.entry(&entry) == Taken::Yes && needle.as_ref().map_or(Ok(true), meets)? {
                    taken.push(read(&plan, at, &entry)?);
                }
            }
            Ok(taken)
        };
        Ok(blocks.into_iter().flat_map(move |planned| match read_block(planned) {
            Ok(taken) => taken.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    fn plan(&self, filter: &ChangeFilter) -> Result<Plan> {
        let index = self.index();
        let table = match &filter.table {
            Some(name) => index.table(name)?,
            None => {
                let changed = index.tables.iter().find(|table| table.changes > 0).or(index.tables.first());
                changed.ok_or_else(|| Error::not_found("a table in this comparison"))?
            }
        };
        let columns = table.heading.columns(&table.fields, &table.changed);
        let selection = Selection::of(filter, &columns);
        let patterns = selection.patterns(&table.patterns);
        let blocks = table.blocks.iter().map(|note| PlannedBlock {
            block: note.block,
            first: note.first,
            changes: note.changes(),
            hits: selection.hits(note, &patterns),
        });
        Ok(Plan { rows: table.heading.rows()?, blocks: blocks.collect(), fields: table.fields.clone(), columns, selection })
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_table(table: &str) -> ChangeFilter {
    ChangeFilter { table: Some(table.to_owned()), ..ChangeFilter::default() }
}
