//! Random tables, rows and edits, and cursors over them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    diff::{
        bson::tests::{document, int, string},
        merge::{NoRows, Tally, compare_rows},
        pair::{RowSpec, Which},
        report::{Report, ReportWriter},
    },
    domain::diff::{DiffOptions, DiffSummary},
    error::{Error, Result},
    snapshot::{Class, Column, Key, Layout, ReadAt, RowCursor, RowRef, Subtree, Table, TableName, varint},
};

pub type Cells = Vec<Option<Vec<u8>>>;

/// Random numbers that a seed repeats (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }
}

pub const CLASSES: [Class; 14] = [
    Class::Integer,
    Class::Decimal,
    Class::Float,
    Class::Boolean,
    Class::Text,
    Class::Bytes,
    Class::Uuid,
    Class::Date,
    Class::Time,
    Class::Timestamp,
    Class::Instant,
    Class::Json,
    Class::Any,
    Class::Other,
];

/// One of few values of a class, so that rows meet; other bytes are another value.
pub fn value(class: Class, dice: &mut Dice) -> Vec<u8> {
    let n = dice.roll(40) as i64;
    let text = match class {
        Class::Integer => (n * n * n * 977 - 20_000).to_string(),
        Class::Decimal => format!("{}.{}5", n - 20, n),
        Class::Float => format!("{}.5", n - 20),
        Class::Boolean => if n % 2 == 0 { "t" } else { "f" }.to_owned(),
        Class::Text | Class::Other => ["", "NULL", "ä", "a\0b", "zz", "1"][n as usize % 6].to_owned() + &"x".repeat(n as usize / 6),
        Class::Bytes => return vec![n as u8 * 6; n as usize % 5],
        Class::Uuid => format!("6ba7b810-9dad-11d1-80b4-00c04fd430{:02x}", n),
        Class::Date => format!("2024-01-{:02}", n % 28 + 1),
        Class::Time => format!("10:00:{n:02}"),
        Class::Timestamp => format!("2024-01-01 10:00:{n:02}.5"),
        Class::Instant => format!("2024-01-01 10:00:{n:02}+00"),
        Class::Json => format!("{{\"a\":[{n}]}}"),
        Class::Any => match n % 4 {
            0 => format!("i{n}"),
            1 => format!("r{n}.5"),
            2 => format!("t{n}"),
            _ => format!("b{n}"),
        },
        Class::Bson => {
            let fields =
                [(0x10, "_id", int(n as i32)), (0x02, "name", string(&"y".repeat(n as usize % 3))), (0x10, "n", int(n as i32 / 7))];
            return document(&fields[..1 + dice.roll(3) as usize]);
        }
    };
    text.into_bytes()
}

pub fn column(name: &str, class: Class) -> Column {
    Column {
        name: name.to_owned(),
        type_name: format!("{class:?}").to_lowercase(),
        class,
        nullable: true,
        default: None,
        generated: None,
        options: BTreeMap::new(),
    }
}

pub fn table(columns: Vec<Column>, key: &[&str]) -> Table {
    let key = match key {
        [] => Key::Row,
        columns => Key::Columns { columns: columns.iter().map(|name| (*name).to_owned()).collect() },
    };
    Table { name: TableName::new(None, "t"), columns, key, definition: String::new(), options: BTreeMap::new() }
}

pub fn key_names(table: &Table) -> Vec<String> {
    match &table.key {
        Key::Columns { columns } => columns.clone(),
        Key::Row => Vec::new(),
    }
}

/// Rows of a table as its file would have them: by key, a keyless row once with its count.
pub type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn store(table: &Table, rows: &[Cells]) -> Stored {
    let layout = Layout::of(table).unwrap();
    let mut stored = Stored::new();
    for row in rows {
        let cells: Vec<_> = row.iter().map(Option::as_deref).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        layout.encode(&cells, &mut key, &mut value).unwrap();
        add(&mut stored, layout.keyless(), key, value);
    }
    stored
}

/// Puts a row in; where rows have counts, those of equal keys are added.
pub fn add(stored: &mut Stored, counted: bool, key: Vec<u8>, value: Vec<u8>) {
    let merged = match stored.get(&key) {
        Some(known) if counted => {
            let ((one, rest), (other, _)) = (varint::take(known).unwrap(), varint::take(&value).unwrap());
            let mut merged = Vec::new();
            varint::put(&mut merged, one + other);
            merged.extend_from_slice(rest);
            merged
        }
        Some(_) => panic!("two rows with one key"),
        None => value,
    };
    stored.insert(key, merged);
}

/// Walks stored rows, cut into leaves and groups of leaves at random keys.
pub struct Cursor {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    at: usize,
    /// How often each row is there.
    counts: Vec<u64>,
    /// Ends of leaves, of groups of leaves, and of all.
    cuts: [Vec<usize>; 3],
    trees: Vec<Subtree>,
    ends: Vec<usize>,
    pub peeked: usize,
}

