//! A configured source.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    backup::BackupOptions,
    ids::{DatabaseId, ProjectId, StoreId},
    time::Moment,
};

/// Validated settings of an engine or a store, by field name. In the catalogue secrets are sealed; see `domain::fields`.
pub type Settings = Map<String, Value>;

/// One configured database. It is never serialised to the API as it is: `services::databases` makes a view without secrets.
#[derive(Debug, Clone)]
pub struct Database {
    pub id: DatabaseId,
    pub project_id: ProjectId,
    pub name: String,
    pub engine: String,
    /// Connection settings; secret fields hold sealed text.
    pub settings: Settings,
    pub store_id: StoreId,
    pub backup_options: BackupOptions,
    pub created_at: Moment,
    pub updated_at: Moment,
}

/// What a probe of a live database found.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// As a person reads it, such as `PostgreSQL 17.2`.
    pub server_version: String,
    /// Round trip of a trivial query, milliseconds.
    pub latency_ms: u64,
    /// Size of the database on the server, bytes, where it can be told.
    pub size: Option<u64>,
    /// Number of tables.
    pub tables: u64,
    /// The tool that would dump it, such as `pg_dump 17.2`; `None` where no tool is used.
    pub tool: Option<String>,
    /// True when the account cannot write; `None` when that cannot be told.
    pub read_only: Option<bool>,
    pub warnings: Vec<String>,
}
