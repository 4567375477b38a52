//! The first 100 bytes of a SQLite file (<https://www.sqlite.org/fileformat2.html#the_database_header>), and the check
//! of a file that passes as a stream. Rows cannot be counted that way: `DumpFacts::counts` holds them.

use crate::{
    domain::artifact::TableCount,
    engines::Inspector,
    error::{Error, Kind, Result},
};

pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const LEN: usize = 100;

/// The facts of a header that are needed here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes.
    pub page_size: u32,
    /// `None` where a writer older than SQLite 3.7.0 left it stale.
    pub pages: Option<u32>,
    /// The library that wrote last, such as `3.45.1`.
    pub written_by: String,
}

impl Header {
    /// Errors when `bytes` are not the beginning of a SQLite database.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| {
            Err(Error::new(Kind::Validation, format!("this is not a SQLite database: {what}"))
                .hint("give a database file itself, not SQL text or an encrypted file"))
        };
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
            return wrong("it does not start with the mark 'SQLite format 3'");
        }
        let Some(header) = bytes.first_chunk::<LEN>() else { return wrong("its header of 100 bytes is cut short") };
        let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let page_size = match u32::from(u16::from_be_bytes([header[16], header[17]])) {
            1 => 65_536,
            size if size.is_power_of_two() && size >= 512 => size,
            size => return wrong(&format!("a page size of {size} is not possible")),
        };
        let version = word(96);
        // The count is valid where the library that wrote it also wrote the change counter beside its version.
        let pages = Some(word(28)).filter(|pages| *pages > 0 && word(24) == word(92));
        let written_by = format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000);
        Ok(Self { page_size, pages, written_by })
    }

    /// Errors unless a file of `size` bytes is all that the header announces.
    pub(super) fn check_size(&self, size: u64) -> Result<()> {
        let page = u64::from(self.page_size);
        let whole = match self.pages {
            Some(pages) => size == u64::from(pages) * page,
            None => size > 0 && size.is_multiple_of(page),
        };
        if whole {
            return Ok(());
        }
        let announced = self.pages.map_or("whole pages".to_owned(), |pages| format!("{} bytes", u64::from(pages) * page));
        Err(Error::new(Kind::Validation, format!("the SQLite file is not whole: {size} bytes came where its header announces {announced}"))
            .hint("copy the file again, with no writer at work, or use another backup"))
    }
}

/// Sees that a stream is a whole SQLite file.
#[derive(Default)]
pub(super) struct HeaderInspector {
    head: Vec<u8>,
    size: u64,
    header: Option<Header>,
}

impl Inspector for HeaderInspector {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.header.is_none() {
            let missing = LEN - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            if self.head.len() == LEN {
                self.header = Some(Header::read(&self.head)?);
            }
        }
        Ok(())
    }

    fn seen(&self) -> (u64, Option<String>) {
        (0, None)
    }

    fn finish(&mut self) -> Result<Vec<TableCount>> {
        match &self.header {
            Some(header) => header.check_size(self.size)?,
            None => Header::read(&self.head)?.check_size(self.size)?,
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header and pages as SQLite writes them.
    fn file(page_size: u16, pages: u32) -> Vec<u8> {
        let bytes = if page_size == 1 { 65_536 } else { usize::from(page_size) };
        let mut file = vec![0; bytes * pages as usize];
        file[..16].copy_from_slice(MAGIC);
        file[16..18].copy_from_slice(&page_size.to_be_bytes());
        file[28..32].copy_from_slice(&pages.to_be_bytes());
        file[96..100].copy_from_slice(&3_045_001u32.to_be_bytes());
        file
    }

    fn inspect(file: &[u8], pieces: usize) -> Result<Vec<TableCount>> {
        let mut inspector = HeaderInspector::default();
        for piece in file.chunks(pieces) {
            inspector.feed(piece)?;
        }
        inspector.finish()
    }

    #[test]
    fn a_header_is_read_as_specified() {
        let header = Header::read(&file(4096, 3)).unwrap();
        assert_eq!(header, Header { page_size: 4096, pages: Some(3), written_by: "3.45.1".into() });
        assert_eq!(Header::read(&file(1, 1)).unwrap().page_size, 65_536);
    }

    #[test]
    fn only_whole_files_pass() {
        for pieces in [1, 7, 100, 4096, 1 << 20] {
            let whole = file(4096, 3);
            assert!(inspect(&whole, pieces).is_ok());
            for cut in [0, 5, 99, 100, 4096, whole.len() - 1] {
                assert!(inspect(&whole[..cut], pieces).is_err(), "cut at {cut}");
            }
            let mut longer = whole.clone();
            longer.push(0);
            assert!(inspect(&longer, pieces).is_err());
        }
        assert!(inspect(b"PGDMP and so on", 4).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), magic: bool, pieces in 1usize..40) {
            if magic {
                let len = bytes.len().min(16);
                bytes[..len].copy_from_slice(&MAGIC[..len]);
            }
            let _ = inspect(&bytes, pieces);
        }
    }
}
