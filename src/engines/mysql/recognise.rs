//! Recognises dumps by their first bytes.

use crate::domain::artifact::DumpFormat;

/// The format of a dump that mysqldump or mariadb-dump wrote.
pub fn recognise(head: &[u8]) -> Option<DumpFormat> {
    let text = String::from_utf8_lossy(&head[..head.len().min(1024)]);
    (text.contains("-- MySQL dump ") || text.contains("-- MariaDB dump ")).then_some(DumpFormat::PlainSql)
}
