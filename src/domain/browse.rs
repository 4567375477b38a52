//! Rows of a backup, as they are looked at without restoring it.

use serde::{Deserialize, Serialize};

use super::{
    diff::{Change, ValueView},
    ids::BackupId,
    time::Moment,
};

/// A table in a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableInfo {
    /// `schema.name`: what addresses call it.
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub name: String,
    /// Those that rows have values for, in their order in the table.
    pub columns: Vec<RowColumn>,
    /// The names of the columns that make the key; empty where the whole row does.
    pub key: Vec<String>,
    /// Rows in the snapshot.
    pub rows: u64,
    /// Rows as they are paged: equal ones of a table without a key count once.
    pub distinct: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// Share of the rows that were kept, 0 to 1, where it is a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<f64>,
    /// The root of its hashes, hex: equal for equal rows under one key.
    pub root: String,
}

/// A column that rows have values for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowColumn {
    pub name: String,
    /// As the engine writes it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How values are written, such as `integer`, `json`, `bson`.
    pub class: String,
    /// Part of the key.
    pub key: bool,
}

/// Which rows of a table are wanted.
#[derive(Debug, Clone, PartialEq, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct RowQuery {
    /// Counts from 1. Not used together with `q` or `key`.
    pub page: u32,
    /// Rows on a page, 1 to 200.
    pub limit: u32,
    /// The one row with this key: the value of the key column; of several columns a JSON array of their values; or a row's
    /// own `key` as a page gave it.
    pub key: Option<String>,
    /// Text that a value of the row holds, whatever its case. Rows are looked through for a second or two; `next` tells where
    /// to go on.
    pub q: Option<String>,
    /// Where a search goes on: the `next` of the page before.
    pub after: Option<String>,
    /// Whole values, up to 4 MB each, not only their beginning. Only with `key`.
    pub full: bool,
}

impl Default for RowQuery {
    fn default() -> Self {
        Self { page: 1, limit: 50, key: None, q: None, after: None, full: false }
    }
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowPage {
    pub table: TableInfo,
    pub rows: Vec<RowView>,
    pub page: u32,
    pub limit: u32,
    /// Rows that the query takes; `None` while a search has not seen all.
    pub total: Option<u64>,
    /// Rows that a search looked at for this page.
    pub searched: u64,
    /// Where a search goes on; `None` at its end.
    pub next: Option<String>,
}

impl RowPage {
    /// Number of pages, at least 1; 1 for a search.
    pub fn pages(&self) -> u32 {
        let pages = self.total.unwrap_or(0).div_ceil(u64::from(self.limit.max(1)));
        u32::try_from(pages).unwrap_or(u32::MAX).max(1)
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowView {
    /// What names it in `RowQuery::key` and in a history.
    pub key: String,
    /// One for each column.
    pub cells: Vec<ValueView>,
    /// How often it is there: more than 1 only in tables without a key.
    pub count: u64,
}

/// What one row was from a moment on.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RowVersion {
    /// The first snapshot that has it so.
    pub backup_id: BackupId,
    pub moment: Moment,
    /// Against the snapshot before: added, changed, or removed. The oldest is `added`, also where it was there earlier.
    pub change: Change,
    pub columns: Vec<RowColumn>,
    /// `None` when the row is not there any more.
    pub row: Option<RowView>,
    /// Names of the columns that changed, came or went.
    pub changed: Vec<String>,
    /// Snapshots in a row that have it so, this one included.
    pub snapshots: u32,
}
