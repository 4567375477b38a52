//! Which backups are judged together, and the plan for them.

use serde::Serialize;

use super::Action;
use crate::domain::{
    backup::{BackupType, VerifyState},
    ids::{BackupId, DatabaseId, PolicyId, ScheduleId, StoreId},
    time::Moment,
};

/// Backups that one policy is applied to: those of a schedule, or all others of a database, in one store. Backups of a part
/// of the database are apart: none of them takes the place of a whole one. So are those that were taken before a restore: they
/// hold what somebody was about to overwrite, and never take the place of what was backed up on purpose. Those of a schedule that
/// is gone stay together, under no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub database_id: DatabaseId,
    /// `None`: made by hand or before a restore. The schedule may be gone.
    pub schedule_id: Option<ScheduleId>,
    pub store_id: StoreId,
    pub partial: bool,
    /// Taken before restores.
    pub safety: bool,
}

/// What happens to one backup in one store.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedBackup {
    pub id: BackupId,
    pub action: Action,
    pub reasons: Vec<String>,
    #[serde(rename = "type")]
    pub kind: BackupType,
    pub completed_at: Option<Moment>,
    pub size_bytes: u64,
    pub pinned: bool,
    pub verify_state: VerifyState,
}

/// The plan for a group, newest backup first.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupPlan {
    #[serde(flatten)]
    pub group: Group,
    pub database_name: String,
    pub schedule_name: Option<String>,
    pub store_name: String,
    /// The policy that applies; without one only the limit for all backups deletes.
    pub policy_id: Option<PolicyId>,
    pub policy_name: Option<String>,
    pub backups: Vec<PlannedBackup>,
    pub kept: usize,
    pub deleted: usize,
    /// Bytes that the deleted ones hold.
    pub deleted_bytes: u64,
}
