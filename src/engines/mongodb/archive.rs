//! The archive that `mongodump --archive` writes: its parts as bytes. The format is that of mongo-tools'
//! `common/archive`, version 0.1:
//!
//! - a prelude: [`MAGIC`], one [`Header`], one [`Listing`] per collection or view, [`TERMINATOR`];
//! - blocks: one [`BlockHeader`], documents of that collection, [`TERMINATOR`]. Blocks of several collections may
//!   alternate; the last block of each has no documents, `EOF` set and the checksum of all its documents' bytes.
//!
//! Headers and documents are BSON, numbers little-endian.

use mongodb::bson::{RawDocument, RawDocumentBuf, rawdoc};

use crate::error::{Error, Kind, Result};

/// The first four bytes.
pub const MAGIC: [u8; 4] = 0x8199_e26d_u32.to_le_bytes();

/// Ends the prelude and every block.
pub const TERMINATOR: [u8; 4] = [0xff; 4];

/// Largest document that mongo-tools read, bytes.
pub const LARGEST_DOCUMENT: usize = 16 * 1024 * 1024;

/// Names that stand for collections of the `admin` database, filtered by the database they are listed in.
pub const USERS: &str = "$admin.system.users";
pub const ROLES: &str = "$admin.system.roles";
pub const AUTH_VERSION: &str = "$admin.system.version";

/// What the name of a time-series collection's own storage begins with, in servers before 8.3.
pub const BUCKETS: &str = "system.buckets.";

const FORMAT: &str = "0.1";

/// What made the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub concurrent_collections: i32,
    /// Such as `7.0.5`.
    pub server_version: String,
    pub tool_version: String,
}

/// A collection or view that the archive holds, as its prelude tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub db: String,
    /// A time-series collection is listed by its own name; its documents are those of [`BUCKETS`] + its name.
    pub collection: String,
    /// JSON, see [`super::metadata::Metadata`]; empty for [`USERS`], [`ROLES`] and [`AUTH_VERSION`].
    pub metadata: String,
    /// `collection`, `view`, `timeseries`, or empty.
    pub kind: String,
}

/// What stands before the documents of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    pub db: String,
    pub collection: String,
    /// In the last block of a collection, which has no documents: [`Crc64`] of all its documents.
    pub end: Option<u64>,
}

impl Header {
    pub fn to_bson(&self) -> RawDocumentBuf {
        rawdoc! {
            "concurrent_collections": self.concurrent_collections,
            "version": FORMAT,
            "server_version": self.server_version.as_str(),
            "tool_version": self.tool_version.as_str(),
        }
    }

    /// Errors when it is not a header of this format.
    pub fn read(document: &RawDocument) -> Result<Self> {
        let version = text(document, "version")?;
        if version != FORMAT {
            return Err(damaged(format!("its format is '{version}'")).hint(format!("DBSnap reads archives of the format {FORMAT}")));
        }
        Ok(Self {
            concurrent_collections: document.get_i32("concurrent_collections").unwrap_or(1),
            server_version: text(document, "server_version")?,
            tool_version: text(document, "tool_version")?,
        })
    }
}

impl Listing {
    pub fn to_bson(&self) -> RawDocumentBuf {
        rawdoc! {
            "db": self.db.as_str(),
            "collection": self.collection.as_str(),
            "metadata": self.metadata.as_str(),
            "size": 0_i32,
            "type": self.kind.as_str(),
        }
    }

    pub fn read(document: &RawDocument) -> Result<Self> {
        // Archives of mongodump before 100 have no type.
        let kind = document.get("type").ok().flatten().and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
        Ok(Self { db: text(document, "db")?, collection: text(document, "collection")?, metadata: text(document, "metadata")?, kind })
    }

    /// The name that blocks have which hold its documents.
    pub fn data_collection(&self) -> String {
        if self.kind == "timeseries" { format!("{BUCKETS}{}", self.collection) } else { self.collection.clone() }
    }
}

impl BlockHeader {
    pub fn to_bson(&self) -> RawDocumentBuf {
        rawdoc! {
            "db": self.db.as_str(),
            "collection": self.collection.as_str(),
            "EOF": self.end.is_some(),
            "CRC": self.end.unwrap_or(0).cast_signed(),
        }
    }

    pub fn read(document: &RawDocument) -> Result<Self> {
        let end = document.get_bool("EOF").map_err(|cause| damaged(format!("a block's header: {cause}")))?;
        let crc = document.get_i64("CRC").map_err(|cause| damaged(format!("a block's header: {cause}")))?;
        Ok(Self { db: text(document, "db")?, collection: text(document, "collection")?, end: end.then_some(crc.cast_unsigned()) })
    }
}

/// The error for bytes that are no such archive.
pub fn damaged(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Validation, format!("the archive is damaged: {why}"))
}

fn text(document: &RawDocument, key: &str) -> Result<String> {
    document.get_str(key).map(str::to_owned).map_err(|cause| damaged(format!("a header: {cause}")))
}

/// CRC-64 with the polynomial of ECMA-182, reflected (as `crc64.ECMA` of Go, also known as CRC-64/XZ).
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc64(u64);

impl Crc64 {
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = !self.0;
        let mut groups = bytes.chunks_exact(16);
        for group in &mut groups {
            // Sixteen bytes at a time: each finds in its own table what it does to the sum once the others have passed.
            let mut eight = [0; 8];
            eight.copy_from_slice(&group[..8]);
            let first = (crc ^ u64::from_le_bytes(eight)).to_le_bytes();
            crc = 0;
            for (at, byte) in first.iter().chain(&group[8..]).enumerate() {
                crc ^= CRC_TABLES[15 - at][usize::from(*byte)];
            }
        }
        for byte in groups.remainder() {
            crc = CRC_TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
        }
        self.0 = !crc;
    }

    pub fn value(self) -> u64 {
        self.0
    }
}

static CRC_TABLES: [[u64; 256]; 16] = crc_tables();

const fn crc_tables() -> [[u64; 256]; 16] {
    const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 16 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_go() {
        let sum = |bytes: &[u8]| {
            let mut crc = Crc64::default();
            crc.update(bytes);
            crc.value()
        };
        // The check value of CRC-64/XZ in the catalogue of parametrised CRC algorithms.
        assert_eq!(sum(b"123456789"), 0x995D_C9BB_DF19_39FA);
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for split in [0, 1, 15, 16, 17, 500, 1000] {
            let mut crc = Crc64::default();
            crc.update(&bytes[..split]);
            crc.update(&bytes[split..]);
            assert_eq!(
                crc.value(),
                bytes
                    .iter()
                    .fold(Crc64::default(), |mut crc, byte| {
                        crc.update(&[*byte]);
                        crc
                    })
                    .value()
            );
        }
    }

    #[test]
    fn every_part_reads_back_as_it_was_written() {
        let header = Header { concurrent_collections: 1, server_version: "7.0.5".into(), tool_version: "dbsnap".into() };
        assert_eq!(Header::read(&header.to_bson()).unwrap(), header);
        let listing = Listing { db: "d".into(), collection: "c.🐘".into(), metadata: "{}".into(), kind: "timeseries".into() };
        assert_eq!(Listing::read(&listing.to_bson()).unwrap(), listing);
        assert_eq!(listing.data_collection(), "system.buckets.c.🐘");
        for end in [None, Some(u64::MAX - 3)] {
            let block = BlockHeader { db: "d".into(), collection: "c".into(), end };
            assert_eq!(BlockHeader::read(&block.to_bson()).unwrap(), block);
        }
    }
}
