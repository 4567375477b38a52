//! The state of the queue: how deep it is, and what the workers do.

use serde::Serialize;

use super::dead;
use crate::{
    db,
    domain::{
        job::JobKind,
        permissions::{Actor, Permission},
    },
    error::Result,
    services::{Ctx, workers::WorkerView},
};

/// The queue as it is now.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueState {
    /// Jobs whose time has come; they wait for a worker, or for another job of the same database.
    pub due: u64,
    /// Jobs that wait for their time, such as before another attempt.
    pub waiting: u64,
    pub running: u64,
    /// Jobs that are out of attempts and that nobody has looked after.
    pub dead: u64,
    /// The same by kind; a kind without open jobs is left out.
    pub depth: Vec<KindDepth>,
    pub workers: Vec<WorkerView>,
    /// The pool never has fewer workers.
    pub min: usize,
    /// The pool never has more workers.
    pub max: usize,
    pub max_concurrent_backups: usize,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KindDepth {
    pub kind: JobKind,
    pub due: u64,
    pub waiting: u64,
    pub running: u64,
}

pub async fn queue(ctx: &Ctx, actor: &Actor) -> Result<QueueState> {
    actor.require(Permission::View)?;
    let depth = db::jobs::depth(&ctx.db, actor.organization_id, ctx.now()).await?;
    let sum = |part: fn(&db::jobs::Depth) -> u64| depth.iter().map(part).sum();
    Ok(QueueState {
        due: sum(|depth| depth.due),
        waiting: sum(|depth| depth.later),
        running: sum(|depth| depth.running),
        dead: dead::count(ctx, actor).await?,
        workers: ctx.workers.list(),
        min: ctx.config.min_workers,
        max: ctx.config.max_workers,
        max_concurrent_backups: ctx.config.max_concurrent_backups,
        depth: depth
            .into_iter()
            .map(|db::jobs::Depth { kind, due, later, running }| KindDepth { kind, due, waiting: later, running })
            .collect(),
    })
}
