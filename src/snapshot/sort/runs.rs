//! Ordered rows in memory and in files.

use std::{
    fs::{File, Permissions},
    io::{BufReader, BufWriter, Read, Seek, Write},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use zstd::bulk::{Compressor, Decompressor};

use crate::{
    error::{Context, Error, Kind, Result},
    snapshot::{
        container::Seal,
        row::{RowBatch, RowRef, put_row, take_row},
        varint,
    },
};

/// Bytes of a page in memory.
const PAGE: usize = 1 << 20;
/// Plain bytes of a block in a file, or one row.
const BLOCK: usize = 128 << 10;

/// Rows in the order in which they came, and an index to sort. In pages, so that growing copies nothing.
#[derive(Default)]
pub(super) struct Arena {
    pages: Vec<Vec<u8>>,
    index: Vec<Slot>,
    bytes: usize,
}

/// Where a row is, and the beginning of its key: most comparisons need no more.
struct Slot {
    prefix: u64,
    page: u32,
    at: u32,
}

impl Arena {
    pub fn push(&mut self, row: RowRef<'_>) {
        let size = row.key.len() + row.value.len() + 20;
        if self.pages.last().is_none_or(|page| page.capacity() - page.len() < size) {
            let capacity = size.max(PAGE);
            self.pages.push(Vec::with_capacity(capacity));
            self.bytes += capacity;
        }
        let page = self.pages.len() - 1;
        let at = self.pages[page].len();
        put_row(&mut self.pages[page], row.key, row.value);
        self.index.push(Slot { prefix: prefix(row.key), page: page as u32, at: at as u32 });
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.bytes + self.index.capacity() * size_of::<Slot>()
    }

    pub fn sorted(mut self) -> MemoryRun {
        let mut index = std::mem::take(&mut self.index);
        index.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| self.row(a).key.cmp(self.row(b).key)));
        self.index = index;
        MemoryRun { arena: self, at: 0 }
    }

    fn row(&self, slot: &Slot) -> RowRef<'_> {
        take_row(&self.pages[slot.page as usize][slot.at as usize..]).expect("it was written by push").0
    }
}

/// The first eight bytes of a key as a number that orders as they do.
fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

/// Rows that are in memory.
pub(super) struct MemoryRun {
    arena: Arena,
    at: usize,
}

/// Ordered rows, of which it stands before one.
pub(super) enum Run {
    Memory(MemoryRun),
    File(FileRun),
}

impl Run {
    pub fn current(&self) -> Option<RowRef<'_>> {
        match self {
            Self::Memory(run) => run.arena.index.get(run.at).map(|slot| run.arena.row(slot)),
            Self::File(run) => run.current(),
        }
    }

    pub fn advance(&mut self) -> Result<()> {
        match self {
            Self::Memory(run) => run.at += 1,
            Self::File(run) => run.advance()?,
        }
        Ok(())
    }
}

/// Writes a file of ordered rows.
pub(super) struct RunWriter {
    out: BufWriter<File>,
    seal: Seal,
    /// Stored and plain bytes of each block.
    blocks: Vec<(usize, usize)>,
    batch: RowBatch,
    compressor: Compressor<'static>,
}

impl RunWriter {
    pub fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).context(Kind::Storage, || format!("making a file for sorting in {}", folder.display()))?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(full)?;
        let compressor = Compressor::new(1).context(Kind::Internal, || "starting zstd".into())?;
        Ok(Self { out: BufWriter::new(file), seal: Seal::temporary(), blocks: Vec::new(), batch: RowBatch::default(), compressor })
    }

    pub fn push(&mut self, row: RowRef<'_>) -> Result<()> {
        self.batch.push(row.key, row.value);
        if self.batch.bytes().len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let plain = self.batch.bytes();
        let mut block = self.compressor.compress(plain).context(Kind::Internal, || "compressing with zstd".into())?;
        self.seal.close(self.blocks.len() as u64, false, &mut block);
        self.blocks.push((block.len(), plain.len()));
        self.out.write_all(&block).map_err(full)?;
        self.batch.clear();
        Ok(())
    }

    /// The rows, to be read from the first one on.
    pub fn finish(mut self) -> Result<FileRun> {
        if self.batch.rows() > 0 {
            self.flush()?;
        }
        let mut file = self.out.into_inner().map_err(|error| full(error.into_error()))?;
        file.rewind().map_err(unreadable)?;
        let decompressor = Decompressor::new().context(Kind::Internal, || "starting zstd".into())?;
        let mut run = FileRun {
            input: BufReader::with_capacity(BLOCK, file),
            seal: self.seal,
            blocks: self.blocks,
            read: 0,
            sealed: Vec::new(),
            plain: Vec::new(),
            key: 0..0,
            value: 0..0,
            ended: false,
            decompressor,
        };
        run.advance()?;
        Ok(run)
    }
}

