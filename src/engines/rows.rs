//! Rows and schema of a live database at one moment, and changes written back into one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use crate::domain::restore::{Applied, OnConflict};
use crate::{
    domain::{database::Settings, run::Run, time::Moment},
    error::Result,
    snapshot::{RowChange, RowSender, Schema, Table, TableName},
};

/// How the rows of a table come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ascending by key, bytewise as `snapshot::encode_part` writes it: an index gives it.
    Key,
    /// In any order: whoever needs them ordered sorts them.
    Any,
}

/// What is known of a source's moment.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    pub moment: Moment,
    /// Such as `PostgreSQL 17.2`.
    pub server_version: String,
    /// The server's own marks of the moment, kept in the snapshot for a later fast comparison with the live database.
    /// PostgreSQL: `system`, `timeline`, `snapshot`, `oid:<schema>.<table>`. Empty where there is no fast tier.
    pub marks: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

/// One consistent moment of a database, read table by table, without harm: read-only, with the timeouts of its options.
/// It ends when this is dropped.
#[async_trait]
pub trait RowSource: Send {
    fn facts(&self) -> &SourceFacts;

    /// Tables in scope and every object of the schema.
    fn schema(&self) -> &Schema;

    fn order(&self, table: &Table) -> Order;

    /// An estimate of the rows, for progress.
    fn estimate(&self, _table: &Table) -> Option<u64> {
        None
    }

    /// Sends the rows of a table whose keys lie in `range`, all of them where it is open on both sides. `Ok` means that
    /// every row was sent and flushed. A source whose table has no key ignores the range.
    async fn rows(&mut self, table: &Table, range: &KeyRange, out: RowSender, run: &Run) -> Result<()>;

    /// The fast tier: of each of these neighbouring key ranges with the number of rows they had at the moment that
    /// `marks` are of, whether something may have changed since. `None` where it cannot be told; the reason is logged.
    /// `false` is a promise.
    async fn touched(
        &mut self,
        _table: &Table,
        _ranges: &[(KeyRange, u64)],
        _marks: &BTreeMap<String, String>,
        _run: &Run,
    ) -> Result<Option<Vec<bool>>> {
        Ok(None)
    }
}

/// Keys after `after` (exclusive) up to `to` (inclusive), as `snapshot::encode_part` writes them; `None` is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRange {
    pub after: Option<Vec<u8>>,
    pub to: Option<Vec<u8>>,
}

impl KeyRange {
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether a key lies in it.
    pub fn holds(&self, key: &[u8]) -> bool {
        self.after.as_deref().is_none_or(|after| key > after) && self.to.as_deref().is_none_or(|to| key <= to)
    }
}

/// How changes are written.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    pub on_conflict: OnConflict,
    /// Everything is tried in a transaction that is rolled back at its end, where the engine has them; else only compared.
    pub dry_run: bool,
}

/// A live database that changes are written into. Dropped without [`RowTarget::commit`], nothing of it stays, where the
/// engine has transactions.
#[async_trait]
pub trait RowTarget: Send {
    /// The schema as it is there.
    fn schema(&self) -> &Schema;

    /// Makes what `wanted` has and the target has not, before (`rows_loaded` false: schemas, types, tables, sequences,
    /// keys) or after the rows (indexes, foreign keys, views, routines, triggers, sequence values).
    async fn create(&mut self, wanted: &Schema, rows_loaded: bool, run: &Run) -> Result<Vec<String>>;

    /// Writes changes of one table, in the order they come. Their cells are those of `table`'s stored columns.
    /// With [`OnConflict::Stop`] the error names the first conflicts.
    async fn apply(&mut self, table: &Table, changes: mpsc::Receiver<Vec<RowChange>>, options: ApplyOptions, run: &Run) -> Result<Applied>;

    /// Makes it last. A dry run rolls back instead.
    async fn commit(self: Box<Self>, run: &Run) -> Result<()>;
}

/// Writes changes as statements of the engine's language, for a person to read and run.
pub trait Script: Send + Sync {
    /// What comes first, such as `BEGIN;`.
    fn begin(&self, title: &str) -> String;

    /// One change as one statement with its line end, guarded by the old values.
    fn change(&self, table: &Table, change: &RowChange) -> Result<String>;

    fn end(&self) -> String;
}

/// Tables in an order in which rows can be inserted: those that foreign keys point to first. Tables in a cycle come last,
/// in the order of their names.
pub fn insert_order(schema: &Schema) -> Vec<TableName> {
    let mut waiting: Vec<_> = schema.tables.iter().map(|table| table.name.clone()).collect();
    waiting.sort();
    let mut ordered: Vec<TableName> = Vec::with_capacity(waiting.len());
    loop {
        let ready = |table: &TableName, ordered: &[TableName]| {
            schema.objects.iter().filter(|object| object.table.as_ref() == Some(table)).all(|object| {
                object.references.as_ref().is_none_or(|other| other == table || ordered.contains(other) || !waiting.contains(other))
            })
        };
        let (now, later): (Vec<_>, Vec<_>) = waiting.iter().cloned().partition(|table| ready(table, &ordered));
        if now.is_empty() {
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(now);
        waiting = later;
    }
}

/// What a source is opened with beside its settings: the same dump options that choose tables and set timeouts.
pub type SourceOptions = Settings;
