//! The custom archive of pg_dump, read as it passes: its table of contents, then the blocks of data.
//!
//! The format is that of PostgreSQL's pg_backup_archiver.c and pg_backup_custom.c, versions 1.12 to 1.16 (pg_dump 9.0 to 18).
//! An archive has no end mark, but its table of contents says which entries have data: it is whole when the block of each
//! has been seen to its end. The input may be hostile: no length in it is trusted with memory.

use std::{collections::HashMap, fmt};

use super::rows::Rows;
use crate::error::{Error, Kind, Result};

/// Longest kept part of a name, bytes. PostgreSQL's own limit is 63 unless it was compiled otherwise.
const NAME: usize = 1024;
/// Longest kept part of a definition, bytes; only those of the database itself are kept.
const DEFINITION: usize = 64 * 1024;
/// Bytes kept of a whole table of contents.
const KEPT: usize = 256 * 1024 * 1024;
/// Before an offset that is known.
const OFFSET_SET: u8 = 2;
/// Entries in a table of contents.
const ENTRIES: i64 = 20_000_000;

/// The version of an archive's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveVersion {
    pub major: u8,
    pub minor: u8,
}

impl ArchiveVersion {
    /// The oldest major release whose pg_restore reads it.
    pub fn oldest_reader(self) -> u32 {
        match self.minor {
            ..=14 => 12,
            15 => 16,
            _ => 17,
        }
    }
}

impl fmt::Display for ArchiveVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Which entries of the table of contents are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those with data: enough to count rows.
    Data,
    /// All.
    Everything,
}

/// One entry of the table of contents.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub id: i64,
    pub has_data: bool,
    /// What it is, such as `TABLE DATA`.
    pub desc: String,
    /// Its name; for a table and its data the table's name.
    pub tag: String,
    pub schema: Option<String>,
    pub owner: Option<String>,
    /// Kept for the entries of the database itself.
    pub definition: Option<String>,
    /// Its data is text of a COPY statement.
    pub copies: bool,
    pub dependencies: Vec<i64>,
}

/// The fields of an entry in file order, with the minor version each appeared in.
const FIELDS: &[(Field, u8)] = &[
    (Field::Id, 0),
    (Field::HasData, 0),
    (Field::Skipped, 0), // table oid
    (Field::Skipped, 0), // oid
    (Field::Tag, 0),
    (Field::Desc, 0),
    (Field::Number, 11), // section
    (Field::Definition, 0),
    (Field::Skipped, 0), // DROP statement
    (Field::Copy, 3),
    (Field::Schema, 6),
    (Field::Skipped, 10), // tablespace
    (Field::Skipped, 14), // table access method
    (Field::Number, 16),  // kind of relation
    (Field::Owner, 0),
    (Field::Skipped, 0), // WITH OIDS
    (Field::Dependencies, 0),
    (Field::Offset, 0),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    HasData,
    Tag,
    Desc,
    Definition,
    Copy,
    Schema,
    Owner,
    Dependencies,
    Offset,
    Number,
    Skipped,
}

/// What is expected next.
#[derive(Debug, Clone, Copy)]
enum State {
    Magic,
    Compression,
    /// The moment it was made: seven numbers.
    Date(u8),
    /// Database name, server version, pg_dump version.
    Origin(u8),
    EntryCount,
    Entry(usize),
    Block,
    BlockId {
        blobs: bool,
    },
    /// The number of the next large object; 0 ends the block.
    BlobId,
    ChunkLength,
    Chunk {
        left: u64,
    },
}

/// A text field that has not fully arrived.
struct Text {
    left: u64,
    kept: Vec<u8>,
}

/// Where in the file a block of data begins, and where the table of contents has room to say so.
struct Located {
    field: u64,
    block: u64,
}

/// Reads an archive piece by piece.
pub struct Archive {
    keep: Keep,
    state: State,
    /// Bytes of a number or a fixed field that is cut by the end of a piece.
    partial: Vec<u8>,
    text: Option<Text>,
    version: ArchiveVersion,
    int_size: usize,
    offset_size: usize,
    compressed: bool,
    entry: Entry,
    entries_left: i64,
    kept: usize,
    entries: Vec<Entry>,
    /// Entries whose data has not been seen yet: their place in `entries`, and where in the file their offset field stands.
    awaited: HashMap<i64, (usize, u64)>,
    located: Vec<Located>,
    /// Bytes taken or about to be taken.
    fed: u64,
    /// The entry in work; `None` while large objects pass.
    current: Option<usize>,
    rows: Rows,
    counted: Vec<(usize, u64)>,
    total: u64,
}