/// Rows that are in a file.
pub(super) struct FileRun {
    input: BufReader<File>,
    seal: Seal,
    blocks: Vec<(usize, usize)>,
    /// How many of them.
    read: usize,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    /// Of the row it stands before, in `plain`.
    key: Range<usize>,
    value: Range<usize>,
    ended: bool,
    decompressor: Decompressor<'static>,
}

impl FileRun {
    fn current(&self) -> Option<RowRef<'_>> {
        (!self.ended).then(|| RowRef { key: &self.plain[self.key.clone()], value: &self.plain[self.value.clone()] })
    }

    fn advance(&mut self) -> Result<()> {
        if self.value.end >= self.plain.len() {
            let Some((stored, plain)) = self.blocks.get(self.read) else {
                self.ended = true;
                return Ok(());
            };
            self.block(*stored, *plain)?;
        }
        let whole = self.plain.len();
        let (key, rest) = varint::take_slice(&self.plain[self.value.end..])?;
        self.key = whole - rest.len() - key.len()..whole - rest.len();
        let (value, rest) = varint::take_slice(rest)?;
        self.value = whole - rest.len() - value.len()..whole - rest.len();
        Ok(())
    }

    fn block(&mut self, stored: usize, plain: usize) -> Result<()> {
        self.sealed.resize(stored, 0);
        self.input.read_exact(&mut self.sealed).map_err(unreadable)?;
        let proven = self.seal.open(self.read as u64, false, &mut self.sealed);
        self.plain.clear();
        self.plain.reserve_exact(plain);
        let whole = self.decompressor.decompress_to_buffer(&self.sealed, &mut self.plain);
        if !proven || whole.is_err() {
            return Err(unreadable(std::io::ErrorKind::InvalidData.into()));
        }
        self.read += 1;
        self.value = 0..0;
        Ok(())
    }
}

fn full(cause: std::io::Error) -> Error {
    Error::new(Kind::Storage, "writing a file for sorting rows").source(cause).hint("free space in the data directory")
}

fn unreadable(cause: std::io::Error) -> Error {
    Error::new(Kind::Storage, "reading a file with rows to sort").source(cause)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn writer() -> RunWriter {
        let mut writer = RunWriter::new(&std::env::temp_dir()).unwrap();
        for key in 0..100_u8 {
            writer.push(RowRef { key: &[key], value: &[key; 3000] }).unwrap();
        }
        writer
    }

    #[test]
    fn files_are_the_owners_alone_and_hold_no_row_in_clear() {
        let writer = writer();
        let file = writer.out.get_ref().try_clone().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let _run = writer.finish().unwrap();
        let mut stored = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut stored, 0).unwrap();
        assert!(zstd::bulk::decompress(&stored, 1 << 20).is_err());
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_rows() {
        let writer = writer();
        let file = writer.out.get_ref().try_clone().unwrap();
        let mut run = writer.finish().unwrap();
        file.write_all_at(b"damage", file.metadata().unwrap().len() - 20).unwrap();
        run.input = BufReader::new(file);
        run.input.seek(std::io::SeekFrom::Start(run.blocks[0].0 as u64)).unwrap();
        let error = std::iter::from_fn(|| Some(run.advance())).find_map(Result::err).unwrap();
        assert!(error.to_string().contains("reading a file with rows to sort"), "{error}");
    }

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let mut writer = writer();
        writer.out = BufWriter::new(File::options().write(true).open("/dev/full").unwrap());
        let error = writer.finish().err().unwrap().to_string();
        assert!(error.contains("writing a file for sorting rows") && error.contains("free space"), "{error}");
    }
}
