//! Copies of a backup in further stores.

use serde::Serialize;

use super::{
    backup::text_enum,
    ids::{BackupId, StoreId},
    time::Moment,
};

text_enum! {
    CopyStatus {
        /// To be written, or being written.
        Queued = "queued",
        /// All of it is there and was read back.
        Complete = "complete",
        /// It could not be written; the error says why.
        Failed = "failed",
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
