//! What goes on being wrong: told when it begins, again from time to time, and when it is over.

use super::{HOUR, raise, raise_end, setting, words};
use crate::{
    db,
    domain::{
        ids::OrganizationId,
        notice::{Alert, Notice, NoticeEvent, Severity},
    },
    error::Result,
    services::{Ctx, system},
};

/// It is wrong (still). Told at once, and again each `repeatAlertHours`.
pub(super) async fn wrong(ctx: &Ctx, organization: OrganizationId, key: &str, mut notice: Notice) -> Result<()> {
    let repeat = setting(&system::settings(ctx).await?, "repeatAlertHours", 24).max(1) * HOUR;
    let before = db::alerts::get(&ctx.db, organization, key).await?;
    let since = before.as_ref().map_or(notice.at, |alert| alert.since);
    key.clone_into(&mut notice.group);
    // How often it could have been told again: the key of each telling, the same when this is called twice.
    let telling = (notice.at.0 - since.0).max(0) / repeat;
    let told = before.as_ref().is_some_and(|alert| (alert.last_told_at.0 - since.0).max(0) / repeat >= telling);
    let last_told_at = before.as_ref().filter(|_| told).map_or(notice.at, |alert| alert.last_told_at);
    if !told {
        let mut again = notice.clone();
        if before.is_some() {
            again.facts.push(("Since".into(), words::time_ago(ctx, since)));
        }
        raise(ctx, organization, again, &format!("alert:{key}:{}:{telling}", since.0)).await?;
    }
    let times = before.map_or(1, |alert| alert.times + 1);
    let alert = Alert { key: key.to_owned(), since, last_seen_at: notice.at, last_told_at, times, notice };
    db::alerts::save(&ctx.db, organization, &alert).await
}

/// One more failure in a row. It is told by its own notice; this keeps count. May be called twice for one moment.
pub(super) async fn failed(ctx: &Ctx, organization: OrganizationId, notice: Notice) -> Result<u64> {
    let before = db::alerts::get(&ctx.db, organization, &notice.group).await?;
    let times = match &before {
        Some(alert) if alert.last_seen_at == notice.at => alert.times,
        Some(alert) => alert.times + 1,
        None => 1,
    };
    let alert = Alert {
        key: notice.group.clone(),
        since: before.map_or(notice.at, |alert| alert.since),
        last_seen_at: notice.at,
        last_told_at: notice.at,
        times,
        notice,
    };
    db::alerts::save(&ctx.db, organization, &alert).await?;
    Ok(times)
}

/// It is not wrong (any more). When it was, its end is told: `end` makes the notice.
pub(super) async fn right(ctx: &Ctx, organization: OrganizationId, key: &str, end: impl FnOnce(&Alert) -> Notice) -> Result<()> {
    let Some(alert) = db::alerts::get(&ctx.db, organization, key).await? else { return Ok(()) };
    let mut notice = end(&alert);
    key.clone_into(&mut notice.group);
    notice.facts.push(("It began".into(), words::time_ago(ctx, alert.since)));
    let ends = Some((alert.notice.event, alert.notice.severity));
    raise_end(ctx, organization, notice, &format!("end:{key}:{}", alert.since.0), ends).await?;
    db::alerts::delete(&ctx.db, organization, key).await
}

/// The notice that a trouble is over.
pub(super) fn resolved(ctx: &Ctx, alert: &Alert, title: String, what: String) -> Notice {
    Notice {
        what,
        link: alert.notice.link.clone(),
        project_id: alert.notice.project_id,
        database_id: alert.notice.database_id,
        ..words::notice(ctx, NoticeEvent::Resolved, Severity::Info, &alert.notice.subject, title)
    }
}
