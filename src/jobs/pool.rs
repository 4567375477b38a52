//! As many workers as the queue asks for: more at once when jobs wait, fewer when they have had nothing to do for a while.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::{Pool, turns, worker};
use crate::services::queue;

/// What the loop is called.
pub(super) const STAFF: &str = "workers";

/// Keeps between MIN_WORKERS and MAX_WORKERS workers at work until the pool is stopping, then waits for their ends.
pub(super) async fn keep_staffed(pool: Arc<Pool>) {
    let workers = &pool.ctx.workers;
    let mut tasks = JoinSet::new();
    workers.start();
    while !pool.stopping.is_cancelled() {
        turns::take(&pool, STAFF, staff(&pool, &mut tasks)).await;
        // While somebody is idle, a queued job is for them to hear of.
        let may_grow = workers.idle() == 0 && workers.count() < pool.ctx.config.max_workers;
        tokio::select! {
            () = pool.stopping.cancelled() => {}
            () = workers.changed.notified() => {}
            () = pool.ctx.queued.notified(), if may_grow => {}
            Some(ended) = tasks.join_next() => tell(ended),
            () = tokio::time::sleep(pool.timing.poll) => {}
        }
    }
    while let Some(ended) = tasks.join_next().await {
        tell(ended);
    }
}

async fn staff(pool: &Arc<Pool>, tasks: &mut JoinSet<()>) {
    while pool.ctx.workers.count() < pool.ctx.config.min_workers && hire(pool, tasks) {}
    if wants_more(pool).await {
        hire(pool, tasks);
    }
}

/// True when every worker is busy, another one is allowed, and a job waits that it could start.
async fn wants_more(pool: &Pool) -> bool {
    let workers = &pool.ctx.workers;
    if workers.idle() > 0 || workers.count() >= pool.ctx.config.max_workers {
        return false;
    }
    queue::any_may_start(&pool.ctx).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the queue cannot be read");
        false
    })
}

fn hire(pool: &Arc<Pool>, tasks: &mut JoinSet<()>) -> bool {
    let hired = pool.ctx.workers.enter(pool.ctx.config.max_workers);
    if let Some(id) = hired {
        tracing::debug!(worker = id, "a worker begins");
        tasks.spawn(worker::serve(Arc::clone(pool), id));
    }
    hired.is_some()
}

fn tell(ended: Result<(), JoinError>) {
    if let Err(cause) = ended {
        tracing::error!(%cause, "a worker ended early; another one takes its place");
    }
}
