//! Dead letters: jobs that are out of attempts, until somebody retries or drops them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::repeat;
use crate::{
    db,
    domain::{
        filter::JobFilter,
        ids::{DatabaseId, JobId},
        job::JobKind,
        page::PageRequest,
        permissions::{Actor, Permission},
    },
    error::{Error, Kind, Result},
    services::{Ctx, audit},
};

/// Dead letters that one request deals with at most.
const MOST: u32 = 1000;

/// Which dead letters: those named, or all of them (of one kind).
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Which {
    pub ids: Vec<JobId>,
    pub all: bool,
    /// With `all`: only jobs of this kind.
    pub kind: Option<JobKind>,
    /// With `all`: only jobs about this database.
    pub database_id: Option<DatabaseId>,
}

/// What became of each.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Jobs that were retried or dropped.
    pub done: Vec<JobId>,
    pub refused: Vec<Refused>,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub id: JobId,
    pub reason: String,
}

/// How many there are.
pub async fn count(ctx: &Ctx, actor: &Actor) -> Result<u64> {
    let filter = JobFilter { dead: Some(true), ..JobFilter::default() };
    Ok(super::list(ctx, actor, &filter, PageRequest { page: 1, limit: 1 }).await?.total)
}

/// Queues each of them once more, see [`super::retry`]. What cannot be retried is told and stays.
pub async fn retry_each(ctx: &Arc<Ctx>, actor: &Actor, which: Which) -> Result<Outcome> {
    actor.require(Permission::RunBackups)?;
    let mut outcome = Outcome::default();
    for id in chosen(ctx, actor, which).await? {
        outcome.take(id, repeat(ctx, actor, id, true).await.map(drop))?;
    }
    Ok(outcome)
}

/// Takes each of them off the list: somebody has seen it. The jobs stay in the history, with their logs.
pub async fn drop_each(ctx: &Ctx, actor: &Actor, which: Which) -> Result<Outcome> {
    actor.require(Permission::RunBackups)?;
    let mut outcome = Outcome::default();
    for id in chosen(ctx, actor, which).await? {
        outcome.take(id, drop_one(ctx, actor, id).await)?;
    }
    Ok(outcome)
}

async fn drop_one(ctx: &Ctx, actor: &Actor, id: JobId) -> Result<()> {
    let job = db::jobs::get(&ctx.db, actor.organization_id, id).await?;
    if !db::jobs::leave_dead_letters(&ctx.db, actor.organization_id, id).await? {
        return Err(Error::conflict(format!("the job is {} and no dead letter", job.status)));
    }
    audit::record(ctx, actor, "job.drop", id, Value::Null).await
}

async fn chosen(ctx: &Ctx, actor: &Actor, which: Which) -> Result<Vec<JobId>> {
    match (which.all, which.ids.is_empty()) {
        (true, true) => db::jobs::dead_letters(&ctx.db, actor.organization_id, which.kind, which.database_id, MOST).await,
        (false, false) if which.ids.len() > MOST as usize => Err(Error::validation(format!("more than {MOST} jobs at once"))),
        (false, false) => Ok(which.ids),
        (false, true) if which.kind.is_some() || which.database_id.is_some() => {
            Err(Error::validation("a kind or a database alone chooses no jobs").hint("set all to true with it"))
        }
        _ => Err(Error::validation("no jobs are chosen").hint("name them in ids, or set all to true, not both")),
    }
}

impl Outcome {
    /// What only concerns this job is told; what would fail for the others too is an error.
    fn take(&mut self, id: JobId, done: Result<()>) -> Result<()> {
        match done {
            Ok(()) => self.done.push(id),
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::NotFound | Kind::Forbidden) => {
                self.refused.push(Refused { id, reason: error.to_string() });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
