//! Tells archives of mongodump by their first bytes.

use super::archive::MAGIC;
use crate::domain::artifact::DumpFormat;

pub fn recognise(head: &[u8]) -> Option<DumpFormat> {
    head.starts_with(&MAGIC).then_some(DumpFormat::MongoArchive)
}
