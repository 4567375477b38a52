//! Row counts and the end mark of a script, read as it passes through the pipeline.

use super::{contents::Contents, lexer::Lexer};
use crate::{
    domain::artifact::TableCount,
    engines::Inspector,
    error::{Error, Kind, Result},
};

/// What the dump programs write first, and in their last line.
const MARKS: &[(&[u8], &[u8])] =
    &[(b"-- MySQL dump ", b"-- Dump completed"), (b"-- MariaDB dump ", b"-- Dump completed"), (b"-- mysqldump", b"-- Dump completed")];
/// Bytes kept at either end of a script.
const EDGE: usize = 1024;

/// Reads a script of MySQL or MariaDB.
#[derive(Default)]
pub struct ScriptInspector {
    lexer: Lexer,
    contents: Contents,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl ScriptInspector {
    /// What it held, once it has ended.
    pub fn into_contents(self) -> Contents {
        self.contents
    }
}

impl Inspector for ScriptInspector {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let room = EDGE - self.head.len();
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(EDGE)..]);
        let old = self.tail.len().saturating_sub(EDGE);
        self.tail.drain(..old);
        self.lexer.feed(bytes, &mut self.contents)
    }

    fn seen(&self) -> (u64, Option<String>) {
        self.contents.seen()
    }

    fn finish(&mut self) -> Result<Vec<TableCount>> {
        if self.head.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::new(Kind::Restore, "the SQL script is empty").hint("choose another file"));
        }
        let cut = |what: &str| {
            Error::new(Kind::Restore, format!("the SQL script is cut short: {what}")).hint("take another backup, or upload the file again")
        };
        let has = |text: &[u8], mark: &[u8]| memchr::memmem::find(text, mark).is_some();
        let mark = MARKS.iter().find(|(first, _)| has(&self.head, first));
        if let Some((_, last)) = mark {
            // Its line is the last one, and whole.
            let whole = memchr::memmem::rfind(&self.tail, last)
                .is_some_and(|place| self.tail[place..].ends_with(b"\n") && !self.tail[place..].trim_ascii_end().contains(&b'\n'));
            if !whole {
                return Err(cut("its last line, 'Dump completed', is missing"));
            }
        }
        self.lexer.finish(&mut self.contents).map_err(|error| cut(&error.to_string()))?;
        match &self.contents.refusal {
            // What a dump program wrote is looked at again when it is to be restored.
            Some((line, why)) if mark.is_none() => Err(refused(*line, why)),
            _ => Ok(self.contents.counts()),
        }
    }
}

/// The error for a statement that is not run.
pub fn refused(line: u64, why: &str) -> Error {
    Error::new(Kind::Restore, format!("line {line}: {why}; nothing was run")).hint("remove it from the script")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "-- MariaDB dump 10.19\n--\nDROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (\n  `a;b` text\n) ENGINE=InnoDB;\n\
        INSERT INTO `t` VALUES ('a),(\\'b'),\n('it''s'),(NULL);\nINSERT INTO `t` VALUES (f(1,(2)));\n\
        CREATE TABLE `empty` (a int);\n-- Dump completed on 2026-01-01  1:00:00\n";

    fn read(text: &[u8], piece: usize) -> Result<Vec<(String, u64)>> {
        let mut inspector = ScriptInspector::default();
        for piece in text.chunks(piece) {
            inspector.feed(piece)?;
        }
        Ok(inspector.finish()?.into_iter().map(|table| (table.label(), table.rows)).collect())
    }

    #[test]
    fn rows_are_counted_per_table_however_the_text_is_cut() {
        for piece in [1, 2, 3, 7, 64, 100_000] {
            assert_eq!(read(DUMP.as_bytes(), piece).unwrap(), [("t".to_owned(), 4), ("empty".to_owned(), 0)], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_dump_that_lost_its_end_is_refused() {
        for cut in [0, 1, 100, DUMP.len() / 2, DUMP.len() - 30, DUMP.len() - 1] {
            assert!(read(&DUMP.as_bytes()[..cut], 64).is_err(), "cut at {cut}");
        }
        assert!(read(b"INSERT INTO t VALUES (1),(2", 64).is_err(), "inside a row");
        assert!(read(b"SELECT 'x", 64).is_err(), "inside a text");
        assert_eq!(read(b"INSERT INTO t VALUES (1),(2)", 64).unwrap(), [("t".to_owned(), 2)], "the last delimiter may be missing");
    }

    #[test]
    fn rows_of_several_databases_are_told_apart_and_stand_ins_of_views_are_no_tables() {
        let script = b"CREATE DATABASE `a`; USE `a`; CREATE TABLE t (x int); INSERT INTO t VALUES (1);
            CREATE TABLE `v` (x int); USE `b`; CREATE TABLE t (x int); INSERT INTO t (x) VALUES (1),(2);
            USE a; DROP TABLE IF EXISTS v; CREATE VIEW `v` AS SELECT 1; USE mysql; GRANT x; INSERT INTO user VALUES (1);";
        assert_eq!(read(script, 5).unwrap(), [("a.t".to_owned(), 1), ("b.t".to_owned(), 2)]);
    }
}
