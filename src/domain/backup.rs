//! A backup: one execution for one database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    artifact::{Artifact, ArtifactKind, TableCount},
    compression::Compression,
    ids::{BackupId, DatabaseId, JobId, ScheduleId, StoreId},
    pattern,
    time::Moment,
};

// The text is taken as a token: utoipa does not see through a `literal`, and would tell the names of the variants.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:tt),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Error;

            fn from_str(text: &str) -> $crate::error::Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::error::Error::validation(format!(concat!("'{}' is not a ", stringify!($name)), text))
                        .hint(concat!("use one of:" $(, " ", $text)*))),
                }
            }
        }
    };
}
pub(crate) use text_enum;

text_enum! {
    /// Only `Completed` counts as a good backup, and only after the success gate and the manifest.
    BackupStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        /// The process ended while it ran; found at the next start.
        Interrupted = "interrupted",
        /// Its files are being removed: nothing may start to use it any more, and its row goes last.
        Deleting = "deleting",
    }
}

impl BackupStatus {
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

text_enum! {
    /// What started the backup; part of the file name.
    BackupType {
        Manual = "manual",
        Hourly = "hourly",
        Daily = "daily",
        Weekly = "weekly",
        Monthly = "monthly",
        Yearly = "yearly",
        /// Taken just before a restore overwrites a database.
        Safety = "safety",
    }
}

text_enum! {
    /// The result of the last verification of the stored artifacts.
    VerifyState {
        Unverified = "unverified",
        Verified = "verified",
        Corrupt = "corrupt",
    }
}

/// How a backup is made. Every field has a default, so `{}` is a valid request.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackupOptions {
    #[schema(value_type = String, example = "zstd:1")]
    pub compression: Compression,
    /// Use a second thread to compress.
    pub multi_thread: bool,
    pub encrypt: bool,
    /// Which artifacts to make: `dump`, `snapshot` or both.
    pub artifacts: Vec<ArtifactKind>,
    pub snapshot: SnapshotOptions,
    /// The engine's own dump options, see its `dump_options`.
    #[schema(value_type = Object)]
    pub engine: Map<String, Value>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            multi_thread: false,
            encrypt: true,
            artifacts: vec![ArtifactKind::Dump, ArtifactKind::Snapshot],
            snapshot: SnapshotOptions::default(),
            engine: Map::new(),
        }
    }
}

/// What a snapshot keeps. `{}` is valid and keeps every row.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SnapshotOptions {
    /// Shares of rows to keep, 0 to 1, of tables by their name or pattern (`events`, `audit.*`): the same rows every time,
    /// chosen by their key. Such a snapshot is for looking and comparing: it is never restored.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sample: BTreeMap<String, f64>,
}

impl SnapshotOptions {
    /// The share of a table's rows to keep; `None` means all. Of several patterns that take it, the smallest share counts.
    pub fn share(&self, label: &str, name: &str) -> Option<f64> {
        let taking = self.sample.iter().filter(|(pattern, _)| pattern::matches(pattern, label) || pattern::matches(pattern, name));
        taking.map(|(_, share)| *share).filter(|share| *share < 1.0).min_by(f64::total_cmp)
    }
}

/// One backup, a row of the catalogue with its artifacts.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    pub id: BackupId,
    /// `None` for backups found by `rebuild` whose database is not configured here.
    pub database_id: Option<DatabaseId>,
    pub database_name: String,
    pub engine: String,
    #[serde(rename = "type")]
    pub kind: BackupType,
    pub status: BackupStatus,
    pub store_id: StoreId,
    pub job_id: Option<JobId>,
    /// The schedule that made it; it may be gone.
    pub schedule_id: Option<ScheduleId>,
    pub pinned: bool,
    pub verify_state: VerifyState,
    pub verified_at: Option<Moment>,
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    /// The moment the data is of: when the engine's consistent snapshot was taken.
    pub moment: Option<Moment>,
    pub server_version: Option<String>,
    pub tool_version: Option<String>,
    pub manifest_key: Option<String>,
    /// Why it failed, with the next step.
    pub error: Option<String>,
    pub warnings: Vec<String>,
    pub options: BackupOptions,
    /// Exact row counts, as read from the dump.
    pub tables: Vec<TableCount>,
    /// It holds the schema, the rows or chosen tables alone: it does not count as a good backup of the database.
    pub partial: bool,
    pub artifacts: Vec<Artifact>,
}

impl Backup {
    /// Bytes in the store, all artifacts.
    pub fn stored_size(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.stored_size).sum()
    }

    /// Bytes before compression, all artifacts.
    pub fn plain_size(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.plain_size).sum()
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Milliseconds from start to end, once it has ended.
    pub fn duration_ms(&self) -> Option<u64> {
        Some(self.finished_at?.since(self.started_at?))
    }

    pub fn artifact(&self, kind: ArtifactKind) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.kind == kind)
    }
}

/// A backup in one line.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBrief {
    pub id: BackupId,
    pub status: BackupStatus,
    pub created_at: Moment,
    pub finished_at: Option<Moment>,
    /// Bytes in the store.
    pub stored_size: u64,
    pub error: Option<String>,
}
