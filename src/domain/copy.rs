//! Copies of a backup in further stores.

use serde::Serialize;

use super::{
    backup::text_enum,
    ids::{BackupId, StoreId},
    time::Moment,
};

/// Days that a backup is kept in every store because it has still to be copied to another one.
pub const HOLD_DAYS: i64 = 7;

text_enum! {
    CopyStatus {
        /// To be written, or being written.
        Queued = "queued",
        /// All of it is there and was read back.
        Complete = "complete",
        /// It could not be written; the error says why.
        Failed = "failed",
        /// It was there, and a verification found it damaged: it is made again from a whole one.
        Damaged = "damaged",
        /// Its files are being removed.
        Deleting = "deleting",
    }
}

/// A backup in a store other than its own. Its keys are the same in every store.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupCopy {
    pub backup_id: BackupId,
    pub store_id: StoreId,
    pub store_name: String,
    pub status: CopyStatus,
    pub error: Option<String>,
    pub created_at: Moment,
    pub finished_at: Option<Moment>,
}
