//! Retention: policies, previews, and runs that delete exactly what the preview says.

use std::sync::Arc;

use super::Ctx;
use crate::{
    domain::{ids::OrganizationId, job::Job, run::Run},
    error::Result,
};

/// Sees to what follows from the end of a job. May be called twice for one job.
pub(super) async fn ended(_ctx: &Arc<Ctx>, _organization: OrganizationId, _job: &Job) -> Result<()> {
    Ok(())
}

/// Does the job's work.
pub(super) async fn execute(_ctx: &Arc<Ctx>, _organization: OrganizationId, _job: &Job, _run: &Run) -> Result<()> {
    Ok(())
}
