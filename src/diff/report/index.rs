//! Where a report's blocks are and what they hold, so that filters need not read them.

use std::collections::HashMap;

use super::{
    entry::{damaged, kind_number, kind_of},
    heading::Heading,
};
use crate::{
    diff::{Bits, merge::ChangeRef},
    domain::diff::DiffSummary,
    error::{Error, Result},
    snapshot::{ChangeKind, container::BlockRef, varint},
};

/// Patterns that a table's index tells apart. A block with another one is read when a filter asks for columns.
const MOST_PATTERNS: usize = 4096;
/// Patterns that the index tells of one block.
const MOST_IN_BLOCK: usize = 64;

/// A kind of change and the columns that changed.
pub type Pattern = (ChangeKind, Bits);

/// The index of a report, shared by its writer and its readers.
#[derive(Default)]
pub struct Index {
    pub tables: Vec<TableIndex>,
    /// `None` while the report is written.
    pub summary: Option<DiffSummary>,
}

pub struct TableIndex {
    pub heading: Heading,
    pub fields: Vec<String>,
    /// Changed rows by column.
    pub changed: Vec<u64>,
    pub patterns: Vec<Pattern>,
    pub blocks: Vec<BlockNote>,
    pub changes: u64,
}

/// What is known of a block without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockNote {
    pub block: BlockRef,
    /// The place of its first change among those of the table.
    pub first: u64,
    /// Added, removed, changed.
    pub kinds: [u32; 3],
    /// How often each of the table's patterns is in it; `None` where they are too many to tell.
    pub patterns: Option<Vec<(u32, u32)>>,
}

impl BlockNote {
    pub fn changes(&self) -> u64 {
        self.kinds.iter().map(|count| u64::from(*count)).sum()
    }
}

impl TableIndex {
    pub fn new(heading: Heading) -> Self {
        Self { heading, fields: Vec::new(), changed: Vec::new(), patterns: Vec::new(), blocks: Vec::new(), changes: 0 }
    }
}

/// Gathers what the index says of the block that is being filled.
#[derive(Default)]
pub struct Gathering {
    known: HashMap<Pattern, u32>,
    fresh: Vec<Pattern>,
    kinds: [u32; 3],
    counts: Vec<(u32, u32)>,
    too_many: bool,
    changed: Vec<u64>,
    last: Option<(Pattern, u32)>,
}

impl Gathering {
    pub fn add(&mut self, change: &ChangeRef<'_>) {
        self.kinds[kind_number(change.kind)] += 1;
        for at in change.columns.iter() {
            if self.changed.len() <= at {
                self.changed.resize(at + 1, 0);
            }
            self.changed[at] += 1;
        }
        match self.pattern(change) {
            Some(id) => self.count(id),
            None => self.too_many = true,
        }
    }

    fn count(&mut self, id: u32) {
        match self.counts.iter().position(|(known, _)| *known == id) {
            Some(at) => self.counts[at].1 += 1,
            None if self.counts.len() < MOST_IN_BLOCK => self.counts.push((id, 1)),
            None => self.too_many = true,
        }
    }

    fn pattern(&mut self, change: &ChangeRef<'_>) -> Option<u32> {
        if let Some(((kind, columns), id)) = &self.last
            && *kind == change.kind
            && columns == change.columns
        {
            return Some(*id);
        }
        let pattern = (change.kind, change.columns.clone());
        let id = match self.known.get(&pattern) {
            Some(id) => *id,
            None if self.known.len() < MOST_PATTERNS => {
                let id = self.known.len() as u32;
                self.known.insert(pattern.clone(), id);
                self.fresh.push(pattern.clone());
                id
            }
            None => return None,
        };
        self.last = Some((pattern, id));
        Some(id)
    }

