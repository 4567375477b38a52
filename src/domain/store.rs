//! Where artifacts live.

use serde::Serialize;

use super::{
    database::Settings,
    ids::{OrganizationId, StoreId},
    time::Moment,
};

/// One configured store. Secret fields of `settings` hold sealed text.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub id: StoreId,
    pub organization_id: OrganizationId,
    pub name: String,
    /// The registry id, such as `local`.
    pub kind: String,
    pub settings: Settings,
    pub created_at: Moment,
    pub updated_at: Moment,
}

/// An object as a store lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectInfo {
    pub key: String,
    /// Bytes.
    pub size: u64,
    pub modified_at: Moment,
    /// Hex SHA-256 of the stored bytes, where the store knows it.
    pub sha256: Option<String>,
}

/// Whether a store can be used now.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreHealth {
    /// Bytes that can still be written, where the store can tell.
    pub free: Option<u64>,
    /// Bytes in all, where the store can tell.
    pub total: Option<u64>,
}
