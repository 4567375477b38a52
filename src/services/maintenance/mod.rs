//! Upkeep of the product itself, each task a job with a report.

use std::sync::Arc;

use super::Ctx;
use crate::{
    domain::{ids::OrganizationId, job::Job, run::Run},
    error::Result,
};

/// Does the job's work.
pub(super) async fn execute(_ctx: &Arc<Ctx>, _organization: OrganizationId, _job: &Job, _run: &Run) -> Result<()> {
    Ok(())
}
