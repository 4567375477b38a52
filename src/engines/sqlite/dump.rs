//! A dump: a checked copy of the database file at one moment, then streamed.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::{
    ask, check, check_room, connect::Source, copy, faults::fault, header::Header, library_version, on_thread, probe, rows::SqliteSource,
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        events::Progress,
        run::Run,
        stream::{ByteSender, PIECE},
    },
    engines::{Dump, DumpFacts, RowSource},
    error::{Context, Error, Kind, Result},
};

/// A finished copy in the scratch folder; it goes when this is dropped.
pub(super) struct SqliteDump {
    facts: DumpFacts,
    folder: Arc<TempDir>,
}

/// The copy within its folder.
const COPY: &str = "copy.db";

impl SqliteDump {
    /// Copies the database, proves the copy whole and counts its rows. The copy is one self-contained file: its journal
    /// mode is `delete` even where the source uses a write-ahead log, so that it can be read from a read-only place.
    pub(super) fn open(path: &Path, patience: Duration, run: &Run) -> Result<Self> {
        let source = Source::open(path, patience, run)?;
        let size = source.size(patience, run)?;
        let mode: String = source.ask("PRAGMA journal_mode", patience, run)?;
        check_room(&run.scratch, size + size / 10)?;
        let folder = TempDir::new_in(&run.scratch).context(Kind::Storage, || format!("making a folder in {}", run.scratch.display()))?;
        let file = folder.path().join(COPY);

        let copying = |cause| fault(Kind::Backup, "writing", &file, cause);
        let mut copy = Connection::open(&file).map_err(copying)?;
        // Not OFF: a pass that is given up must leave the copy empty for the next one.
        copy.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY").map_err(copying)?;
        let moment = copy::copy_live(&source, &mut copy, patience, run)?;
        copy.close().map_err(|(_, cause)| copying(cause))?;
        source.check_unchanged()?;
        let mut warnings = probe::warnings(&source, &mode);
        let path = source.path.clone();
        // Nobody has to wait for the checks.
        drop(source);

        run.progress(&Progress { stage: "checking".into(), ..Progress::default() });
        let copy = super::connect::untrusted(&file, run)?;
        let checking = |cause| fault(Kind::Backup, "checking the copy of", &path, cause);
        ask::<String>(&copy, "PRAGMA journal_mode = DELETE").map_err(checking)?;
        let findings = check::integrity(&copy).map_err(checking)?;
        if !findings.damage.is_empty() {
            return Err(Error::new(Kind::Backup, format!("{} is damaged: {}", path.display(), findings.summary()))
                .hint("restore its last good backup, or save what can be read with the sqlite3 command .recover"));
        }
        let (counts, notes) = check::counts(&copy, "main").map_err(checking)?;
        copy.close().map_err(|(_, cause)| checking(cause))?;
        warnings.extend(findings.warnings.into_iter().take(20));
        warnings.extend(notes);
        let size = std::fs::metadata(&file).context(Kind::Storage, || format!("reading {}", file.display()))?.len();
        let header = head(&file)?;
        header.check_size(size)?;
        let facts = DumpFacts {
            moment,
            server_version: format!("SQLite {}", header.written_by),
            tool_version: Some(library_version()),
            size: Some(size),
            tables: Some(counts.len() as u64),
            counts: Some(counts),
            warnings,
        };
        Ok(Self { facts, folder: Arc::new(folder) })
    }
}

/// The header of a file that no connection has open.
pub(super) fn head(path: &Path) -> Result<Header> {
    let reading = || format!("reading {}", path.display());
    let mut head = Vec::with_capacity(100);
    File::open(path).context(Kind::Storage, reading)?.take(100).read_to_end(&mut head).context(Kind::Storage, reading)?;
    Header::read(&head)
}

#[async_trait]
impl Dump for SqliteDump {
    fn facts(&self) -> &DumpFacts {
        &self.facts
    }

    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::SqliteFile)]
    }

    async fn source(&mut self, run: &Run) -> Result<Box<dyn RowSource>> {
        let (folder, facts) = (Arc::clone(&self.folder), self.facts.clone());
        Ok(Box::new(on_thread(run, move |run| SqliteSource::copy(folder, COPY, &facts, run)).await?))
    }

    async fn write(&mut self, part: ArtifactKind, out: ByteSender, run: &Run) -> Result<()> {
        if part != ArtifactKind::Dump {
            return Err(Error::internal(format!("a SQLite dump has no part '{part}'")));
        }
        let path = self.folder.path().join(COPY);
        let reading = || format!("reading {}", path.display());
        let mut file = tokio::fs::File::open(&path).await.context(Kind::Storage, reading)?;
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            if run.until_cancelled(async { file.read_buf(&mut piece).await.context(Kind::Storage, reading) }).await? == 0 {
                return Ok(());
            }
            let gone = |_| Error::new(Kind::Backup, "whatever takes the dump has stopped reading it");
            run.until_cancelled(async { out.send(piece.freeze()).await.map_err(gone) }).await?;
        }
    }
}
