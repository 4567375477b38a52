//! Comparisons: what two moments of a database have different, as it is asked for, kept and shown.

use serde::{Deserialize, Serialize};

use super::{
    backup::text_enum,
    ids::{BackupId, DatabaseId, DiffId, JobId},
    time::Moment,
};

text_enum! {
    DiffStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
    }
}

impl DiffStatus {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

text_enum! {
    /// How rows are found that need not be read.
    DiffTier {
        /// The fast tier where the live database can promise that rows are unchanged, the full one otherwise.
        Auto = "auto",
        /// Every live row is read.
        Full = "full",
    }
}

text_enum! {
    Side {
        Before = "before",
        After = "after",
    }
}

text_enum! {
    /// How a patch is written.
    PatchFormat {
        /// Statements of the engine's language, each guarded by the old values.
        Sql = "sql",
        /// Changes as JSON, those of documents as RFC 6902.
        Json = "json",
    }
}

text_enum! {
    /// What happened to a thing between the two moments.
    Change {
        Added = "added",
        Removed = "removed",
        Changed = "changed",
    }
}

impl Change {
    /// A sign that tells it without colour.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "−",
            Self::Changed => "~",
        }
    }
}

/// One side of a comparison: exactly one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SideRef {
    /// The snapshot of a backup.
    BackupId(BackupId),
    /// The live database, as it is when the comparison runs.
    DatabaseId(DatabaseId),
}

/// How two moments are compared. `{}` is valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DiffOptions {
    /// Tables to compare, as `name` or `schema.name`, `*` for any text; empty means all.
    pub tables: Vec<String>,
    /// Columns whose changes are hidden and counted: `column`, `table.column` or `schema.table.column`; `*` for any text.
    pub ignore_columns: Vec<String>,
    /// Numbers of float columns that differ by no more are equal.
    pub float_tolerance: f64,
    /// Times that differ by no more milliseconds are equal.
    pub time_tolerance_ms: u64,
    /// Spaces at the end of text do not count.
    pub ignore_trailing_space: bool,
    /// Upper and lower case of text are equal.
    pub ignore_case: bool,
    pub tier: DiffTier,
    /// Rows read from the live database per second at most; 0 means as fast as it goes.
    pub rows_per_second: u64,
    /// Of each statement on the live database, seconds.
    pub statement_timeout_seconds: u64,
    /// Of waiting for a lock on the live database, seconds.
    pub lock_timeout_seconds: u64,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            ignore_columns: Vec::new(),
            float_tolerance: 0.0,
            time_tolerance_ms: 0,
            ignore_trailing_space: false,
            ignore_case: false,
            tier: DiffTier::Auto,
            rows_per_second: 0,
            statement_timeout_seconds: 3600,
            lock_timeout_seconds: 10,
        }
    }
}

/// One comparison, a row of the catalogue. Its changes are in a report file.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    pub id: DiffId,
    /// The configured database the sides are of; `None` when it was removed.
    pub database_id: Option<DatabaseId>,
    pub database_name: String,
    pub engine: String,
    pub before: SideRef,
    pub after: SideRef,
    /// For people: `2026-11-16 14:30:22 UTC (daily)`, `live database`.
    pub before_label: String,
    pub after_label: String,
    pub options: DiffOptions,
    pub status: DiffStatus,
    pub job_id: Option<JobId>,
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    pub error: Option<String>,
    /// Bytes of the report file.
    pub report_size: u64,
    /// What was found, once it is completed; while it runs, what was found so far.
    pub summary: Option<DiffSummary>,
}

/// What a comparison found, without the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffSummary {
    /// No row and nothing of the schema differs; what was hidden does not count.
    pub equal: bool,
    pub tables: Vec<TableDiff>,
    pub schema: Vec<SchemaChange>,
    pub provenance: Provenance,
}

