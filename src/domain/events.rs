//! What happens while the product runs, as the event stream and the pages show it.

use serde::{Deserialize, Serialize};

use super::{
    backup::BackupStatus,
    ids::{BackupId, DatabaseId, DiffId, JobId, RestoreId},
    job::{Job, JobKind, JobStatus, LogLine},
};

/// How far a job is. Totals are present only where they are known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// What is being done now, such as `dumping`.
    pub stage: String,
    /// Plain bytes processed.
    pub bytes: u64,
    pub total_bytes: Option<u64>,
    pub rows: Option<u64>,
    /// Tables done.
    pub tables: Option<u64>,
    pub total_tables: Option<u64>,
    /// The table in work.
    pub table: Option<String>,
    /// Plain bytes per second over the last seconds.
    pub rate: Option<u64>,
}

impl Progress {
    /// 0 to 100, by bytes or else by tables, where a total is known; an estimate never shows above 99 before the end.
    pub fn percent(&self) -> Option<u8> {
        let share = |done: u64, total: u64| (total > 0).then(|| ((done as f64 / total as f64) * 100.0).min(99.0) as u8);
        match (self.total_bytes, self.tables, self.total_tables) {
            (Some(total), _, _) => share(self.bytes, total),
            (None, Some(done), Some(total)) => share(done, total),
            _ => None,
        }
    }
}

/// An event as `/api/events` sends it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    Job {
        job_id: JobId,
        kind: JobKind,
        status: JobStatus,
        database_id: Option<DatabaseId>,
        backup_id: Option<BackupId>,
        restore_id: Option<RestoreId>,
        diff_id: Option<DiffId>,
    },
    Progress {
        job_id: JobId,
        progress: Progress,
    },
    Log {
        line: LogLine,
    },
    Backup {
        backup_id: BackupId,
        status: BackupStatus,
    },
}

/// A job's state, told.
impl From<&Job> for Event {
    fn from(job: &Job) -> Self {
        Self::Job {
            job_id: job.id,
            kind: job.kind,
            status: job.status,
            database_id: job.database_id,
            backup_id: job.backup_id,
            restore_id: job.restore_id,
            diff_id: job.diff_id,
        }
    }
}

impl Event {
    pub fn job_id(&self) -> Option<JobId> {
        match self {
            Self::Job { job_id, .. } | Self::Progress { job_id, .. } => Some(*job_id),
            Self::Log { line } => Some(line.job_id),
            Self::Backup { .. } => None,
        }
    }
}
