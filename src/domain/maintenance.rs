//! Upkeep of the product itself, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{backup::text_enum, ids::BackupId};

text_enum! {
    MaintenanceTask {
        /// Removes what is older than the settings keep, expired uploads, sessions and links, and what interrupted writes left.
        Cleanup = "cleanup",
        /// Gives the unused space of the catalogue back to the disk.
        Vacuum = "vacuum",
        /// Reads the catalogue whole, and queues the verification of backups that were not verified for the longest time.
        Verify = "verify",
    }
}

/// What a maintenance job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceOrder {
    pub task: MaintenanceTask,
    /// The day's own upkeep: it gives way to other work.
    #[serde(default)]
    pub daily: bool,
}

/// What a maintenance job did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceReport {
    pub task: MaintenanceTask,
    /// What was done, in sentences.
    pub words: Vec<String>,
    /// How many rows of each kind of history were removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<String, u64>,
    /// Size of the catalogue before, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_before: Option<u64>,
    /// Size of the catalogue after, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_after: Option<u64>,
    /// Backups whose verification was queued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verifying: Vec<BackupId>,
}

impl MaintenanceReport {
    pub fn new(task: MaintenanceTask) -> Self {
        Self { task, words: Vec::new(), removed: BTreeMap::new(), bytes_before: None, bytes_after: None, verifying: Vec::new() }
    }
}