impl Cursor {
    /// `seed` chooses the boundaries, the same for the same key.
    pub fn new(stored: &Stored, counted: bool, seed: u64) -> Self {
        let rows: Vec<_> = stored.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let hash = |key: &[u8]| u64::from_le_bytes(*blake3::hash(key).as_bytes().first_chunk().unwrap()) ^ seed;
        let cut = |every: u64| {
            let mut cuts: Vec<_> = (1..=rows.len()).filter(|end| Dice(hash(&rows[*end - 1].0)).roll(every) == 0).collect();
            if cuts.last() != Some(&rows.len()) {
                cuts.push(rows.len());
            }
            cuts
        };
        let leaves = cut(4);
        let groups: Vec<_> =
            leaves.iter().copied().filter(|end| *end == rows.len() || Dice(hash(&rows[*end - 1].0) ^ 7).roll(3) == 0).collect();
        let all = vec![rows.len()];
        let counts = rows.iter().map(|(_, value)| if counted { varint::take(value).unwrap().0 } else { 1 }).collect();
        Self { rows, counts, at: 0, cuts: [leaves, groups, all], trees: Vec::new(), ends: Vec::new(), peeked: 0 }
    }
}

impl RowCursor for Cursor {
    fn peek(&mut self) -> Result<Option<RowRef<'_>>> {
        self.peeked += 1;
        Ok(self.rows.get(self.at).map(|(key, value)| RowRef { key, value }))
    }

    fn advance(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }

    fn subtrees(&mut self) -> Result<&[Subtree]> {
        self.trees.clear();
        self.ends.clear();
        if self.at < self.rows.len() {
            for cuts in &self.cuts {
                if self.at > 0 && cuts.binary_search(&self.at).is_err() {
                    break;
                }
                let end = cuts[cuts.partition_point(|end| *end <= self.at)];
                let mut hasher = blake3::Hasher::new();
                for (key, value) in &self.rows[self.at..end] {
                    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(&(value.len() as u64).to_le_bytes()).update(value);
                }
                let leaves = self.cuts[0].iter().filter(|cut| **cut > self.at && **cut <= end).count() as u64;
                self.trees.push(Subtree { id: hasher.finalize().into(), rows: self.counts[self.at..end].iter().sum(), leaves });
                self.ends.push(end);
            }
        }
        Ok(&self.trees)
    }

    fn skip(&mut self, subtree: usize) -> Result<()> {
        self.at = self.ends[subtree];
        Ok(())
    }
}

/// Maps rows as a comparison asks for and sorts them again.
pub fn rekeyed(spec: &RowSpec, which: Which, stored: &Stored) -> Stored {
    if !spec.needs_rekey() {
        return stored.clone();
    }
    let mut mapped = Stored::new();
    for (key, value) in stored {
        let (mut new_key, mut new_value) = (Vec::new(), Vec::new());
        spec.rekey(which, RowRef { key, value }, &mut new_key, &mut new_value).unwrap();
        add(&mut mapped, true, new_key, new_value);
    }
    mapped
}

/// A file in memory that counts how often it is read.
#[derive(Clone, Default)]
pub struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    pub reads: Arc<AtomicUsize>,
}

impl Memory {
    pub fn output(&self) -> Box<dyn FnMut(Bytes) -> Result<()> + Send> {
        let bytes = self.bytes.clone();
        Box::new(move |more| {
            bytes.lock().unwrap().extend_from_slice(&more);
            Ok(())
        })
    }

    pub fn take_reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.lock().unwrap();
        let part = bytes.get(offset as usize..offset as usize + length);
        part.map(Bytes::copy_from_slice).ok_or_else(|| Error::internal("read past the end"))
    }
}

/// Compares two tables into a report, through leaves cut by `seed`.
pub fn compare(before: (&Table, &Stored), after: (&Table, &Stored), options: &DiffOptions, seed: u64) -> (Tally, Report, Memory) {
    let spec = RowSpec::of(Some(before.0), Some(after.0), options).unwrap();
    let memory = Memory::default();
    let mut writer = ReportWriter::new(memory.output(), "test", "db", None).unwrap();
    writer.begin(&spec).unwrap();
    let mut one = Cursor::new(&rekeyed(&spec, Which::Before, before.1), spec.keyless(), seed);
    let mut other = Cursor::new(&rekeyed(&spec, Which::After, after.1), spec.keyless(), seed);
    let tally = compare_rows(&mut one, &mut other, &spec, &mut writer, &mut |_: &Tally| Ok(())).unwrap();
    let table = writer.end(&spec, &tally).unwrap();
    writer.finish(&DiffSummary { tables: vec![table], ..DiffSummary::default() }).unwrap();
    let report = Report::open(Arc::new(memory.clone()), None).unwrap();
    memory.take_reads();
    (tally, report, memory)
}

/// A whole table as added, into a report.
pub fn added(table: &Table, stored: &Stored) -> (Tally, Report) {
    let spec = RowSpec::of(None, Some(table), &DiffOptions::default()).unwrap();
    let memory = Memory::default();
    let mut writer = ReportWriter::new(memory.output(), "test", "db", None).unwrap();
    writer.begin(&spec).unwrap();
    let tally =
        compare_rows(&mut NoRows, &mut Cursor::new(stored, spec.keyless(), 0), &spec, &mut writer, &mut |_: &Tally| Ok(())).unwrap();
    writer.end(&spec, &tally).unwrap();
    let report = writer.reader(Arc::new(memory));
    (tally, report)
}
