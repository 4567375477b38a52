//! Reads an archive as it passes, in pieces of any size. What it is fed may be hostile: at most one document and the
//! prelude are held, and nothing is believed but what the checksums prove.

use std::collections::HashMap;

use mongodb::bson::RawDocument;

use super::archive::{BUCKETS, BlockHeader, Crc64, Header, LARGEST_DOCUMENT, Listing, MAGIC, TERMINATOR, damaged};
use crate::error::Result;

/// What a server allows its own documents beyond the limit for those of users, bytes.
const SLACK: usize = 16 * 1024;
/// The smallest document, bytes.
const SMALLEST_DOCUMENT: usize = 5;
/// Most collections that an archive may list.
const MOST_LISTINGS: usize = 200_000;
/// Most bytes of definitions that an archive may hold.
const LARGEST_PRELUDE: usize = 64 * 1024 * 1024;

/// A collection or view of the archive and what was read of it.
#[derive(Debug)]
pub struct Listed {
    pub listing: Listing,
    /// The name that its blocks have; for a time-series collection that of its buckets, but for those of 8.3 and later.
    pub data_name: String,
    pub documents: u64,
    crc: Crc64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    NotBegun,
    Begun,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Magic,
    Header,
    Listings,
    BlockHeader,
    /// `None` in the block that ends a collection.
    Block(Option<usize>),
}

/// The state of the reading.
pub struct Reader {
    at: At,
    /// The beginning of what is not there whole yet.
    held: Vec<u8>,
    header: Option<Header>,
    listed: Vec<Listed>,
    /// By the database and the name that blocks have.
    places: HashMap<(String, String), usize>,
    prelude_size: usize,
    documents: u64,
}

impl Reader {
    pub fn new() -> Self {
        Self { at: At::Magic, held: Vec::new(), header: None, listed: Vec::new(), places: HashMap::new(), prelude_size: 0, documents: 0 }
    }

