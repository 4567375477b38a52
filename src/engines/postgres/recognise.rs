//! Tells from its first bytes whether an upload is a dump of PostgreSQL.

use super::statement::{first_word, is_of_mysql};
use crate::domain::artifact::DumpFormat;

/// Words that an SQL script may begin with.
const BEGINNINGS: &[&str] = &[
    "alter", "analyze", "begin", "comment", "copy", "create", "delete", "do", "drop", "grant", "insert", "lock", "merge", "refresh",
    "reset", "revoke", "select", "set", "start", "table", "truncate", "update", "vacuum", "values", "with",
];

/// A custom archive by its magic, a script by its first word unless it is written for MySQL or MariaDB. Directory and tar archives are not read.
pub fn recognise(head: &[u8]) -> Option<DumpFormat> {
    if head.starts_with(b"PGDMP") {
        return Some(DumpFormat::PgCustom);
    }
    // The head may end within a character.
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.contains('\0') || text.starts_with("SQLite format 3") {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}');
    let dumped = ["-- PostgreSQL database dump", "-- PostgreSQL database cluster dump"].iter().any(|line| text.contains(line));
    let begins = first_word(text).is_some_and(|word| BEGINNINGS.contains(&word.as_str()));
    let others = ["-- MySQL dump", "-- MariaDB dump", "-- phpMyAdmin"].iter().any(|line| text.contains(line)) || is_of_mysql(text);
    (dumped || (begins && !others)).then_some(DumpFormat::PlainSql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_and_scripts_are_recognised_and_other_files_are_not() {
        for (head, expect) in [
            (&b"PGDMP\x01\x0e\x00"[..], Some(DumpFormat::PgCustom)),
            (b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n", Some(DumpFormat::PlainSql)),
            (b"/* hello */\nCREATE TABLE t (a int);", Some(DumpFormat::PlainSql)),
            ("insert into t values ('\u{1f418}".as_bytes(), Some(DumpFormat::PlainSql)),
            (&"insert into t values ('\u{1f418}".as_bytes()[..25], Some(DumpFormat::PlainSql)),
            (b"--\n-- PostgreSQL database dump\n--\nCREATE FUNCTION f() RETURNS text AS '`/*!'", Some(DumpFormat::PlainSql)),
            (b"insert into t values ('`a`', \"`b`\");", Some(DumpFormat::PlainSql)),
            (b"-- MySQL dump 10.13\nSET a = 1;", None),
            (b"/*M!999999\\- enable the sandbox mode */ \nSET a = 1;", None),
            (b"/*!40101 SET NAMES binary*/;\nCREATE TABLE a (b int);", None),
            (b"CREATE TABLE `t` (`a` int);", None),
            (b"SQLite format 3\0", None),
            (b"\x7fELF\x02", None),
            (b"hello world", None),
            (b"", None),
        ] {
            assert_eq!(recognise(head), expect, "{}", String::from_utf8_lossy(head));
        }
    }
}