impl Archive {
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            state: State::Magic,
            partial: Vec::new(),
            text: None,
            version: ArchiveVersion { major: 0, minor: 0 },
            int_size: 4,
            offset_size: 8,
            compressed: false,
            entry: Entry::default(),
            entries_left: 0,
            kept: 0,
            entries: Vec::new(),
            awaited: HashMap::new(),
            located: Vec::new(),
            fed: 0,
            current: None,
            rows: Rows::default(),
            counted: Vec::new(),
            total: 0,
        }
    }

    pub fn version(&self) -> ArchiveVersion {
        self.version
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Rows that have passed.
    pub fn rows(&self) -> u64 {
        self.total + self.rows.lines()
    }

    /// The entry whose data is passing.
    pub fn current(&self) -> Option<&Entry> {
        self.current.map(|at| &self.entries[at])
    }

    /// Entries with COPY data and their exact number of rows, once whole. Empty when the archive is compressed.
    pub fn counted(&self) -> impl Iterator<Item = (&Entry, u64)> {
        self.counted.iter().map(|(at, rows)| (&self.entries[*at], *rows))
    }

    /// What pg_dump writes into the table of contents at its end when it can go back in its output: for each entry with
    /// data, the bytes of its offset field and where they belong in the file. Without them a parallel pg_restore must search
    /// for each table's data and cannot begin with the largest.
    pub fn offsets(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        // Every 64-bit machine writes eight bytes.
        let wide = self.offset_size == size_of::<u64>();
        self.located.iter().filter(move |_| wide).map(|located| (located.field, [&[OFFSET_SET][..], &located.block.to_le_bytes()].concat()))
    }

    /// Takes the next bytes. Errors when they cannot be part of an archive.
    pub fn feed(&mut self, mut input: &[u8]) -> Result<()> {
        self.fed += input.len() as u64;
        while !input.is_empty() {
            if let State::ChunkLength = self.state {
                self.whole_chunks(&mut input);
            }
            if !self.step(&mut input)? {
                break;
            }
        }
        Ok(())
    }

    /// The end of the input. Errors unless the archive is whole.
    pub fn finish(&self) -> Result<()> {
        match self.state {
            State::Block if self.partial.is_empty() && self.awaited.is_empty() => Ok(()),
            State::Block if self.partial.is_empty() => {
                Err(damaged(format!("it ends before the data of {} of its entries", self.awaited.len())))
            }
            _ => Err(damaged("it is cut short")),
        }
    }

    /// Takes one step; false when more input is needed for it.
    fn step(&mut self, input: &mut &[u8]) -> Result<bool> {
        match self.state {
            State::Magic => {
                let Some(head) = self.take(11, input) else { return Ok(false) };
                self.state = self.magic(&head)?;
            }
            State::Compression if self.version.minor >= 15 => {
                let Some(algorithm) = self.take(1, input) else { return Ok(false) };
                self.compressed = algorithm[0] != 0;
                self.state = State::Date(0);
            }
            State::Compression => {
                let Some(level) = self.number(input)? else { return Ok(false) };
                self.compressed = level != 0;
                self.state = State::Date(0);
            }
            State::Date(n) => {
                let Some(_) = self.number(input)? else { return Ok(false) };
                self.state = if n == 6 { State::Origin(0) } else { State::Date(n + 1) };
            }
            State::Origin(n) => {
                let Some(_) = self.string(0, input)? else { return Ok(false) };
                self.state = if n == 2 { State::EntryCount } else { State::Origin(n + 1) };
            }
            State::EntryCount => {
                let Some(count) = self.number(input)? else { return Ok(false) };
                if !(0..=ENTRIES).contains(&count) {
                    return Err(damaged(format!("its table of contents cannot have {count} entries")));
                }
                self.entries_left = count;
                self.state = if count == 0 { State::Block } else { State::Entry(0) };
            }
            State::Entry(at) => return self.field(at, input),
            State::Block => {
                let Some(kind) = self.take(1, input) else { return Ok(false) };
                self.state = match kind[0] {
                    1 => State::BlockId { blobs: false },
                    3 => State::BlockId { blobs: true },
                    other => return Err(damaged(format!("it has a block of unknown kind {other}"))),
                };
            }
            State::BlockId { blobs } => {
                let Some(id) = self.number(input)? else { return Ok(false) };
                let (at, field) =
                    self.awaited.remove(&id).ok_or_else(|| damaged(format!("it has a block of data for entry {id}, which awaits none")))?;
                // The block began with a byte for its kind, before the number just read.
                let block = self.position(input) - 2 - self.int_size as u64;
                self.located.push(Located { field, block });
                self.current = (!blobs).then_some(at);
                self.state = if blobs { State::BlobId } else { State::ChunkLength };
            }
            State::BlobId => {
                let Some(oid) = self.number(input)? else { return Ok(false) };
                self.state = if oid == 0 { State::Block } else { State::ChunkLength };
            }
            State::ChunkLength => {
                let Some(length) = self.number(input)? else { return Ok(false) };
                self.state = match u64::try_from(length) {
                    Ok(0) => self.end_of_data()?,
                    Ok(left) => State::Chunk { left },
                    Err(_) => return Err(damaged("a piece of its data has a negative length")),
                };
            }
            State::Chunk { left } => {
                let here = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let (chunk, rest) = input.split_at(here);
                self.pass(chunk);
                *input = rest;
                let left = left - here as u64;
                self.state = if left == 0 { State::ChunkLength } else { State::Chunk { left } };
            }
        }
        Ok(true)
    }

    /// The quick way through chunks that lie whole in the input: pg_dump makes one of each row.
    fn whole_chunks(&mut self, input: &mut &[u8]) {
        if self.int_size != 4 || !self.partial.is_empty() {
            return;
        }
        while let Some((&[sign, a, b, c, d], rest)) = input.split_first_chunk::<5>() {
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            if sign != 0 || length == 0 || length > rest.len() {
                return;
            }
            self.pass(&rest[..length]);
            *input = &rest[length..];
        }
    }

    fn pass(&mut self, chunk: &[u8]) {
        if self.current.is_some() && !self.compressed {
            self.rows.pass(chunk);
        }
    }

    fn end_of_data(&mut self) -> Result<State> {
        let Some(at) = self.current.take() else { return Ok(State::BlobId) };
        let rows = std::mem::take(&mut self.rows);
        let entry = &self.entries[at];
        if entry.copies && !self.compressed {
            let rows = rows.end().ok_or_else(|| damaged(format!("the rows of '{}' do not end with their end mark", entry.tag)))?;
            self.total += rows;
            self.counted.push((at, rows));
        }
        Ok(State::Block)
    }

    fn magic(&mut self, head: &[u8]) -> Result<State> {
        let [b'P', b'G', b'D', b'M', b'P', major, minor, _, int_size, offset_size, format] = *head else {
            return Err(Error::validation("this is no custom archive of pg_dump").hint("make one with pg_dump -Fc"));
        };
        self.version = ArchiveVersion { major, minor };
        if major != 1 || !(12..=16).contains(&minor) {
            return Err(Error::validation(format!("the archive has version {}, and only 1.12 to 1.16 are read", self.version))
                .hint("make it with pg_dump 9.0 to 18"));
        }
        if format != 1 {
            return Err(Error::validation("the archive is not in pg_dump's custom format").hint("make one with pg_dump -Fc"));
        }
        if !(1..=8).contains(&int_size) || !(1..=8).contains(&offset_size) {
            return Err(damaged("its header has impossible sizes"));
        }
        self.int_size = int_size.into();
        self.offset_size = offset_size.into();
        Ok(State::Compression)
    }

    /// Reads the field at this place of the entry in work.
    fn field(&mut self, at: usize, input: &mut &[u8]) -> Result<bool> {
        let (field, since) = FIELDS[at];
        if self.version.minor < since {
            self.state = State::Entry(at + 1);
            return Ok(true);
        }
        let wanted = self.keep == Keep::Everything || self.entry.has_data;
        let name = if wanted { NAME } else { 0 };
        match field {
            Field::Id | Field::HasData | Field::Number => {
                let Some(number) = self.number(input)? else { return Ok(false) };
                match field {
                    Field::Id => self.entry.id = number,
                    Field::HasData => self.entry.has_data = number != 0,
                    _ => {}
                }
            }
            Field::Offset => {
                let size = 1 + self.offset_size;
                let Some(_) = self.take(size, input) else { return Ok(false) };
                self.state = self.end_of_entry(self.position(input) - size as u64)?;
                return Ok(true);
            }
            Field::Dependencies => {
                let Some(text) = self.string(24, input)? else { return Ok(false) };
                if let Some(text) = text {
                    if self.keep == Keep::Everything {
                        let id = text.parse().map_err(|_| damaged("a dependency in its table of contents is no number"))?;
                        self.keep_bytes(size_of::<i64>())?;
                        self.entry.dependencies.push(id);
                    }
                    return Ok(true);
                }
            }
            Field::Copy => {
                let Some(text) = self.string(1, input)? else { return Ok(false) };
                self.entry.copies = text.is_some_and(|text| !text.is_empty());
            }
            Field::Definition => {
                let of_database = self.keep == Keep::Everything && ["DATABASE", "DATABASE PROPERTIES"].contains(&self.entry.desc.as_str());
                let Some(text) = self.string(if of_database { DEFINITION } else { 0 }, input)? else { return Ok(false) };
                self.entry.definition = text.filter(|_| of_database);
            }
            Field::Tag | Field::Desc | Field::Schema | Field::Owner | Field::Skipped => {
                let limit = if field == Field::Skipped { 0 } else { name };
                let Some(text) = self.string(limit, input)? else { return Ok(false) };
                match field {
                    Field::Tag => self.entry.tag = text.unwrap_or_default(),
                    Field::Desc => self.entry.desc = text.unwrap_or_default(),
                    Field::Schema => self.entry.schema = text.filter(|text| !text.is_empty()),
                    Field::Owner => self.entry.owner = text.filter(|text| !text.is_empty()),
                    _ => {}
                }
            }
        }
        self.state = State::Entry(at + 1);
        Ok(true)
    }

    /// How far in the file the rest of the input begins.
    fn position(&self, input: &[u8]) -> u64 {
        self.fed - input.len() as u64
    }

    fn end_of_entry(&mut self, offset_field: u64) -> Result<State> {
        let entry = std::mem::take(&mut self.entry);
        if self.keep == Keep::Everything || entry.has_data {
            self.keep_bytes(size_of::<Entry>())?;
            if entry.has_data && self.awaited.insert(entry.id, (self.entries.len(), offset_field)).is_some() {
                return Err(damaged(format!("entry {} stands twice in its table of contents", entry.id)));
            }
            self.entries.push(entry);
        }
        self.entries_left -= 1;
        Ok(if self.entries_left == 0 { State::Block } else { State::Entry(0) })
    }

    fn keep_bytes(&mut self, bytes: usize) -> Result<()> {
        self.kept += bytes;
        if self.kept > KEPT {
            return Err(damaged("its table of contents is larger than any real one"));
        }
        Ok(())
    }

    /// The next `count` bytes (at most 16), once they have all arrived.
    fn take(&mut self, count: usize, input: &mut &[u8]) -> Option<Vec<u8>> {
        let here = (count - self.partial.len()).min(input.len());
        let (bytes, rest) = input.split_at(here);
        self.partial.extend_from_slice(bytes);
        *input = rest;
        (self.partial.len() == count).then(|| std::mem::take(&mut self.partial))
    }

    /// A sign byte, then the magnitude, least byte first.
    fn number(&mut self, input: &mut &[u8]) -> Result<Option<i64>> {
        let Some(bytes) = self.take(1 + self.int_size, input) else { return Ok(None) };
        let magnitude = bytes[1..].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let magnitude = i64::try_from(magnitude).map_err(|_| damaged("it holds a number out of range"))?;
        Ok(Some(if bytes[0] == 0 { magnitude } else { -magnitude }))
    }

    /// A length and that many bytes, of which at most `limit` are kept; `Some(None)` is the absent string (length -1).
    fn string(&mut self, limit: usize, input: &mut &[u8]) -> Result<Option<Option<String>>> {
        if self.text.is_none() {
            let Some(length) = self.number(input)? else { return Ok(None) };
            let Ok(left) = u64::try_from(length) else { return Ok(Some(None)) };
            self.text = Some(Text { left, kept: Vec::new() });
        }
        let Some(text) = &mut self.text else { return Ok(None) };
        let here = input.len().min(usize::try_from(text.left).unwrap_or(usize::MAX));
        let (bytes, rest) = input.split_at(here);
        *input = rest;
        text.left -= here as u64;
        let kept = bytes.len().min(limit.saturating_sub(text.kept.len()));
        text.kept.extend_from_slice(&bytes[..kept]);
        if text.left > 0 {
            return Ok(None);
        }
        let kept = self.text.take().map(|text| text.kept).unwrap_or_default();
        self.keep_bytes(kept.len())?;
        Ok(Some(Some(String::from_utf8_lossy(&kept).into_owned())))
    }
}

fn damaged(how: impl fmt::Display) -> Error {
    Error::new(Kind::Restore, format!("the archive is damaged: {how}")).hint("take another backup, or upload the file again")
}
