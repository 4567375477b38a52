//! Changes that wait in a file until all of them were found to fit.

use std::{
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write},
};

use bytes::Bytes;

use crate::{
    domain::run::Run,
    error::{Context, Error, Kind, Result},
    snapshot::{ChangeKind, Row, RowChange},
};

/// Bytes of documents that are read back together, but for a single change.
const BATCH: usize = 4 * 1024 * 1024;
/// More than a document may have: a longer one is damage.
const LONGEST: u32 = 64 * 1024 * 1024;

/// A file without a name; it is gone when this is.
pub struct Waiting {
    file: BufWriter<File>,
}

/// Reads it back.
pub struct Reading {
    file: BufReader<File>,
}

impl Waiting {
    pub fn new(run: &Run) -> Result<Self> {
        let file = tempfile::tempfile_in(&run.scratch).context(Kind::Storage, || format!("making a file in {}", run.scratch.display()))?;
        Ok(Self { file: BufWriter::new(file) })
    }

    pub fn put(&mut self, changes: &[RowChange]) -> Result<()> {
        for change in changes {
            self.row(change.before.as_ref()).and_then(|()| self.row(change.after.as_ref())).context(Kind::Storage, naming)?;
        }
        Ok(())
    }

    /// How often it is there, 0 where there is none; then the length of the document, and the document.
    fn row(&mut self, row: Option<&Row>) -> std::io::Result<()> {
        let Some(row) = row else { return self.file.write_all(&0_u64.to_le_bytes()) };
        let document = row.cells.first().cloned().flatten().unwrap_or_default();
        let length = u32::try_from(document.len()).map_err(|_| std::io::Error::other("a document of more than 4 GiB"))?;
        self.file.write_all(&row.count.max(1).to_le_bytes())?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&document)
    }

    pub fn read(self) -> Result<Reading> {
        let mut file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error).context(Kind::Storage, naming)?;
        file.seek(SeekFrom::Start(0)).context(Kind::Storage, naming)?;
        Ok(Reading { file: BufReader::new(file) })
    }
}

impl Reading {
    /// The next changes, in the order they were put; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Vec<RowChange>>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH {
            let before = match self.row() {
                Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => break,
                row => row.context(Kind::Storage, naming)?,
            };
            let after = self.row().context(Kind::Storage, naming)?;
            let size = |row: &Option<Row>| row.as_ref().and_then(|row| row.cells[0].as_ref()).map_or(0, Bytes::len);
            bytes += size(&before) + size(&after) + 32;
            let kind = match (&before, &after) {
                (None, Some(_)) => ChangeKind::Added,
                (Some(_), None) => ChangeKind::Removed,
                (Some(_), Some(_)) => ChangeKind::Changed,
                (None, None) => return Err(Error::internal("a change of no document")),
            };
            batch.push(RowChange { kind, before, after });
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn row(&mut self) -> std::io::Result<Option<Row>> {
        let (mut count, mut length) = ([0; 8], [0; 4]);
        self.file.read_exact(&mut count)?;
        let count = u64::from_le_bytes(count);
        if count == 0 {
            return Ok(None);
        }
        self.file.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > LONGEST {
            return Err(std::io::Error::other("a document that is too long"));
        }
        let mut document = vec![0; length as usize];
        self.file.read_exact(&mut document)?;
        Ok(Some(Row { cells: vec![Some(Bytes::from(document))], count }))
    }
}

fn naming() -> String {
    "keeping changes in a file".to_owned()
}
