//! Reads an archive as it passes: counts documents and finds the end.

use crate::{
    domain::artifact::TableCount,
    engines::Inspector,
    error::{Error, Result},
};

#[derive(Default)]
pub struct ArchiveInspector {}

impl Inspector for ArchiveInspector {
    fn feed(&mut self, _bytes: &[u8]) -> Result<()> {
        Err(Error::internal("archives are not read yet"))
    }

    fn seen(&self) -> (u64, Option<String>) {
        (0, None)
    }

    fn finish(&mut self) -> Result<Vec<TableCount>> {
        Err(Error::internal("archives are not read yet"))
    }
}
