//! What people are told: raised by what happens, matched to notifiers, delivered.

use std::sync::Arc;

use super::Ctx;
use crate::{
    domain::{
        ids::OrganizationId,
        job::Job,
        schedule::{Schedule, ScheduleRun},
    },
    error::Result,
};

/// Sees to what follows from the end of a job. May be called twice for one job.
pub(super) async fn ended(_ctx: &Arc<Ctx>, _organization: OrganizationId, _job: &Job) -> Result<()> {
    Ok(())
}

/// Tells of slots that passed while nothing ran. May be called twice for one run.
pub(super) async fn missed(_ctx: &Arc<Ctx>, _organization: OrganizationId, _schedule: &Schedule, _run: &ScheduleRun) -> Result<()> {
    Ok(())
}
