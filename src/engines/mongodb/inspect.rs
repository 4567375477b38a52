//! Reads an archive as it passes: counts documents and finds the end.

use std::collections::BTreeSet;

use super::reader::{Listed, Reader};
use crate::{domain::artifact::TableCount, engines::Inspector, error::Result};

/// Inspects an archive.
pub struct ArchiveInspector(Reader);

impl ArchiveInspector {
    pub fn new() -> Self {
        Self(Reader::new())
    }
}

impl Inspector for ArchiveInspector {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.feed(bytes, &mut |_, _| Ok(()))
    }

    fn seen(&self) -> (u64, Option<String>) {
        (self.0.documents(), self.0.current().map(Listed::label))
    }

    fn finish(&mut self) -> Result<Vec<TableCount>> {
        self.0.finish()?;
        Ok(counts(self.0.listed()))
    }
}

/// Collections and their documents, in the order of the archive. A time-series collection counts its buckets, under their
/// own name. Views, users and roles are no collections. Where all are of one database it is not named, so that they
/// compare with those of a database called otherwise.
pub fn counts(listed: &[Listed]) -> Vec<TableCount> {
    let collections = || listed.iter().filter(|listed| !listed.is_view() && !listed.is_account());
    let databases: BTreeSet<_> = collections().map(|listed| listed.listing.db.as_str()).collect();
    let several = databases.len() > 1;
    let count = |listed: &Listed| TableCount {
        schema: several.then(|| listed.listing.db.clone()),
        name: listed.data_name.clone(),
        rows: listed.documents,
    };
    collections().map(count).collect()
}
