//! Jobs: units of work in the queue.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    backup::text_enum,
    events::Progress,
    ids::{BackupId, DatabaseId, DiffId, JobId, RestoreId, ScheduleId},
    run::ChildLimits,
    time::Moment,
};

text_enum! {
    JobKind {
        Backup = "backup",
        Restore = "restore",
        Verify = "verify",
        /// A comparison.
        Diff = "diff",
        /// Deletes what the retention policies no longer keep.
        Retention = "retention",
        /// Writes a backup to further stores.
        Copy = "copy",
        /// Upkeep of the product itself.
        Maintenance = "maintenance",
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
    /// The schedule that queued it.
    pub schedule_id: Option<ScheduleId>,
    /// Of the jobs that are due, those with a larger number start first.
    pub priority: i32,
    pub limits: JobLimits,
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
    /// Out of attempts, and neither retried nor dropped by anyone since: a dead letter.
    pub dead: bool,
    /// What it did or found, such as what retention deleted and why.
    #[schema(value_type = Option<Object>)]
    pub report: Option<Value>,
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
}

/// How long a job and how much its child processes may take. What is not given is as configured for all jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct JobLimits {
    /// An attempt that takes longer is ended and fails, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// An attempt without progress for so long is ended and fails, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_timeout_seconds: Option<u64>,
    /// The wait before the second attempt, seconds; it doubles with each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_base_seconds: Option<u64>,
    /// Of its child processes.
    pub child: ChildLimits,
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

/// A line of the log of any job, as a search finds it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FoundLine {
    /// Of its job.
    pub kind: JobKind,
    #[serde(flatten)]
    pub line: LogLine,
}
