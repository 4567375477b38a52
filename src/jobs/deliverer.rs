//! The deliverer: sends queued notices, and looks for conditions that people have to be told of.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{Pool, turns};
use crate::{
    error::Result,
    services::notices::{deliver, watch},
};

/// Deliveries at the same time, each to another notifier: one that hangs holds up no other.
const AT_ONCE: usize = 8;

/// Between two looks at the deliveries when nothing woke it: retries become due.
pub(super) const POLL: Duration = Duration::from_secs(5);

/// Between two looks at what nothing reports by itself.
pub(super) const WATCH: Duration = Duration::from_secs(300);

/// What the loops are called.
pub(super) const DELIVER: &str = "deliver";
pub(super) const WATCHER: &str = "watch";

/// Delivers until the pool is stopping. What is in hand then is sent to its end; the rest waits for the next start.
pub(super) async fn deliver(pool: Arc<Pool>) {
    let mut sending = JoinSet::new();
    while !pool.stopping.is_cancelled() {
        turns::take(&pool, DELIVER, fill(&pool, &mut sending)).await;
        tokio::select! {
            () = pool.stopping.cancelled() => {}
            Some(sent) = sending.join_next(), if !sending.is_empty() => match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "what came of a delivery could not be recorded; it is sent again"),
                Err(cause) => tracing::error!(%cause, "a delivery ended early; it is sent again"),
            },
            () = pool.ctx.noticed.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
    // Past the grace they are dropped; their lease ends, and they are sent again.
    let _ = tokio::time::timeout(pool.timing.grace, async { while sending.join_next().await.is_some() {} }).await;
}

/// Begins deliveries until as many are under way as may be, or none is due.
async fn fill(pool: &Pool, sending: &mut JoinSet<Result<()>>) {
    while sending.len() < AT_ONCE {
        match deliver::claim(&pool.ctx).await {
            Ok(Some(claimed)) => {
                let ctx = Arc::clone(&pool.ctx);
                sending.spawn(async move { deliver::send(&ctx, claimed).await });
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "the deliveries cannot be read");
                break;
            }
        }
    }
}

/// Looks for what nothing reports by itself, every few minutes.
pub(super) async fn watch(pool: Arc<Pool>) {
    turns::every(&pool, WATCHER, WATCH, || async {
        if let Err(error) = watch::watch(&pool.ctx).await {
            tracing::warn!(%error, "what may be wrong could not be looked at");
        }
    })
    .await;
}
