//! Delivering: each notice to each notifier that wants it, tried again with growing waits, one at a time per notifier.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{notifiers, words};
use crate::{
    db,
    domain::{
        ids::OrganizationId,
        notice::{Delivery, Notice},
        time::Moment,
    },
    error::{Error, Result},
    services::Ctx,
};

/// The waits before the second and each further attempt, milliseconds. After the last it is given up.
const WAITS: &[i64] = &[30_000, 2 * 60_000, 10 * 60_000, 60 * 60_000];

/// A notifier has half a minute; this is for one that does not keep to it.
const LIMIT: Duration = Duration::from_secs(35);

/// A sender that has not come back after this, milliseconds, is gone.
const LEASE: i64 = 60_000;

/// A delivery in hand.
pub struct Claimed {
    organization: OrganizationId,
    delivery: Delivery,
}

/// Takes a delivery that is due, if there is one.
pub async fn claim(ctx: &Ctx) -> Result<Option<Claimed>> {
    let now = ctx.now();
    let claimed = db::notices::claim(&ctx.db, now, now.plus(LEASE)).await?;
    Ok(claimed.map(|(organization, delivery)| Claimed { organization, delivery }))
}

/// Sends it and records what came of it.
pub async fn send(ctx: &Arc<Ctx>, claimed: Claimed) -> Result<()> {
    let Claimed { organization, delivery } = claimed;
    let sent = attempt(ctx, organization, &delivery).await;
    let (now, tried) = (ctx.now(), usize::try_from(delivery.attempt).unwrap_or(usize::MAX));
    let again = match &sent {
        Err(error) if error.retryable => WAITS.get(tried.saturating_sub(1)).map(|wait| now.plus(*wait)),
        _ => None,
    };
    let error = sent.err().map(|error| error.to_string());
    if let Some(error) = &error {
        tracing::warn!(notifier_id = %delivery.notifier_id, attempt = delivery.attempt, error, "a notice could not be delivered");
    }
    db::notices::conclude(&ctx.db, &delivery, error.as_deref(), again, now).await
}

/// Sends everything that is due, one after the other, and says how many attempts that were.
pub async fn send_due(ctx: &Arc<Ctx>) -> Result<u32> {
    let mut attempts = 0;
    while let Some(claimed) = claim(ctx).await? {
        send(ctx, claimed).await?;
        attempts += 1;
    }
    Ok(attempts)
}

async fn attempt(ctx: &Ctx, organization: OrganizationId, delivery: &Delivery) -> Result<()> {
    let config = db::notifiers::get(&ctx.db, organization, delivery.notifier_id).await?;
    if !config.enabled {
        return Err(Error::conflict(format!("the notifier '{}' was disabled before this was sent", config.name)));
    }
    let notifier = notifiers::open(ctx, &config)?;
    let notice = with_held_back(ctx, delivery).await?;
    match timeout(LIMIT, notifier.send(&notice)).await {
        Ok(sent) => sent,
        Err(_) => Err(Error::internal(format!("the notifier '{}' did not come to an end within {LIMIT:?}", config.name)).retryable()),
    }
}

/// The notice, with how many of its group were held back since the one that was sent before it.
async fn with_held_back(ctx: &Ctx, delivery: &Delivery) -> Result<Notice> {
    let held = db::notices::held_back(&ctx.db, delivery).await?;
    let mut notice = delivery.notice.clone();
    if held > 0 {
        let text = if held == 1 { "1 more like it".to_owned() } else { format!("{held} more like it") };
        notice.facts.push(("Not told singly before this".into(), text));
    }
    let late = Moment::since(ctx.now(), notice.at);
    if late > 10 * 60_000 {
        notice.facts.push(("Sent late by".into(), words::span(late)));
    }
    Ok(notice)
}