/// What became of one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableDiff {
    /// `schema.name`; after a rename the new name.
    pub name: String,
    /// The whole table came or went, or is likely another one under a new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Change>,
    /// The name before, of a table that was likely renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Changed rows that the options hide.
    pub hidden: u64,
    /// Rows are compared as a multiset: the table has no key.
    #[serde(default)]
    pub keyless: bool,
    /// Share of the rows that were kept, where one side is a sample: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<f64>,
    /// Columns of both sides, those before first; of documents, the fields that changed.
    pub columns: Vec<ColumnDiff>,
    /// What a person should know, such as a key whose type changed.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl TableDiff {
    /// Rows that differ.
    pub fn changes(&self) -> u64 {
        self.added + self.removed + self.changed
    }

    pub fn is_equal(&self) -> bool {
        self.changes() == 0 && self.table.is_none() && self.renamed_from.is_none()
    }
}

/// One column of a compared table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDiff {
    pub name: String,
    /// Its type after, or before where it is gone.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How values are written, such as `integer`, `json`, `bson`.
    pub class: String,
    /// Part of the key.
    pub key: bool,
    /// It is there on this side.
    pub before: bool,
    pub after: bool,
    /// Changed rows in which it changed.
    pub changed: u64,
}

/// One change of the schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaChange {
    /// The table it belongs to, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// `table`, `column`, `index`, `foreign key`, `view` and so on.
    pub object: String,
    pub name: String,
    pub change: Change,
    /// One readable line, such as `column users.email: type varchar(80) → varchar(200)`.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How a comparison came to its result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    pub before: SideFacts,
    pub after: SideFacts,
    /// `hash`: both are snapshots under one key; `fast`: live rows were vouched for by the server; `full`: every row was read.
    pub tier: String,
    /// Why not a faster one, and other things to know.
    pub notes: Vec<String>,
    /// Leaves of both snapshots together.
    pub leaves: u64,
    /// Of these, not read because their hashes are equal or the server vouched for them.
    pub leaves_skipped: u64,
    /// Rows of both sides together.
    pub rows: u64,
    /// Of these, not read.
    pub rows_skipped: u64,
    pub duration_ms: u64,
}

/// One side's moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SideFacts {
    pub label: String,
    /// `snapshot` or `live`.
    pub kind: String,
    pub moment: Option<Moment>,
    pub server_version: String,
    pub rows: u64,
    pub bytes: u64,
}

/// Which changes are wanted. Empty fields ask for all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::IntoParams, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ChangeFilter {
    pub table: Option<String>,
    pub kind: Option<Change>,
    /// Changed rows in which this column changed.
    pub column: Option<String>,
    /// Text that the key or a changed value holds, whatever its case.
    pub q: Option<String>,
    /// Columns, separated by commas: rows in which nothing else changed are left out and counted.
    pub ignore: Option<String>,
}

/// A page of changes of one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangePage {
    pub table: String,
    pub columns: Vec<ColumnDiff>,
    pub changes: Vec<ChangeView>,
    /// Changes that the filter takes; `None` while a text search has not seen all.
    pub total: Option<u64>,
    /// Changed rows that `ignore` leaves out.
    pub ignored: u64,
    /// Where a text search goes on; `None` at its end.
    pub next: Option<String>,
}

/// One changed row.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// Its place among all changes of the table, from 0: what a restore of chosen rows names it by.
    pub at: u64,
    pub kind: Change,
    /// The values of the key's columns, for people.
    pub key: Vec<String>,
    /// One for each of the page's columns.
    pub cells: Vec<CellView>,
    /// How often the row is there before and after, in a table without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<(u64, u64)>,
}

/// One value of a changed row on both sides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellView {
    pub changed: bool,
    /// `None` where the side has no such row or column.
    pub before: Option<ValueView>,
    pub after: Option<ValueView>,
    /// Of documents and JSON: the paths that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathChange>,
}

/// One value, for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueView {
    /// `None` is NULL. Bytes are hex with `\x` in front.
    pub text: Option<String>,
    /// Size of the whole value, bytes.
    pub bytes: u64,
    /// `text` holds only its beginning.
    #[serde(default)]
    pub cut: bool,
}

/// One change inside a document.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathChange {
    /// RFC 6901, such as `/limits/dbs`.
    pub path: String,
    pub change: Change,
    /// Only the order of the fields differs.
    #[serde(default)]
    pub order: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
