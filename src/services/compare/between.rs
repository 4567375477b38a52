//! Two open sides compared: table by table, into a report. Knows no catalogue, so that the command line can do it too.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    sides::{Asked, Side, cursor},
    telling::Telling,
};
use crate::{
    diff::{self, ReportWriter, RowSpec, TablePair, Tally, Which, compare_rows},
    domain::{
        diff::{DiffOptions, DiffSummary, DiffTier, Provenance, SchemaChange, TableDiff},
        run::Run,
    },
    engines::{KeyRange, insert_order},
    error::{Error, Result},
    snapshot::{Schema, Snapshot, Table, TableName},
};

/// More of its leaves than this share touched: the whole table is read at once.
const MOSTLY_TOUCHED: f64 = 0.5;

/// Between two summaries that are told.
const EVERY: Duration = Duration::from_secs(1);

/// What is compared.
pub struct Sides {
    pub before: Side,
    pub after: Side,
    pub before_label: String,
    pub after_label: String,
}

/// How a table was compared.
struct Compared {
    tally: Tally,
    /// The server vouched for rows that were not read.
    fast: bool,
    /// Of the snapshot, not read because the server vouched for them.
    leaves_skipped: u64,
}

/// Compares everything that the options choose. `told` gets what was found so far after each table and now and then within
/// one. The tables of the summary are in an order in which rows can be inserted.
pub fn compare(
    sides: &Sides,
    options: &DiffOptions,
    writer: &mut ReportWriter,
    telling: &Telling,
    run: &Run,
    told: &mut dyn FnMut(&DiffSummary) -> Result<()>,
) -> Result<DiffSummary> {
    let begun = Instant::now();
    run.check()?;
    let (before, after) = (&sides.before, &sides.after);
    let pairs = pairs(before, after, options)?;
    telling.tables(pairs.len() as u64);
    let mut summary = DiffSummary {
        equal: false,
        tables: Vec::new(),
        schema: schema_changes(before, after, &pairs, options),
        provenance: Provenance {
            before: before.facts(&sides.before_label),
            after: after.facts(&sides.after_label),
            tier: "full".into(),
            ..Provenance::default()
        },
    };
    note_hashes(before, after, &mut summary.provenance);
    told(&summary)?;
    let mut last_told = Instant::now();
    let mut fast = 0;
    for pair in &pairs {
        run.check()?;
        let (one, other) = (pair.before.map(|table| (before, table)), pair.after.map(|table| (after, table)));
        let spec = RowSpec::of(pair.before, pair.after, options)?;
        let name = pair.name().map(ToString::to_string).unwrap_or_default();
        telling.table(&name, "comparing");
        writer.begin(&spec)?;
        let mut work = Work { options, spec: &spec, writer, telling, run, summary: &mut summary, told, last_told: &mut last_told };
        let compared = work.table(one, other)?;
        let mut table = writer.end(&spec, &compared.tally)?;
        finish_table(&mut table, pair, sides);
        add_up(&mut summary.provenance, sides, pair, &compared);
        fast += u64::from(compared.fast);
        telling.done(compared.tally.rows);
        summary.tables.push(table);
        if last_told.elapsed() >= EVERY {
            told(&summary)?;
            last_told = Instant::now();
        }
    }
    if fast > 0 {
        summary.provenance.tier = "fast".into();
    }
    // Counters follow the rows: they are told, and make no difference by themselves.
    summary.equal = summary.schema.iter().all(diff::is_counter) && summary.tables.iter().all(TableDiff::is_equal);
    summary.provenance.duration_ms = begun.elapsed().as_millis() as u64;
    Ok(summary)
}

/// The tables of both sides that the options choose, those that others point to first. Tables that were likely renamed are
/// told only between snapshots, whose rows can be looked at here and there.
fn pairs<'a>(before: &'a Side, after: &'a Side, options: &DiffOptions) -> Result<Vec<TablePair<'a>>> {
    let mut alike = |one: &Table, other: &Table| match (before, after) {
        (Side::Snapshot(before), Side::Snapshot(after)) => diff::likeness(before, &one.name, after, &other.name),
        _ => Ok(0.0),
    };
    let mut pairs = diff::pair_tables(before.schema(), after.schema(), &options.tables, Some(&mut alike))?;
    let order: Vec<TableName> = insert_order(&both(before.schema(), after.schema()));
    pairs.sort_by_key(|pair| pair.name().and_then(|name| order.iter().position(|other| other == name)));
    Ok(pairs)
}

