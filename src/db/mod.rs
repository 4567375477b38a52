//! The embedded SQLite catalogue. All of the product's own SQL is here, one file per table.
//!
//! Its SQL stays in the subset that SQLite and PostgreSQL share, except in `open`. No rusqlite type leaves this
//! module. Reads go to a pool of read-only connections; there is one connection that writes, so that writers queue
//! here, fairly, and not on SQLite's lock.

use std::path::{Path, PathBuf};

use chrono::Utc;
use deadpool_sqlite::{Pool, rusqlite::Connection, rusqlite::Transaction, rusqlite::TransactionBehavior};

use crate::error::{Error, Kind, Result};
use fault::{Fault, Outcome};

pub mod alerts;
pub mod api_keys;
pub mod artifacts;
pub mod audit;
pub mod backup_copies;
pub mod backups;
pub mod databases;
pub mod diffs;
pub mod export_links;
mod fault;
mod in_use;
pub mod jobs;
pub mod lock;
pub mod logs;
pub mod manifest_writes;
pub mod metrics;
pub mod notices;
pub mod notifiers;
pub mod open;
pub mod projects;
mod query;
pub mod restores;
pub mod retention;
pub mod retention_policies;
pub mod rotation;
mod row;
pub mod schedule_runs;
pub mod schedules;
pub mod sessions;
pub mod settings;
pub mod stores;
pub mod users;

/// The opened catalogue; clones share its connections.
#[derive(Clone)]
pub struct Db {
    path: PathBuf,
    readers: Pool,
    writer: Pool,
}

/// The catalogue's file, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// Left by deleted rows: new ones go there first, and compacting gives it back to the disk.
    pub unused: u64,
}

impl Db {
    /// Opens the catalogue, making or migrating it as needed; see [`open::open`].
    pub async fn open(path: &Path) -> Result<Self> {
        open::open(path).await
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Errors when the catalogue cannot be read now.
    pub async fn ping(&self) -> Result<()> {
        self.read("reading the catalogue", |db| Ok(db.query_row("SELECT COUNT(*) FROM organizations", [], |_| Ok(()))?)).await
    }

    /// Errors with the first findings when the file is damaged.
    pub async fn check_integrity(&self) -> Result<()> {
        let findings = self
            .read("checking the catalogue", |db| {
                let mut statement = db.prepare("PRAGMA integrity_check(5)")?;
                let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
                Ok(rows.collect::<Result<Vec<_>, _>>()?)
            })
            .await?;
        if findings == ["ok"] {
            return Ok(());
        }
        Err(Error::new(Kind::Database, format!("the catalogue {} is damaged: {}", self.path.display(), findings.join("; ")))
            .hint("restore one of its own backups in the same folder, or run `dbsnap rebuild` with a new DATABASE_PATH"))
    }

    /// How large the file is, and how much of it is unused, bytes.
    pub async fn space(&self) -> Result<Space> {
        self.read("measuring the catalogue", |db| {
            let pragma = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
            let page = pragma("PRAGMA page_size")?;
            let bytes = |pages: i64| u64::try_from(pages.saturating_mul(page)).unwrap_or(0);
            Ok(Space { total: bytes(pragma("PRAGMA page_count")?), unused: bytes(pragma("PRAGMA freelist_count")?) })
        })
        .await
    }

    /// Compacts the file; writers wait meanwhile.
    pub async fn vacuum(&self) -> Result<()> {
        let doing = "compacting the catalogue";
        let connection = self.writer.get().await.map_err(|cause| unavailable(doing, cause))?;
        let done = connection.interact(|connection| connection.execute_batch("VACUUM")).await.map_err(|cause| unavailable(doing, cause))?;
        done.map_err(|cause| Fault::from(cause).explain(doing))
    }

    /// Keeps today's copy of the file beside it, if there is none yet: a way back when the file is damaged. It can be
    /// called as often as one likes; writers are not held up.
    pub async fn keep_daily_copy(&self) -> Result<bool> {
        let path = self.path.clone();
        self.read("copying the catalogue", move |db| Ok(open::keep_daily_copy(db, &path, Utc::now().date_naive())?)).await
    }

    /// Runs queries on one read-only connection. `doing` says what for, for the error.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let connection = self.readers.get().await.map_err(|cause| unavailable(doing, cause))?;
        let done = connection.interact(move |connection| work(connection)).await.map_err(|cause| unavailable(doing, cause))?;
        done.map_err(|fault| fault.explain(doing))
    }

    /// Runs statements in one transaction on the writing connection; all of them take effect or none does.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let connection = self.writer.get().await.map_err(|cause| unavailable(doing, cause))?;
        let whole = move |connection: &mut Connection| -> Outcome<T> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = connection.interact(whole).await.map_err(|cause| unavailable(doing, cause))?;
        done.map_err(|fault: Fault| fault.explain(doing))
    }
}

fn unavailable(doing: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, format!("{doing}: the catalogue cannot be used: {cause}")).retryable()
}
