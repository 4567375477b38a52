//! Commands and requests around a backup: its schedule's hooks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Ctx;
use crate::{
    db,
    domain::{
        backup::{Backup, BackupStatus, BackupType},
        events::Progress,
        ids::{BackupId, JobId, OrganizationId},
        job::Job,
        run::Run,
        schedule::{Hook, HookStage, Schedule},
        time::Moment,
    },
    error::{Context, Error, Kind, Result},
    notifiers::http::Outbound,
};

mod command;
mod output;

/// How often one sees that a hook still runs.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);
/// The most that hooks get after a cancel, when the job is soon dropped.
const AFTER_CANCEL: Duration = Duration::from_secs(10);

/// What a hook is told of the backup.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    stage: HookStage,
    backup_id: BackupId,
    database: String,
    engine: String,
    #[serde(rename = "type")]
    kind: BackupType,
    /// `running` before; afterwards what became of it.
    status: BackupStatus,
    schedule: String,
    job_id: JobId,
    attempt: u32,
    created_at: Moment,
    /// Bytes in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The hooks of the schedule that a backup is of, around one attempt of it.
pub(super) struct Around<'a> {
    ctx: &'a Arc<Ctx>,
    schedule: &'a Schedule,
    begun: Instant,
    facts: Facts,
}

/// The schedule that a backup is of, unless it was removed since.
pub(super) async fn schedule_of(ctx: &Ctx, organization: OrganizationId, backup: &Backup) -> Result<Option<Schedule>> {
    let Some(id) = backup.schedule_id else { return Ok(None) };
    match db::schedules::get(&ctx.db, organization, id).await {
        Ok(schedule) => Ok(Some(schedule)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl<'a> Around<'a> {
    pub(super) fn new(ctx: &'a Arc<Ctx>, schedule: &'a Schedule, backup: &Backup, job: &Job) -> Self {
        let facts = Facts {
            stage: HookStage::Before,
            backup_id: backup.id,
            database: backup.database_name.clone(),
            engine: backup.engine.clone(),
            kind: backup.kind,
            status: BackupStatus::Running,
            schedule: schedule.name.clone(),
            job_id: job.id,
            attempt: job.attempt,
            created_at: backup.created_at,
            size_bytes: None,
            duration_ms: None,
            rows: None,
            error: None,
        };
        Self { ctx, schedule, begun: Instant::now(), facts }
    }

    /// Runs the hooks before the backup, one after the other. Errors with the first that fails: then nothing is backed up.
    pub(super) async fn before(&self, run: &Run) -> Result<()> {
        for hook in self.hooks(HookStage::Before) {
            if let Err(error) = self.one(hook, &self.facts, limit(hook), run).await {
                if error.is_cancelled() {
                    return Err(error);
                }
                return Err(error.while_doing("the backup was not made, because a hook before it failed"));
            }
        }
        Ok(())
    }

    /// Runs the hooks after the backup, however it ended, and returns what went wrong with them. They run after a cancel
    /// too, for a short time: they may have something to undo.
    pub(super) async fn after(&self, organization: OrganizationId, performed: &Result<()>, run: &Run) -> Vec<String> {
        let mut facts = Facts { stage: HookStage::After, ..self.facts.clone() };
        facts.duration_ms = u64::try_from(self.begun.elapsed().as_millis()).ok();
        (facts.status, facts.error) = match performed {
            Ok(()) => (BackupStatus::Completed, None),
            Err(error) if error.is_cancelled() => (BackupStatus::Cancelled, None),
            Err(error) => (BackupStatus::Failed, Some(error.to_string())),
        };
        if performed.is_ok()
            && let Ok(backup) = db::backups::get(&self.ctx.db, organization, facts.backup_id).await
        {
            (facts.size_bytes, facts.rows) = (Some(backup.stored_size()), Some(backup.rows()));
        }
        let cancelled = run.cancel.is_cancelled();
        let fresh = Run { cancel: CancellationToken::new(), ..run.clone() };
        let run = if cancelled { &fresh } else { run };
        let deadline = Instant::now() + AFTER_CANCEL;
        let mut problems = Vec::new();
        for hook in self.hooks(HookStage::After) {
            let limit = if cancelled { limit(hook).min(deadline.saturating_duration_since(Instant::now())) } else { limit(hook) };
            if let Err(error) = self.one(hook, &facts, limit, run).await {
                let problem = format!("a hook after the backup failed: {error}");
                run.warn(&problem);
                problems.push(problem);
            }
        }
        problems
    }

    fn hooks(&self, stage: HookStage) -> impl Iterator<Item = &Hook> {
        self.schedule.details.hooks.iter().filter(move |hook| hook.stage == stage)
    }

    async fn one(&self, hook: &Hook, facts: &Facts, limit: Duration, run: &Run) -> Result<()> {
        let name = name_of(hook);
        run.info(format!("hook {name} begins"));
        let work = async {
            match &hook.url {
                Some(url) => request(url, facts, limit, run).await,
                None => command::run(self.ctx.config.hooks_dir.as_deref(), hook, facts, limit, run).await,
            }
        };
        tokio::pin!(work);
        let begun = Instant::now();
        loop {
            tokio::select! {
                done = &mut work => {
                    if done.is_ok() {
                        run.info(format!("hook {name} ended well"));
                    }
                    return done;
                }
                // A silent hook is no stalled job: its own timeout ends it.
                () = tokio::time::sleep(PROGRESS_PERIOD) => {
                    let stage = format!("running the hook {name}, {} s", begun.elapsed().as_secs());
                    run.progress(&Progress { stage, ..Progress::default() });
                }
            }
        }
    }
}

fn limit(hook: &Hook) -> Duration {
    Duration::from_secs(u64::from(hook.timeout_seconds))
}

/// For messages: the program, or the host of the address, whose path may be a secret.
fn name_of(hook: &Hook) -> String {
    match &hook.url {
        Some(url) => Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| "address".into()),
        None => hook.command.first().cloned().unwrap_or_default(),
    }
}

async fn request(url: &str, facts: &Facts, limit: Duration, run: &Run) -> Result<()> {
    let body = serde_json::to_vec(facts).context(Kind::Internal, || "writing the hook's request".into())?;
    let outbound = Outbound::new("the hook").within(limit);
    let answer = run.until_cancelled(outbound.post(url, &[("content-type", "application/json")], body)).await?;
    outbound.accepted(&answer)
}

/// The error of a hook that is not set up as it must be: trying again does not help.
fn misconfigured(what: String) -> Error {
    Error::new(Kind::Backup, what)
}
