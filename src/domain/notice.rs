//! What people are told: the events, how grave they are, and who wants to hear of them.

use serde::{Deserialize, Serialize};

use super::{
    backup::text_enum,
    database::Settings,
    ids::{DatabaseId, DeliveryId, NoticeId, NotifierId, OrganizationId, ProjectId},
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

impl NoticeEvent {
    /// A sentence for people who choose what they are told.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::BackupSucceeded => "A backup succeeded",
            Self::BackupFailed => "A backup failed, with all its attempts",
            Self::BackupRecovered => "A backup works again after failures",
            Self::BackupMissed => "A scheduled backup was missed",
            Self::NoGoodBackup => "A database has had no good backup for too long",
            Self::SizeUnusual => "A backup is much larger or smaller than usual",
            Self::RowsUnusual => "A backup has many more or fewer rows than usual",
            Self::VerifyFailed => "A verification failed",
            Self::RestoreFinished => "A restore finished",
            Self::RestoreFailed => "A restore failed",
            Self::DiskLow => "A store is running out of space",
            Self::StoreUnreachable => "A store cannot be reached",
            Self::JobFailed => "A copy, a deletion or other upkeep failed",
            Self::Resolved => "A problem is over",
            Self::Test => "A test",
        }
    }

    /// What a person can choose to be told.
    pub fn choosable() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|event| *event != Self::Test)
    }

    /// Repeated failures of these are told together.
    pub fn is_grouped(self) -> bool {
        matches!(
            self,
            Self::BackupFailed
                | Self::BackupMissed
                | Self::SizeUnusual
                | Self::RowsUnusual
                | Self::VerifyFailed
                | Self::RestoreFailed
                | Self::JobFailed
        )
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

impl NotifyRules {
    /// True when a notifier with these rules is told. `ends` is what was told before and is over now: whoever was told of
    /// the trouble is told of its end.
    pub fn want(&self, notice: &Notice, ends: Option<(NoticeEvent, Severity)>) -> bool {
        let listed = |event| match self.events.is_empty() {
            true => event != NoticeEvent::BackupSucceeded,
            false => self.events.contains(&event),
        };
        let event = listed(notice.event) || ends.is_some_and(|(event, _)| listed(event));
        let severity = ends.map_or(notice.severity, |(_, severity)| severity).at_least(self.least_severity);
        let everywhere = self.project_ids.is_empty() && self.database_ids.is_empty();
        let of_project = notice.project_id.is_some_and(|id| self.project_ids.contains(&id));
        let of_database = notice.database_id.is_some_and(|id| self.database_ids.contains(&id));
        event && severity && (everywhere || of_project || of_database)
    }
}

/// One configured notifier. It is never shown as it is: secret fields of `settings` hold sealed text.
#[derive(Debug, Clone)]
pub struct NotifierConfig {
    pub id: NotifierId,
    pub organization_id: OrganizationId,
    pub name: String,
    /// The registry id, such as `email`.
    pub kind: String,
    pub settings: Settings,
    pub enabled: bool,
    pub rules: NotifyRules,
    pub created_at: Moment,
    pub updated_at: Moment,
}

/// Something that is wrong now.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What it is about: the same trouble has the same key.
    pub key: String,
    pub since: Moment,
    pub last_seen_at: Moment,
    pub last_told_at: Moment,
    /// How often it was found, or how many failures in a row there were.
    pub times: u64,
    /// As it was told last.
    pub notice: Notice,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(event: NoticeEvent, severity: Severity) -> Notice {
        Notice {
            id: NoticeId::new(),
            event,
            severity,
            at: Moment(0),
            project_id: Some(ProjectId::DEFAULT),
            database_id: None,
            subject: String::new(),
            title: String::new(),
            what: String::new(),
            next_step: String::new(),
            link: None,
            facts: Vec::new(),
            group: String::new(),
        }
    }

    #[test]
    fn whoever_was_told_of_a_trouble_is_told_of_its_end() {
        let failures = NotifyRules { events: vec![NoticeEvent::BackupFailed], least_severity: Severity::Error, ..NotifyRules::default() };
        let recovered = notice(NoticeEvent::BackupRecovered, Severity::Info);
        assert!(failures.want(&notice(NoticeEvent::BackupFailed, Severity::Error), None));
        assert!(failures.want(&recovered, Some((NoticeEvent::BackupFailed, Severity::Error))));
        assert!(!failures.want(&notice(NoticeEvent::Resolved, Severity::Info), Some((NoticeEvent::DiskLow, Severity::Warning))));
    }

    #[test]
    fn without_a_choice_everything_is_told_but_that_all_is_well() {
        let all = NotifyRules::default();
        for event in NoticeEvent::choosable() {
            assert_eq!(all.want(&notice(event, Severity::Info), None), event != NoticeEvent::BackupSucceeded, "{event}");
        }
    }

    #[test]
    fn a_notifier_of_some_databases_and_projects_hears_of_no_other() {
        let (mine, other) = (DatabaseId::new(), DatabaseId::new());
        let about = |id| Notice { database_id: Some(id), project_id: None, ..notice(NoticeEvent::BackupFailed, Severity::Error) };
        let rules = NotifyRules { database_ids: vec![mine], ..NotifyRules::default() };
        assert!(rules.want(&about(mine), None) && !rules.want(&about(other), None));
        let rules = NotifyRules { project_ids: vec![ProjectId::DEFAULT], ..NotifyRules::default() };
        assert!(rules.want(&notice(NoticeEvent::BackupFailed, Severity::Error), None) && !rules.want(&about(other), None));
    }
}
