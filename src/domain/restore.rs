//! A restore: what goes where, and how.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    artifact::TableCount,
    backup::text_enum,
    diff::ChangeFilter,
    ids::{BackupId, DatabaseId, DiffId, JobId, RestoreId, UploadId},
    time::Moment,
};

text_enum! {
    RestoreStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
    }
}

impl RestoreStatus {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

text_enum! {
    RestoreMode {
        /// Into a database that does not exist yet; refused when it does.
        New = "new",
        /// Replace the whole database: built beside it, checked, then swapped in.
        Drop = "drop",
        /// Drop the restored objects inside the existing database first.
        Clean = "clean",
        /// Add to what is there.
        Append = "append",
    }
}

text_enum! {
    RestoreContent {
        All = "all",
        Schema = "schema",
        Data = "data",
    }
}

text_enum! {
    /// Which way changes go.
    Direction {
        /// What was before becomes what is after.
        Apply = "apply",
        /// What is after becomes again what was before.
        Revert = "revert",
    }
}

text_enum! {
    /// Which artifact of a backup is restored.
    RestoreSource {
        /// By the engine's own tools.
        Dump = "dump",
        /// Table by table, from the rows of the snapshot.
        Snapshot = "snapshot",
    }
}

text_enum! {
    /// What to do with a row that is not as it was expected to be.
    OnConflict {
        /// Nothing is changed at all, and the conflicts are told.
        Stop = "stop",
        /// The row stays as it is, and is told.
        Skip = "skip",
        /// The row is made what the change says, whatever it was.
        Overwrite = "overwrite",
    }
}

/// Rows of a comparison that are written into a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowPlan {
    pub diff_id: DiffId,
    /// One table of the comparison; all of them when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Chosen changes of the table, by their place in it; empty means all that the filter takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<ChangeFilter>,
    pub direction: Direction,
    pub on_conflict: OnConflict,
    /// Nothing is written: what would be is told.
    pub dry_run: bool,
}

/// What was written, or would have been.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows that were already as the change wants them.
    pub unchanged: u64,
    /// Rows that were left alone because they are not as expected.
    pub skipped: u64,
    /// The first of them, for people: table, key and what was found.
    pub conflicts: Vec<String>,
}

/// How to restore. Engines say in `info()` which modes they have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RestorePlan {
    pub mode: RestoreMode,
    pub content: RestoreContent,
    /// Chosen tables, as `name` or `schema.name`; empty means all.
    pub tables: Vec<String>,
    /// Database name (or file path for SQLite) to restore into; `None` means the target connection's own.
    pub target_name: Option<String>,
    /// Take a backup of the target first; the restore stops when that fails.
    pub safety_backup: bool,
    /// Replace the whole database (mode `drop`, content `all`) even with a backup that holds only a part of it. What the
    /// backup left out is then gone.
    pub accept_partial: bool,
    /// Which artifact of the backup; `None` means the dump where there is one, else the snapshot.
    pub source: Option<RestoreSource>,
    /// From a snapshot into an existing database: what becomes of rows that are there already and differ.
    pub on_conflict: OnConflict,
    /// From a snapshot: everything is tried and told, nothing is kept.
    pub dry_run: bool,
    /// End other sessions on the target where they would block it.
    pub end_connections: bool,
    /// The engine's own restore options, see its `restore_options`.
    #[schema(value_type = Object)]
    pub engine: Map<String, Value>,
    /// Rows of a comparison instead of a dump; asked for at the comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowPlan>,
}

impl Default for RestorePlan {
    fn default() -> Self {
        Self {
            mode: RestoreMode::New,
            content: RestoreContent::All,
            tables: Vec::new(),
            target_name: None,
            safety_backup: false,
            accept_partial: false,
            source: None,
            on_conflict: OnConflict::Stop,
            dry_run: false,
            end_connections: false,
            engine: Map::new(),
            rows: None,
        }
    }
}

/// One restore, a row of the history. Exactly one of `backup_id`, `upload_id` and `plan.rows` is set.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restore {
    pub id: RestoreId,
    pub backup_id: Option<BackupId>,
    pub upload_id: Option<UploadId>,
    /// For people: the file or backup it came from.
    pub source_label: String,
    /// The configured database whose connection is used.
    pub database_id: Option<DatabaseId>,
    /// For people: where it went.
    pub target_label: String,
    pub engine: String,
    pub plan: RestorePlan,
    pub status: RestoreStatus,
    pub job_id: Option<JobId>,
    pub safety_backup_id: Option<BackupId>,
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    pub error: Option<String>,
    pub warnings: Vec<String>,
    /// Rows found in the target afterwards.
    pub tables: Vec<TableCount>,
    /// What became of chosen rows.
    pub applied: Option<Applied>,
}

impl Restore {
    /// Nothing is written: what would be is told.
    pub fn is_dry_run(&self) -> bool {
        self.plan.dry_run || self.plan.rows.as_ref().is_some_and(|rows| rows.dry_run)
    }
}
