//! What people are told: the events, how grave they are, and who wants to hear of them.

use serde::{Deserialize, Serialize};

use super::{
    backup::text_enum,
    ids::{DatabaseId, DeliveryId, NoticeId, NotifierId, ProjectId},
    time::Moment,
};

text_enum! {
    NoticeEvent {
        BackupSucceeded = "backup.succeeded",
        BackupFailed = "backup.failed",
        /// The first good one after failures.
        BackupRecovered = "backup.recovered",
        /// A slot passed and nothing ran.
        BackupMissed = "backup.missed",
        /// The newest good backup is too old: the dead-man's alert.
        NoGoodBackup = "backup.none_good",
        /// Larger or smaller than the backups before it.
        SizeUnusual = "backup.size_unusual",
        /// More or fewer rows than the backups before it.
        RowsUnusual = "backup.rows_unusual",
        VerifyFailed = "verify.failed",
        RestoreFinished = "restore.finished",
        RestoreFailed = "restore.failed",
        DiskLow = "disk.low",
        StoreUnreachable = "store.unreachable",
        /// A copy or a deletion at a store did not work, or another job is out of attempts.
        JobFailed = "job.failed",
        /// A condition that was told of has ended.
        Resolved = "resolved",
        /// Asked for by a person, to see that it arrives.
        Test = "test",
    }
}

text_enum! {
    /// In order, the mildest first.
    Severity {
        Info = "info",
        Warning = "warning",
        Error = "error",
        Critical = "critical",
    }
}

impl Severity {
    pub fn at_least(self, least: Severity) -> bool {
        let rank = |severity| Self::ALL.iter().position(|known| *known == severity);
        rank(self) >= rank(least)
    }
}

/// One thing that happened, in words, ready for any notifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    pub id: NoticeId,
    pub event: NoticeEvent,
    pub severity: Severity,
    pub at: Moment,
    pub project_id: Option<ProjectId>,
    pub database_id: Option<DatabaseId>,
    /// Name of the database, the store, or what else it is about.
    pub subject: String,
    /// One line: `Backup of shop failed`.
    pub title: String,
    /// What happened and why, in sentences.
    pub what: String,
    /// What to do now; empty when there is nothing to do.
    pub next_step: String,
    /// Where to look, an address of this installation; `None` without BASE_URL.
    pub link: Option<String>,
    /// More, as name and value: size, duration, attempt.
    pub facts: Vec<(String, String)>,
    /// Notices with the same key belong together: the failure and the recovery from it.
    pub group: String,
}

/// What a notifier is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NotifyRules {
    /// Empty: every event but `backup.succeeded`.
    pub events: Vec<NoticeEvent>,
    pub least_severity: Severity,
    /// Empty: all.
    pub project_ids: Vec<ProjectId>,
    /// Empty: all.
    pub database_ids: Vec<DatabaseId>,
}

impl Default for NotifyRules {
    fn default() -> Self {
        Self { events: Vec::new(), least_severity: Severity::Info, project_ids: Vec::new(), database_ids: Vec::new() }
    }
}

text_enum! {
    DeliveryStatus {
        Queued = "queued",
        Sending = "sending",
        Delivered = "delivered",
        Failed = "failed",
        /// It was held back: the same failure was told a short while ago.
        Grouped = "grouped",
    }
}

/// One notice on its way to one notifier.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub id: DeliveryId,
    pub notifier_id: NotifierId,
    pub notice: Notice,
    pub status: DeliveryStatus,
    pub attempt: u32,
    pub run_after: Moment,
    pub error: Option<String>,
    pub created_at: Moment,
    pub finished_at: Option<Moment>,
}
