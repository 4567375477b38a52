//! Signs of life to outside watchers, one address per schedule: its address when a run begins (with `/start` behind it),
//! when it ended well, and (with `/fail`) when it did not, as healthchecks.io and its likes take them.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{Ctx, queue, schedules};
use crate::{
    db::{self, logs::NewLine},
    domain::{
        ids::{JobId, OrganizationId, ScheduleId},
        job::{Job, JobStatus, LogLevel},
        schedule::Schedule,
        time::Moment,
    },
    error::{Error, Result},
    notifiers::http::Outbound,
};

/// Waits before the second and the third try.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
const LIMIT: Duration = Duration::from_secs(10);

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Started,
    Succeeded,
    /// And why.
    Failed(String),
}

/// Tells the watcher of a schedule, if it has one, that the job of one of its backups has begun.
pub(super) fn begun(ctx: &Arc<Ctx>, organization: OrganizationId, schedule: &Schedule, job: JobId) {
    report(ctx, organization, schedule, job, Outcome::Started);
}

/// Tells the watcher of a schedule, if it has one, how the job of one of its backups ended.
pub(super) fn ended(ctx: &Arc<Ctx>, organization: OrganizationId, schedule: &Schedule, job: &Job) {
    let outcome = match job.status {
        JobStatus::Completed => Outcome::Succeeded,
        status => Outcome::Failed(job.error.clone().unwrap_or_else(|| status.to_string())),
    };
    report(ctx, organization, schedule, job.id, outcome);
}

/// Returns at once: a watcher that is away holds up nothing. What could not be told after three tries is in the log of the
/// job, and of the process.
fn report(ctx: &Arc<Ctx>, organization: OrganizationId, schedule: &Schedule, job_id: JobId, outcome: Outcome) {
    if !schedule.heartbeat {
        return;
    }
    let (ctx, id, name) = (Arc::clone(ctx), schedule.id, schedule.name.clone());
    tokio::spawn(async move {
        let Err(error) = tell(&ctx, organization, id, &outcome).await else { return };
        tracing::warn!(schedule = name, %error, "the heartbeat could not be sent");
        let message = format!("the heartbeat of '{name}' could not be sent: {error}");
        let line = NewLine { job_id, at: Moment::now(), level: LogLevel::Warn, message };
        if let Err(error) = queue::append_logs(&ctx, &[line]).await {
            tracing::warn!(%error, "the job's log could not be written");
        }
    });
}

async fn tell(ctx: &Ctx, organization: OrganizationId, id: ScheduleId, outcome: &Outcome) -> Result<()> {
    let Some(sealed) = db::schedules::heartbeat_url(&ctx.db, organization, id).await? else { return Ok(()) };
    let secret = ctx.keys.current().open_text(&schedules::heartbeat_purpose(id), &sealed)?;
    let url = address(secret.expose(), outcome)?;
    let outbound = Outbound::new("the heartbeat address").within(LIMIT).hiding_address(&secret);
    let mut waits = WAITS.iter();
    loop {
        let answer = match outcome {
            Outcome::Failed(why) => outbound.post(url.as_str(), &[("content-type", "text/plain; charset=utf-8")], why.as_bytes()).await,
            _ => outbound.get(url.as_str(), &[]).await,
        };
        match (answer.and_then(|answer| outbound.accepted(&answer)), waits.next()) {
            (Err(error), Some(wait)) if error.retryable => tokio::time::sleep(*wait).await,
            (done, _) => return done,
        }
    }
}

/// The address for an outcome: the path gets one part more, the query stays.
fn address(base: &str, outcome: &Outcome) -> Result<Url> {
    let mut url = Url::parse(base).map_err(|_| wrong())?;
    let part = match outcome {
        Outcome::Started => "start",
        Outcome::Succeeded => return Ok(url),
        Outcome::Failed(_) => "fail",
    };
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().push(part);
    Ok(url)
}

fn wrong() -> Error {
    Error::validation("the heartbeat address is not valid").hint("enter one such as https://hc-ping.com/your-id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_the_last_part_of_the_path() {
        let failed = Outcome::Failed("why".into());
        for (base, outcome, expect) in [
            ("https://hc.example/abc", Outcome::Started, "https://hc.example/abc/start"),
            ("https://hc.example/abc/", failed.clone(), "https://hc.example/abc/fail"),
            ("https://hc.example/abc?rid=7", failed, "https://hc.example/abc/fail?rid=7"),
            ("https://hc.example/abc/", Outcome::Succeeded, "https://hc.example/abc/"),
            ("https://hc.example", Outcome::Started, "https://hc.example/start"),
        ] {
            assert_eq!(address(base, &outcome).unwrap().as_str(), expect);
        }
        assert!(address("mailto:me", &Outcome::Started).is_err());
    }
}
