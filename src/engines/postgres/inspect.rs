//! Row counts and the end mark of a dump, read as it passes through the pipeline.

use super::archive::{Archive, Keep};
use crate::{
    domain::artifact::TableCount,
    engines::Inspector,
    error::{Error, Kind, Result},
};

/// Inspects a custom archive.
pub struct ArchiveInspector(Archive);

impl ArchiveInspector {
    pub fn new() -> Self {
        Self(Archive::new(Keep::Data))
    }
}

impl Inspector for ArchiveInspector {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.feed(bytes)
    }

    fn seen(&self) -> (u64, Option<String>) {
        let label = |entry: &super::archive::Entry| match &entry.schema {
            Some(schema) => format!("{schema}.{}", entry.tag),
            None => entry.tag.clone(),
        };
        (self.0.rows(), self.0.current().map(label))
    }

    fn finish(&mut self) -> Result<Vec<TableCount>> {
        self.0.finish()?;
        Ok(table_counts(&self.0))
    }
}

/// Tables and their rows, in the order of the archive.
pub fn table_counts(archive: &Archive) -> Vec<TableCount> {
    archive.counted().map(|(entry, rows)| TableCount { schema: entry.schema.clone(), name: entry.tag.clone(), rows }).collect()
}

/// Inspects SQL text: what pg_dump or pg_dumpall began must carry their last line.
#[derive(Default)]
pub struct ScriptInspector {
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// First line that the tools write, and their last one.
const MARKS: &[(&[u8], &[u8])] = &[
    (b"-- PostgreSQL database cluster dump", b"-- PostgreSQL database cluster dump complete"),
    (b"-- PostgreSQL database dump", b"-- PostgreSQL database dump complete"),
];

/// Bytes kept at either end of a script.
const EDGE: usize = 4096;

impl Inspector for ScriptInspector {
    fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let room = EDGE - self.head.len();
        self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(EDGE)..]);
        let old = self.tail.len().saturating_sub(EDGE);
        self.tail.drain(..old);
        Ok(())
    }

    fn seen(&self) -> (u64, Option<String>) {
        (0, None)
    }

    fn finish(&mut self) -> Result<Vec<TableCount>> {
        if self.head.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::new(Kind::Restore, "the SQL script is empty").hint("choose another file"));
        }
        let has = |text: &[u8], line: &[u8]| memchr::memmem::find(text, line).is_some();
        match MARKS.iter().find(|(first, _)| has(&self.head, first)) {
            Some((_, last)) if !has(&self.tail, last) => {
                Err(Error::new(Kind::Restore, "the SQL script is cut short: its last line is missing")
                    .hint("take another backup, or upload the file again"))
            }
            _ => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, good: bool) {
        let mut inspector = ScriptInspector::default();
        text.as_bytes().chunks(7).for_each(|piece| inspector.feed(piece).unwrap());
        assert_eq!(inspector.finish().is_ok(), good, "{text:.80}");
    }

    #[test]
    fn a_script_of_pg_dump_that_lost_its_end_is_refused() {
        let rows = "INSERT INTO t VALUES (1);\n".repeat(1000);
        check(&format!("--\n-- PostgreSQL database dump\n--\n{rows}--\n-- PostgreSQL database dump complete\n--\n\n"), true);
        check(&format!("--\n-- PostgreSQL database dump\n--\n{rows}"), false);
        check(&rows, true);
        check(" \n", false);
    }
}