    /// Takes the next bytes. `sink` gets every document with the number of its collection in [`Reader::listed`].
    /// Errors when they cannot be part of an archive, and where `sink` does.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            if self.held.is_empty()
                && let Some(size) = self.whole(bytes)?
            {
                let (unit, rest) = bytes.split_at(size);
                self.take(unit, sink)?;
                bytes = rest;
                continue;
            }
            let lacking = self.needed(&self.held)? - self.held.len();
            let (next, rest) = bytes.split_at(lacking.min(bytes.len()));
            self.held.extend_from_slice(next);
            bytes = rest;
            if self.whole(&self.held)?.is_some() {
                let mut unit = std::mem::take(&mut self.held);
                self.take(&unit, sink)?;
                unit.clear();
                self.held = unit;
            }
        }
        Ok(())
    }

    /// The end of the input. Errors when the archive is cut short.
    pub fn finish(&self) -> Result<()> {
        let cut = |why: String| Err(damaged(format!("it is cut short: {why}")).hint("take another backup, or upload the file again"));
        match self.at {
            At::Magic | At::Header | At::Listings => return cut("it ends before its list of collections does".into()),
            At::BlockHeader if self.held.is_empty() => {}
            _ => return cut("it ends within a block".into()),
        }
        match self.listed.iter().find(|listed| listed.stage != Stage::Ended && !(listed.is_view() && listed.stage == Stage::NotBegun)) {
            Some(listed) => cut(format!("the end of {} is missing", listed.label())),
            None => Ok(()),
        }
    }

    /// What made the archive, once that was read.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The collections and views, complete once the first document has come.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    pub fn into_listed(self) -> Vec<Listed> {
        self.listed
    }

    /// Documents so far.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// The collection whose block is being read.
    pub fn current(&self) -> Option<&Listed> {
        match self.at {
            At::Block(Some(at)) => self.listed.get(at),
            _ => None,
        }
    }

    /// How long the unit that begins with `bytes` is, as far as that can be told from them.
    fn needed(&self, bytes: &[u8]) -> Result<usize> {
        let Some(first) = bytes.first_chunk::<4>() else { return Ok(4) };
        if self.at == At::Magic || *first == TERMINATOR {
            return Ok(4);
        }
        match usize::try_from(u32::from_le_bytes(*first)) {
            Ok(size) if (SMALLEST_DOCUMENT..=LARGEST_DOCUMENT + SLACK).contains(&size) => Ok(size),
            _ => Err(damaged(format!("{} is neither the length of a document nor the end of a block", u32::from_le_bytes(*first)))),
        }
    }

    fn whole(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let size = self.needed(bytes)?;
        Ok((bytes.len() >= size).then_some(size))
    }

    fn take(&mut self, unit: &[u8], sink: &mut impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        if self.at == At::Magic {
            if unit != MAGIC {
                return Err(damaged("it does not begin as archives of mongodump do"));
            }
            self.at = At::Header;
            return Ok(());
        }
        let ends = *unit == TERMINATOR;
        if !ends && unit.last() != Some(&0) {
            return Err(damaged("a document does not end where its length says"));
        }
        match self.at {
            At::Listings if ends => self.at = At::BlockHeader,
            At::Block(_) if ends => self.at = At::BlockHeader,
            _ if ends => return Err(damaged("a block without a header")),
            At::Magic | At::Header => {
                self.header = Some(Header::read(document(unit)?)?);
                self.at = At::Listings;
            }
            At::Listings => self.list(unit)?,
            At::BlockHeader => self.begin_block(&BlockHeader::read(document(unit)?)?)?,
            At::Block(None) => return Err(damaged("a document after the end of its collection")),
            At::Block(Some(at)) => {
                let listed = &mut self.listed[at];
                listed.crc.update(unit);
                listed.documents += 1;
                self.documents += 1;
                sink(at, unit)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, unit: &[u8]) -> Result<()> {
        self.prelude_size += unit.len();
        if self.listed.len() == MOST_LISTINGS || self.prelude_size > LARGEST_PRELUDE {
            return Err(damaged(format!(
                "it lists more than {MOST_LISTINGS} collections or {} MiB of their definitions",
                LARGEST_PRELUDE >> 20
            )));
        }
        let listing = Listing::read(document(unit)?)?;
        let at = self.listed.len();
        let data_name = listing.data_collection();
        if data_name != listing.collection {
            // What 8.3 and later write; a collection of that very name goes before.
            self.places.entry((listing.db.clone(), listing.collection.clone())).or_insert(at);
        }
        let taken = self.places.insert((listing.db.clone(), data_name.clone()), at);
        if taken.is_some_and(|other| self.listed[other].listing.collection == listing.collection) {
            return Err(damaged(format!("it lists {}.{} twice", listing.db, listing.collection)));
        }
        self.listed.push(Listed { listing, data_name, documents: 0, crc: Crc64::default(), stage: Stage::NotBegun });
        Ok(())
    }

    fn begin_block(&mut self, header: &BlockHeader) -> Result<()> {
        let Some(&at) = self.places.get(&(header.db.clone(), header.collection.clone())) else {
            return Err(damaged(format!("a block of {}.{}, which it does not list", header.db, header.collection)));
        };
        let listed = &mut self.listed[at];
        if listed.stage == Stage::Ended || (listed.stage == Stage::Begun && listed.data_name != header.collection) {
            return Err(damaged(format!("a block of {} after its end", listed.label())));
        }
        header.collection.clone_into(&mut listed.data_name);
        listed.stage = Stage::Begun;
        self.at = At::Block(Some(at));
        if let Some(crc) = header.end {
            if listed.crc.value() != crc {
                return Err(damaged(format!("the documents of {} do not have the checksum that it names", listed.label())));
            }
            listed.stage = Stage::Ended;
            self.at = At::Block(None);
        }
        Ok(())
    }
}

impl Listed {
    pub fn is_view(&self) -> bool {
        self.listing.kind == "view"
    }

    /// `database.collection`, for people.
    pub fn label(&self) -> String {
        format!("{}.{}", self.listing.db, self.listing.collection)
    }

    /// True for what stands for users, roles and the version of their form.
    pub fn is_account(&self) -> bool {
        let Listing { db, collection, .. } = &self.listing;
        collection.starts_with("$admin.")
            || (db == "admin" && ["system.users", "system.roles", "system.version"].contains(&collection.as_str()))
    }

    /// True when its documents are the buckets of a time-series collection, stored under a name of their own.
    pub fn has_buckets(&self) -> bool {
        self.listing.kind == "timeseries" && self.data_name.starts_with(BUCKETS)
    }
}

fn document(unit: &[u8]) -> Result<&RawDocument> {
    RawDocument::from_bytes(unit).map_err(|cause| damaged(format!("a header: {cause}")))
}
