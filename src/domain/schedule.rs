//! Schedules: when a database is backed up, how, where to, and what surrounds it.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{
    backup::{BackupOptions, text_enum},
    ids::{BackupId, DatabaseId, JobId, PolicyId, RunId, ScheduleId, StoreId},
    job::JobLimits,
    time::Moment,
};

/// One schedule. Its heartbeat address is kept apart: it is a secret.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    pub id: ScheduleId,
    pub name: String,
    pub database_id: DatabaseId,
    pub enabled: bool,
    /// Five fields, or a name such as `@daily`. Exactly one of this and `afterScheduleId` is set.
    pub cron: Option<String>,
    /// It runs each time that schedule has succeeded.
    pub after_schedule_id: Option<ScheduleId>,
    /// IANA name of the zone that `cron`, blackouts and the retention's days are in.
    #[schema(value_type = String, example = "Europe/Berlin")]
    pub time_zone: Tz,
    /// What is kept of its backups; `None` keeps all, up to MAX_BACKUP_RETENTION_DAYS.
    pub retention_policy_id: Option<PolicyId>,
    #[serde(flatten)]
    pub details: ScheduleDetails,
    /// A heartbeat address is set; it is never shown.
    pub heartbeat: bool,
    pub next_run_at: Option<Moment>,
    pub created_at: Moment,
    pub updated_at: Moment,
}

impl Schedule {
    /// True when nothing starts it any more: the schedule that it ran after was removed.
    pub fn is_stranded(&self) -> bool {
        self.cron.is_none() && self.after_schedule_id.is_none()
    }

    /// The slot that is due next, by the clock of its own zone.
    pub fn next_run_local(&self) -> Option<String> {
        self.next_run_at.map(|at| at.utc().with_timezone(&self.time_zone).format("%a %Y-%m-%d %H:%M %Z").to_string())
    }

    /// The policy of its backups in a store.
    pub fn policy_in(&self, store: StoreId) -> Option<PolicyId> {
        self.details.policy_in(store, self.retention_policy_id)
    }
}

/// What of a schedule has a default. `{}` is valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ScheduleDetails {
    /// What is made and how: artifacts, tables, compression. `None` takes the database's own options.
    pub options: Option<BackupOptions>,
    /// Where backups go. The first is written by the backup itself, the others are copied to. Empty: the database's store.
    pub destinations: Vec<Destination>,
    /// How often a run is tried; `None` as configured for all jobs (JOB_ATTEMPTS).
    pub attempts: Option<u32>,
    pub limits: JobLimits,
    /// Of the jobs that are due, those with a larger number start first; -100 to 100.
    pub priority: i32,
    /// Run once after a time when it could not run (the process was down); otherwise the slot is reported as missed.
    pub catch_up: bool,
    pub overlap: Overlap,
    /// Times in which no run starts. One that is due then waits for their end.
    pub blackouts: Vec<Blackout>,
    pub load: Option<LoadCondition>,
    pub hooks: Vec<Hook>,
}

impl Default for ScheduleDetails {
    fn default() -> Self {
        Self {
            options: None,
            destinations: Vec::new(),
            attempts: None,
            limits: JobLimits::default(),
            priority: 0,
            catch_up: true,
            overlap: Overlap::Skip,
            blackouts: Vec::new(),
            load: None,
            hooks: Vec::new(),
        }
    }
}

impl ScheduleDetails {
    /// The policy of backups in a store, where `own` is the schedule's: that of the destination goes first, and a store that is
    /// none of the named destinations has none.
    pub fn policy_in(&self, store: StoreId, own: Option<PolicyId>) -> Option<PolicyId> {
        if self.destinations.is_empty() {
            return own;
        }
        let there = self.destinations.iter().find(|destination| destination.store_id == store)?;
        there.retention_policy_id.or(own)
    }
}

/// A store that backups go to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    pub store_id: StoreId,
    /// What is kept there; `None`: the schedule's policy.
    #[serde(default)]
    pub retention_policy_id: Option<PolicyId>,
}

text_enum! {
    /// What happens to a slot while the run before has not ended.
    Overlap {
        /// It is left out, and the history says so.
        Skip = "skip",
        /// It starts when the other has ended; at most one waits.
        Queue = "queue",
    }
}

text_enum! {
    Weekday {
        Monday = "monday",
        Tuesday = "tuesday",
        Wednesday = "wednesday",
        Thursday = "thursday",
        Friday = "friday",
        Saturday = "saturday",
        Sunday = "sunday",
    }
}

/// A part of the day in which no run starts, in the schedule's zone. One that ends before it begins passes midnight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blackout {
    /// `08:00`.
    pub from: String,
    /// `18:00`; this minute is free again.
    pub to: String,
    /// Days on which it begins; empty means every day.
    #[serde(default)]
    pub days: Vec<Weekday>,
}

/// A run starts only below these limits, and in any case some minutes after its slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadCondition {
    /// The host's load of one minute per processor, such as 0.8.
    #[serde(default)]
    pub max_host_load: Option<f64>,
    /// Connections of the database that do something.
    #[serde(default)]
    pub max_active_connections: Option<u32>,
    /// It starts so long after its slot whatever the load is, minutes.
    #[serde(default = "hour")]
    pub latest_after_minutes: u32,
}

fn hour() -> u32 {
    60
}

text_enum! {
    HookStage {
        /// Before the database is touched. One that fails stops the backup.
        Before = "before",
        /// After the backup ended, well or not. One that fails is a warning.
        After = "after",
    }
}

/// A command or a request around each backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    pub stage: HookStage,
    /// A file in HOOKS_DIR and its arguments. Exactly one of this and `url` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// An address that the backup's facts are posted to as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// 1 to 3600.
    #[serde(default = "minute")]
    pub timeout_seconds: u32,
}

fn minute() -> u32 {
    60
}

text_enum! {
    /// What became of a slot.
    RunStatus {
        /// It waits: for the end of a blackout, for a lower load, for the run before.
        Waiting = "waiting",
        /// Its job is in the queue or runs.
        Queued = "queued",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        /// Left out on purpose; the reason says why.
        Skipped = "skipped",
        /// It passed while nothing could run it.
        Missed = "missed",
    }
}

/// What became of one slot of a schedule, or of several missed ones in a row.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleRun {
    pub id: RunId,
    pub schedule_id: ScheduleId,
    /// When it was due; of several missed ones the last.
    pub slot: Moment,
    pub status: RunStatus,
    /// Why it waits, was left out or failed.
    pub reason: Option<String>,
    /// How many slots this stands for.
    pub slots: u64,
    /// While it waits: when it is looked at again.
    pub not_before: Moment,
    pub job_id: Option<JobId>,
    pub backup_id: Option<BackupId>,
    pub created_at: Moment,
    pub finished_at: Option<Moment>,
}
