//! Schedules: kept, asked what comes next, carried out slot by slot.

use std::sync::Arc;

use super::Ctx;
use crate::{
    domain::{ids::OrganizationId, job::Job},
    error::Result,
};

/// Sees to what follows from the end of a job. May be called twice for one job.
pub(super) async fn ended(_ctx: &Arc<Ctx>, _organization: OrganizationId, _job: &Job) -> Result<()> {
    Ok(())
}