/// The changes of the schema that the options choose.
fn schema_changes(before: &Side, after: &Side, pairs: &[TablePair<'_>], options: &DiffOptions) -> Vec<SchemaChange> {
    let renamed = pairs.iter().filter(|pair| pair.renamed).filter_map(|pair| Some((pair.before?.name.clone(), pair.after?.name.clone())));
    let mut changes = diff::compare_schema_renamed(before.schema(), after.schema(), &renamed.collect::<Vec<_>>());
    if !options.tables.is_empty() {
        let chosen: HashSet<_> =
            pairs.iter().flat_map(|pair| [pair.before, pair.after]).flatten().map(|table| table.name.to_string()).collect();
        changes.retain(|change| change.table.as_ref().is_some_and(|table| chosen.contains(table)));
    }
    changes
}

/// The schema after, and what only the one before has.
fn both(before: &Schema, after: &Schema) -> Schema {
    let mut schema = after.clone();
    let names: HashSet<_> = after.tables.iter().map(|table| &table.name).collect();
    schema.tables.extend(before.tables.iter().filter(|table| !names.contains(&table.name)).cloned());
    let known: HashSet<_> = after.tables.iter().map(|table| table.name.clone()).collect();
    let gone = before.objects.iter().filter(|object| object.table.as_ref().is_some_and(|table| !known.contains(table)));
    schema.objects.extend(gone.cloned());
    schema
}

/// Says whether hashes tell what is equal.
fn note_hashes(before: &Side, after: &Side, provenance: &mut Provenance) {
    let (Side::Snapshot(one), Side::Snapshot(other)) = (before, after) else { return };
    if one.hash_key_id() == other.hash_key_id() {
        provenance.tier = "hash".into();
    } else {
        provenance.notes.push("the backups are encrypted under different keys: their hashes cannot be compared, every row was read".into());
    }
}

/// Errors when both sides are samples that hold different rows, because they were drawn under different keys.
fn check_samples(before: Option<(&Side, &Table)>, after: Option<(&Side, &Table)>) -> Result<()> {
    let (Some((Side::Snapshot(one), ours)), Some((Side::Snapshot(other), theirs))) = (before, after) else { return Ok(()) };
    let sampled = |snapshot: &Snapshot, table: &Table| snapshot.entry(&table.name).is_some_and(|entry| entry.sample.is_some());
    if !sampled(one, ours) || !sampled(other, theirs) || one.hash_key_id() == other.hash_key_id() {
        return Ok(());
    }
    Err(Error::validation(format!("{}: both sides are samples, drawn under different keys: they hold different rows", ours.name))
        .hint("make both snapshots in one instance or one folder, or leave the table out by choosing others"))
}

/// What of a table's summary its rows do not tell.
fn finish_table(table: &mut TableDiff, pair: &TablePair<'_>, sides: &Sides) {
    if pair.renamed {
        table.renamed_from = pair.before.map(|before| before.name.to_string());
    }
    let sample = |side: &Side, table: Option<&Table>| table.and_then(|table| side.sample(&table.name));
    if let Some(share) = lesser(sample(&sides.before, pair.before), sample(&sides.after, pair.after)) {
        table.sampled = Some(share);
        table.notes.push(format!("a side holds only a sample: {:.2} % of the rows were compared", share * 100.0));
    }
}

fn lesser(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn add_up(provenance: &mut Provenance, sides: &Sides, pair: &TablePair<'_>, compared: &Compared) {
    let leaves = |side: &Side, table: Option<&Table>| table.map_or(0, |table| side.leaves(&table.name));
    provenance.leaves += leaves(&sides.before, pair.before) + leaves(&sides.after, pair.after);
    provenance.leaves_skipped += compared.tally.leaves_skipped + compared.leaves_skipped;
    provenance.rows += compared.tally.rows;
    provenance.rows_skipped += compared.tally.rows_skipped;
    // Of a live side it is known only now.
    let rows_of_live = |side: &Side, other: Option<u64>| match side {
        Side::Live(_) => compared.tally.rows.saturating_sub(other.unwrap_or(0)),
        Side::Snapshot(_) => 0,
    };
    let known = |side: &Side, table: Option<&Table>| table.and_then(|table| side.rows(&table.name));
    provenance.before.rows += rows_of_live(&sides.before, known(&sides.after, pair.after));
    provenance.after.rows += rows_of_live(&sides.after, known(&sides.before, pair.before));
}

/// One table's comparison.
struct Work<'a> {
    options: &'a DiffOptions,
    spec: &'a RowSpec,
    writer: &'a mut ReportWriter,
    telling: &'a Telling,
    run: &'a Run,
    summary: &'a mut DiffSummary,
    told: &'a mut dyn FnMut(&DiffSummary) -> Result<()>,
    last_told: &'a mut Instant,
}

impl Work<'_> {
    fn table(&mut self, before: Option<(&Side, &Table)>, after: Option<(&Side, &Table)>) -> Result<Compared> {
        let mut compared = Compared { tally: Tally::default(), fast: false, leaves_skipped: 0 };
        let ranges = match (before, after) {
            (Some((Side::Snapshot(one), table)), Some((Side::Live(_), other))) => self.touched(one, table, after, other, &mut compared)?,
            (Some((Side::Live(_), other)), Some((Side::Snapshot(one), table))) => self.touched(one, table, before, other, &mut compared)?,
            _ => None,
        };
        for range in ranges.unwrap_or_else(|| vec![KeyRange::all()]) {
            self.range(before, after, &range, &mut compared.tally)?;
        }
        Ok(compared)
    }

    fn range(&mut self, before: Option<(&Side, &Table)>, after: Option<(&Side, &Table)>, range: &KeyRange, all: &mut Tally) -> Result<()> {
        check_samples(before, after)?;
        let skips = matches!((before, after), (Some((_, one)), Some((_, other))) if alike(one, other));
        let share =
            lesser(before.and_then(|(side, table)| side.sample(&table.name)), after.and_then(|(side, table)| side.sample(&table.name)));
        let sampler = [before, after].into_iter().flatten().find_map(|(side, table)| match side {
            Side::Snapshot(snapshot) if side.sample(&table.name).is_some() => Some(snapshot.clone()),
            _ => None,
        });
        let sample = share.zip(sampler);
        let ask = |which| Asked { which, range, spec: self.spec, skips, sample: sample.clone() };
        let mut one = cursor(before, &ask(Which::Before), self.run)?;
        let mut other = cursor(after, &ask(Which::After), self.run)?;
        let (spec, telling, run, so_far) = (self.spec, self.telling, self.run, &*all);
        let (summary, told, last_told) = (&mut *self.summary, &mut *self.told, &mut *self.last_told);
        let mut watch = |tally: &Tally| {
            telling.compared(so_far.rows + tally.rows);
            if last_told.elapsed() >= EVERY {
                *last_told = Instant::now();
                let mut until_now = so_far.clone();
                add(&mut until_now, tally.clone());
                summary.tables.push(spec.table_diff(&until_now));
                told(summary)?;
                summary.tables.pop();
            }
            run.check()
        };
        let found = compare_rows(one.as_mut(), other.as_mut(), spec, self.writer, &mut watch)?;
        add(all, found);
        Ok(())
    }

    /// The ranges that have to be read although the server may vouch for others; `None` where all have to be.
    fn touched(
        &mut self,
        snapshot: &Snapshot,
        table: &Table,
        live: Option<(&Side, &Table)>,
        of_live: &Table,
        compared: &mut Compared,
    ) -> Result<Option<Vec<KeyRange>>> {
        let Some((Side::Live(live), _)) = live else { return Ok(None) };
        let marks = &snapshot.facts().marks;
        let name = &table.name;
        let why_not = if self.options.tier == DiffTier::Full {
            Some("the full tier was asked for".to_owned())
        } else if marks.is_empty() {
            Some("this server cannot vouch for unchanged rows".to_owned())
        } else if self.spec.needs_rekey() || self.spec.keyless() || !alike(table, of_live) {
            Some(format!("{name}: its key or its columns are not as they were"))
        } else if snapshot.entry(name).is_none_or(|entry| entry.sample.is_some()) {
            Some(format!("{name}: the backup holds only a sample"))
        } else {
            None
        };
        if let Some(note) = why_not {
            self.note(format!("every row was read: {note}"));
            return Ok(None);
        }
        self.telling.table(&name.to_string(), "asking what changed");
        let leaves = leaf_ranges(snapshot, name)?;
        let Some(touched) = live.touched(of_live, &leaves, marks)? else {
            self.note(format!("every row was read: {name}: the server cannot vouch for unchanged rows, the log says why"));
            return Ok(None);
        };
        self.telling.table(&name.to_string(), "comparing");
        compared.fast = true;
        let count = touched.iter().filter(|touched| **touched).count();
        if count as f64 > leaves.len() as f64 * MOSTLY_TOUCHED && leaves.len() > 2 {
            self.note(format!("{name}: most of it changed, so all of it was read"));
            compared.fast = false;
            return Ok(None);
        }
        for ((_, rows), touched) in leaves.iter().zip(&touched) {
            // The open range after the last leaf has no rows and is no leaf.
            if !touched && *rows > 0 {
                compared.tally.rows += 2 * rows;
                compared.tally.rows_skipped += 2 * rows;
                compared.tally.unchanged += rows;
                compared.leaves_skipped += 1;
            }
        }
        Ok(Some(joined(leaves, &touched)))
    }

    /// Told once, however many tables it is true of.
    fn note(&mut self, note: String) {
        let notes = &mut self.summary.provenance.notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// The rows of both tables are written in the same bytes: equal bytes are equal rows, and equal hashes equal leaves.
fn alike(one: &Table, other: &Table) -> bool {
    one.key == other.key
        && one.stored().map(|column| (&column.name, column.class)).eq(other.stored().map(|column| (&column.name, column.class)))
}

/// The leaves of a table with their rows, and the open range after the last of them.
fn leaf_ranges(snapshot: &Snapshot, name: &TableName) -> Result<Vec<(KeyRange, u64)>> {
    let mut ranges = Vec::new();
    let mut last = None;
    for leaf in snapshot.leaves(name)? {
        let leaf = leaf?;
        last = Some(leaf.to.clone());
        ranges.push((KeyRange { after: leaf.after, to: Some(leaf.to) }, leaf.rows));
    }
    ranges.push((KeyRange { after: last, to: None }, 0));
    Ok(ranges)
}

/// Neighbouring touched ranges as one.
fn joined(ranges: Vec<(KeyRange, u64)>, touched: &[bool]) -> Vec<KeyRange> {
    let mut joined: Vec<KeyRange> = Vec::new();
    let mut open = false;
    for ((range, _), touched) in ranges.into_iter().zip(touched) {
        match (touched, open, joined.last_mut()) {
            (true, true, Some(last)) => last.to = range.to,
            (true, ..) => joined.push(range),
            (false, ..) => {}
        }
        open = *touched;
    }
    joined
}

fn add(all: &mut Tally, found: Tally) {
    all.added += found.added;
    all.removed += found.removed;
    all.changed += found.changed;
    all.unchanged += found.unchanged;
    all.hidden += found.hidden;
    all.order += found.order;
    all.rows += found.rows;
    all.rows_skipped += found.rows_skipped;
    all.leaves_skipped += found.leaves_skipped;
    if all.columns.len() < found.columns.len() {
        all.columns.resize(found.columns.len(), 0);
    }
    all.columns.iter_mut().zip(&found.columns).for_each(|(all, found)| *all += found);
    if all.fields.is_empty() {
        all.fields = found.fields;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ranges_are_read_as_one() {
        let range = |after: Option<u8>, to: Option<u8>| KeyRange { after: after.map(|key| vec![key]), to: to.map(|key| vec![key]) };
        let leaves = vec![
            (range(None, Some(1)), 5),
            (range(Some(1), Some(2)), 5),
            (range(Some(2), Some(3)), 5),
            (range(Some(3), Some(4)), 5),
            (range(Some(4), None), 0),
        ];
        assert_eq!(joined(leaves.clone(), &[true, true, false, false, true]), [range(None, Some(2)), range(Some(4), None)]);
        assert_eq!(joined(leaves.clone(), &[true; 5]), [range(None, None)]);
        assert_eq!(joined(leaves, &[false; 5]), []);
    }
}
