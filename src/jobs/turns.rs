//! Long-lived loops: a fault in one turn ends that turn only, a loop that ended is started again, and how each does is
//! recorded for health checks and figures.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::{MissedTickBehavior, interval};

use super::Pool;

/// Between the end of a loop that should not have ended and its next beginning.
const AGAIN: Duration = Duration::from_secs(1);

/// A loop that has not come round for three of its periods and this long is taken for dead.
const SPARE: Duration = Duration::from_secs(120);

/// Keeps a loop going until the pool is stopping: however it ends before that, it begins again. `period` is the longest time
/// between two of its turns when all is well.
pub(super) async fn keep_going<F: Future<Output = ()>>(pool: &Pool, name: &'static str, period: Duration, begin: impl Fn() -> F) {
    let loops = &pool.ctx.loops;
    while !pool.stopping.is_cancelled() {
        loops.begin(name, period * 3 + SPARE);
        let ended = AssertUnwindSafe(begin()).catch_unwind().await;
        if pool.stopping.is_cancelled() {
            break;
        }
        loops.faulted(name);
        let problem = ended.err().map_or_else(|| "it ended".to_owned(), |panic| said(panic.as_ref()));
        tracing::error!(name, problem, "a loop that should go on has ended; it is started again. Please report this with the log");
        tokio::select! {
            () = pool.stopping.cancelled() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    loops.leave(name);
}

/// Takes a turn now and every `period`, until the pool is stopping.
pub(super) async fn every<F: Future<Output = ()>>(pool: &Pool, name: &'static str, period: Duration, turn: impl Fn() -> F) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = pool.stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        take(pool, name, turn()).await;
    }
}

/// One turn of a loop. A fault in it is logged and counted. When the pool is stopping it may go on for the grace; then it is
/// dropped, as the end of the process would drop it.
pub(super) async fn take(pool: &Pool, name: &'static str, turn: impl Future<Output = ()>) {
    let grace = async {
        pool.stopping.cancelled().await;
        tokio::time::sleep(pool.timing.grace).await;
    };
    tokio::select! {
        biased;
        done = unharmed(turn) => if let Err(problem) = done {
            pool.ctx.loops.faulted(name);
            tracing::error!(name, problem, "a turn of a loop hit a fault in dbsnap; the next one is taken. Please report this with the log");
        },
        () = grace => tracing::warn!(name, "it did not come to its end within the grace of the shutdown"),
    }
    pool.ctx.loops.turned(name);
}

/// Errors with what a panic said.
pub(super) async fn unharmed<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| said(panic.as_ref()))
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("unknown").to_owned()
}