    /// The block was written: its note goes to the index, and the next one begins.
    pub fn close(&mut self, block: BlockRef, table: &mut TableIndex) {
        let counts = std::mem::take(&mut self.counts);
        let patterns = (!std::mem::take(&mut self.too_many)).then_some(counts);
        let note = BlockNote { block, first: table.changes, kinds: std::mem::take(&mut self.kinds), patterns };
        table.changes += note.changes();
        table.blocks.push(note);
        table.patterns.append(&mut self.fresh);
        table.changed.clone_from(&self.changed);
    }
}

impl Index {
    /// Errors when the report has no such table.
    pub fn table(&self, name: &str) -> Result<&TableIndex> {
        let table = self.tables.iter().find(|table| table.heading.name == name);
        table.ok_or_else(|| Error::not_found(format!("the table {name} in this comparison")))
    }

    /// The footer of a report. Errors when the headings are no JSON, which does not happen.
    pub fn write(&self, summary: &DiffSummary) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        put_json(&mut out, summary)?;
        varint::put(&mut out, self.tables.len() as u64);
        for table in &self.tables {
            put_json(&mut out, &(&table.heading, &table.fields, &table.changed))?;
            varint::put(&mut out, table.patterns.len() as u64);
            for (kind, columns) in &table.patterns {
                varint::put(&mut out, kind_number(*kind) as u64);
                put_slice(&mut out, columns.bytes());
            }
            varint::put(&mut out, table.blocks.len() as u64);
            for note in &table.blocks {
                note.block.put(&mut out);
                note.kinds.iter().for_each(|count| varint::put(&mut out, u64::from(*count)));
                varint::put(&mut out, note.patterns.as_ref().map_or(0, |patterns| patterns.len() as u64 + 1));
                for (id, count) in note.patterns.iter().flatten() {
                    varint::put(&mut out, u64::from(*id));
                    varint::put(&mut out, u64::from(*count));
                }
            }
        }
        Ok(out)
    }

    pub fn read(footer: &[u8]) -> Result<Self> {
        let mut reader = FooterReader { rest: footer };
        let summary = serde_json::from_slice(reader.slice()?).map_err(|cause| damaged().source(cause))?;
        let mut tables = Vec::new();
        for _ in 0..reader.number()? {
            tables.push(reader.table()?);
        }
        Ok(Self { tables, summary: Some(summary) })
    }
}

struct FooterReader<'a> {
    rest: &'a [u8],
}

impl<'a> FooterReader<'a> {
    fn number(&mut self) -> Result<u64> {
        let (number, rest) = varint::take(self.rest)?;
        self.rest = rest;
        Ok(number)
    }

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| damaged())
    }

    fn slice(&mut self) -> Result<&'a [u8]> {
        let (slice, rest) = varint::take_slice(self.rest)?;
        self.rest = rest;
        Ok(slice)
    }

    fn table(&mut self) -> Result<TableIndex> {
        let (heading, fields, changed) = serde_json::from_slice(self.slice()?).map_err(|cause| damaged().source(cause))?;
        let mut table = TableIndex { fields, changed, ..TableIndex::new(heading) };
        for _ in 0..self.number()? {
            let kind = kind_of(self.number()? as usize).ok_or_else(damaged)?;
            table.patterns.push((kind, Bits::read(self.slice()?)));
        }
        for _ in 0..self.number()? {
            let note = self.block(table.changes)?;
            table.changes += note.changes();
            table.blocks.push(note);
        }
        Ok(table)
    }

    fn block(&mut self, first: u64) -> Result<BlockNote> {
        let (block, rest) = BlockRef::take(self.rest)?;
        self.rest = rest;
        let kinds = [self.small()?, self.small()?, self.small()?];
        let patterns = match self.number()? {
            0 => None,
            more => Some((1..more).map(|_| Ok((self.small()?, self.small()?))).collect::<Result<_>>()?),
        };
        Ok(BlockNote { block, first, kinds, patterns })
    }
}

fn put_json(out: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_vec(value).map_err(|cause| Error::internal("writing a report's index").source(cause))?;
    put_slice(out, &json);
    Ok(())
}

fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
