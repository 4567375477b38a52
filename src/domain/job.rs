//! Jobs: units of work in the queue.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    backup::text_enum,
    events::Progress,
    ids::{BackupId, DatabaseId, DiffId, JobId, RestoreId},
    time::Moment,
};

text_enum! {
    JobKind {
        Backup = "backup",
        Restore = "restore",
        Verify = "verify",
        /// A comparison.
        Diff = "diff",
    }
}

text_enum! {
    JobStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        /// Its worker vanished and no attempt was left.
        Interrupted = "interrupted",
    }
}

impl JobStatus {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// One job, a row of the queue.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: JobId,
    pub kind: JobKind,
    pub status: JobStatus,
    pub database_id: Option<DatabaseId>,
    pub backup_id: Option<BackupId>,
    pub restore_id: Option<RestoreId>,
    pub diff_id: Option<DiffId>,
    /// Two jobs with the same key never run at once (one running backup per database).
    pub exclusive_key: Option<String>,
    /// What the job needs beyond the ids above; no secret is in it.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// How often it was started, this time included.
    pub attempt: u32,
    pub max_attempts: u32,
    pub run_after: Moment,
    pub cancel_requested: bool,
    pub progress: Option<Progress>,
    pub error: Option<String>,
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
}

text_enum! {
    LogLevel {
        Debug = "debug",
        Info = "info",
        Warn = "warn",
        Error = "error",
    }
}

/// One stored line of a job's log.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Increases by one per line over all jobs; what a reader has seen up to.
    pub seq: i64,
    pub job_id: JobId,
    pub at: Moment,
    pub level: LogLevel,
    pub message: String,
}
