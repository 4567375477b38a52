//! A restore: what goes where, and how.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    artifact::TableCount,
    backup::text_enum,
    ids::{BackupId, DatabaseId, JobId, RestoreId, UploadId},
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
    /// End other sessions on the target where they would block it.
    pub end_connections: bool,
    /// The engine's own restore options, see its `restore_options`.
    #[schema(value_type = Object)]
    pub engine: Map<String, Value>,
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
            end_connections: false,
            engine: Map::new(),
        }
    }
}

/// One restore, a row of the history. Exactly one of `backup_id` and `upload_id` is set.
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
}
