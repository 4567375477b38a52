//! A schedule as a person or a program describes it, and what must hold of it.

use std::collections::HashSet;

use serde::Deserialize;
use url::Url;

use super::next_slot;
use crate::{
    db::{self, schedules::Heartbeat},
    domain::{
        backup::BackupOptions,
        blackout,
        cron::{self, Cron},
        database::Database,
        forbidden,
        ids::{DatabaseId, PolicyId, ScheduleId},
        job::JobLimits,
        permissions::Actor,
        schedule::{Blackout, Destination, Hook, LoadCondition, Overlap, Schedule, ScheduleDetails},
        time::Moment,
    },
    error::{Error, Kind, Result},
    services::{Ctx, backup, databases},
};

/// Runs that are told ahead at once, at most.
pub(super) const MOST_RUNS: usize = 200;

/// Bytes of all arguments of a hook; a program can be given about 100 KiB.
const LONGEST_ARGUMENTS: usize = 64 * 1024;

/// A schedule to be made or to replace one. Exactly one of `cron` and `afterScheduleId` is given.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleInput {
    pub name: String,
    pub database_id: DatabaseId,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Five fields, or a name such as `@daily`.
    #[serde(default)]
    #[schema(example = "30 2 * * *")]
    pub cron: Option<String>,
    /// Run each time that schedule has succeeded.
    #[serde(default)]
    pub after_schedule_id: Option<ScheduleId>,
    /// IANA name; UTC when left out.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    #[serde(default)]
    pub retention_policy_id: Option<PolicyId>,
    /// An address that is told of each run. Left out it stays as it is; blank removes it. It is never shown again.
    #[serde(default)]
    pub heartbeat_url: Option<String>,
    /// What is made and how; the database's own options when left out.
    #[serde(default)]
    pub options: Option<BackupOptions>,
    /// The first is written by the backup itself, the others are copied to; the database's store when empty.
    #[serde(default)]
    pub destinations: Vec<Destination>,
    /// How often a run is tried, 1 to 20.
    #[serde(default)]
    pub attempts: Option<u32>,
    #[serde(default)]
    pub limits: JobLimits,
    /// -100 to 100.
    #[serde(default)]
    pub priority: i32,
    #[serde(default = "yes")]
    pub catch_up: bool,
    #[serde(default = "skip")]
    pub overlap: Overlap,
    #[serde(default)]
    pub blackouts: Vec<Blackout>,
    #[serde(default)]
    pub load: Option<LoadCondition>,
    #[serde(default)]
    pub hooks: Vec<Hook>,
}

/// An expression whose next moments are asked for.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreviewInput {
    pub cron: String,
    /// UTC when left out.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// 1 to 200.
    #[serde(default = "five")]
    pub count: usize,
}

fn yes() -> bool {
    true
}

fn skip() -> Overlap {
    Overlap::Skip
}

fn five() -> usize {
    5
}

/// What is wrong, by field.
#[derive(Default)]
struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, field: &str, problem: impl Into<String>) {
        self.0.push((field.to_owned(), problem.into()));
    }

    fn unless(&mut self, holds: bool, field: &str, problem: &str) {
        if !holds {
            self.add(field, problem);
        }
    }

    /// The value, or what is wrong with it.
    fn take<T>(&mut self, field: &str, found: Result<T>) -> Option<T> {
        found.map_err(|error| self.add(field, said(&error))).ok()
    }
}

fn said(error: &Error) -> String {
    error.hint.as_ref().map_or_else(|| error.context.clone(), |hint| format!("{}: {hint}", error.context))
}

/// The schedule that an input describes, over the one `before`. Errors with every field that is not valid.
pub(super) async fn check(
    ctx: &Ctx,
    actor: &Actor,
    input: ScheduleInput,
    before: Option<&Schedule>,
    now: Moment,
) -> Result<(Schedule, Heartbeat)> {
    let mut problems = Problems::default();
    let name = input.name.trim().to_owned();
    problems.unless(databases::is_name(&name), "name", databases::NAME_RULE);
    let zone = input.time_zone.as_deref().map(str::trim).filter(|zone| !zone.is_empty()).unwrap_or("UTC");
    let time_zone = problems.take("timeZone", cron::zone(zone)).unwrap_or_default();
    let expression = input.cron.as_deref().map(str::trim).filter(|cron| !cron.is_empty()).map(str::to_owned);
    match (&expression, input.after_schedule_id) {
        (Some(expression), None) => {
            problems.take("cron", Cron::parse(expression));
        }
        (None, Some(parent)) => check_chain(ctx, actor, parent, before, &mut problems).await?,
        _ => problems.add("cron", "give either a cron expression or the schedule that it runs after"),
    }
    let database = found(&mut problems, "databaseId", db::databases::get(&ctx.db, actor.organization_id, input.database_id).await)?;
    if let Some(policy) = input.retention_policy_id {
        let found_policy = db::retention_policies::get(&ctx.db, actor.organization_id, policy).await;
        found(&mut problems, "retentionPolicyId", found_policy)?;
    }
    let heartbeat = heartbeat(input.heartbeat_url.as_deref(), &mut problems);
    let id = before.map_or_else(ScheduleId::new, |before| before.id);
    let details = ScheduleDetails {
        options: input.options,
        destinations: input.destinations,
        attempts: input.attempts,
        limits: input.limits,
        priority: input.priority,
        catch_up: input.catch_up,
        overlap: input.overlap,
        blackouts: input.blackouts,
        load: input.load,
        hooks: input.hooks,
    };
    let details = check_details(ctx, actor, details, database.as_ref(), &mut problems).await?;
    problems.take("blackouts", blackout::check(&details.blackouts, time_zone, now));
    if !problems.0.is_empty() {
        return Err(Error::validation("the schedule is not valid").fields(problems.0));
    }
    let mut schedule = Schedule {
        id,
        name,
        database_id: input.database_id,
        enabled: input.enabled,
        cron: expression,
        after_schedule_id: input.after_schedule_id,
        time_zone,
        retention_policy_id: input.retention_policy_id,
        details,
        heartbeat: false,
        next_run_at: None,
        created_at: before.map_or(now, |before| before.created_at),
        updated_at: now,
    };
    schedule.next_run_at = next_slot(&schedule, now)?;
    let heartbeat = match heartbeat {
        Some(address) => Heartbeat::Sealed(ctx.keys.current().seal_text(&heartbeat_purpose(id), &address)),
        None if input.heartbeat_url.is_some() => Heartbeat::Remove,
        None => Heartbeat::Keep,
    };
    Ok((schedule, heartbeat))
}

/// What a sealed heartbeat address is bound to.
pub(in crate::services) fn heartbeat_purpose(id: ScheduleId) -> String {
    format!("schedule:{id}:heartbeat")
}

/// A chain that leads back to itself would never end.
async fn check_chain(ctx: &Ctx, actor: &Actor, parent: ScheduleId, before: Option<&Schedule>, problems: &mut Problems) -> Result<()> {
    let (mut next, mut seen) = (Some(parent), HashSet::new());
    while let Some(id) = next.filter(|id| seen.insert(*id)) {
        if before.is_some_and(|before| before.id == id) {
            problems.add("afterScheduleId", "it would run after itself: choose a schedule that does not come after this one");
            return Ok(());
        }
        let found = found(problems, "afterScheduleId", db::schedules::get(&ctx.db, actor.organization_id, id).await)?;
        next = found.and_then(|schedule| schedule.after_schedule_id);
    }
    Ok(())
}

/// What was found, or the problem that it is not there. Other errors are passed on.
fn found<T>(problems: &mut Problems, field: &str, found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == Kind::NotFound => {
            problems.add(field, error.context);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn heartbeat(address: Option<&str>, problems: &mut Problems) -> Option<String> {
    let address = address.map(str::trim).filter(|address| !address.is_empty())?;
    check_address("heartbeatUrl", address, problems);
    Some(address.to_owned())
}

fn check_address(field: &str, text: &str, problems: &mut Problems) {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            problems.take(field, forbidden::check_url("the host", &url));
        }
        _ => problems.add(field, "is not an http or https address"),
    }
}

async fn check_details(
    ctx: &Ctx,
    actor: &Actor,
    mut details: ScheduleDetails,
    database: Option<&Database>,
    problems: &mut Problems,
) -> Result<ScheduleDetails> {
    if let (Some(database), Some(options)) = (database, details.options.take()) {
        match backup::check_options(database, Some(options)) {
            Ok(options) => details.options = Some(options),
            Err(error) if error.fields.is_empty() => problems.add("options", said(&error)),
            Err(error) => error.fields.into_iter().for_each(|(field, problem)| problems.add(&format!("options.{field}"), problem)),
        }
    }
    let mut stores = HashSet::new();
    for destination in &details.destinations {
        found(problems, "destinations", db::stores::get(&ctx.db, actor.organization_id, destination.store_id).await)?;
        problems.unless(stores.insert(destination.store_id), "destinations", "names a store twice");
        if let Some(policy) = destination.retention_policy_id {
            found(problems, "destinations", db::retention_policies::get(&ctx.db, actor.organization_id, policy).await)?;
        }
    }
    problems.unless(details.attempts.is_none_or(|attempts| (1..=20).contains(&attempts)), "attempts", "must be from 1 to 20");
    problems.unless((-100..=100).contains(&details.priority), "priority", "must be from -100 to 100");
    check_limits(&details.limits, problems);
    if let Some(load) = &details.load {
        problems.unless(load.max_host_load.is_some() || load.max_active_connections.is_some(), "load", "names no limit");
        problems.unless(load.max_host_load.is_none_or(|most| most > 0.0 && most <= 1000.0), "load.maxHostLoad", "must be more than 0");
        problems.unless(load.max_active_connections != Some(0), "load.maxActiveConnections", "must be at least 1");
        problems.unless(load.latest_after_minutes <= 7 * 1440, "load.latestAfterMinutes", "must be at most a week (10080)");
    }
    problems.unless(details.blackouts.len() <= 50, "blackouts", "are more than 50");
    problems.unless(details.hooks.len() <= 20, "hooks", "are more than 20");
    for (place, hook) in details.hooks.iter().enumerate() {
        check_hook(&format!("hooks.{place}"), hook, problems);
    }
    Ok(details)
}

fn check_limits(limits: &JobLimits, problems: &mut Problems) {
    let week = 7 * 86_400;
    for (field, seconds) in [
        ("limits.timeoutSeconds", limits.timeout_seconds),
        ("limits.stallTimeoutSeconds", limits.stall_timeout_seconds),
        ("limits.retryBaseSeconds", limits.retry_base_seconds),
    ] {
        problems.unless(seconds.is_none_or(|seconds| (1..=week).contains(&seconds)), field, "must be from 1 second to a week (604800)");
    }
    let child = &limits.child;
    problems.unless(child.nice.is_none_or(|nice| nice <= 19), "limits.child.nice", "must be from 0 to 19");
    let memory = child.memory_bytes.is_none_or(|bytes| bytes >= 16 * 1024 * 1024);
    problems.unless(memory, "limits.child.memoryBytes", "must be at least 16 MiB (16777216)");
    let cpu = child.cpu_percent.is_none_or(|percent| (1..=100_000).contains(&percent));
    problems.unless(cpu, "limits.child.cpuPercent", "must be at least 1");
}

fn check_hook(field: &str, hook: &Hook, problems: &mut Problems) {
    match (hook.command.split_first(), &hook.url) {
        (Some((file, arguments)), None) => {
            let plain = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\']) && !file.chars().any(char::is_control);
            problems.unless(plain && file.trim() == file, field, "a command begins with the name of a file in HOOKS_DIR, without a path");
            problems.unless(!arguments.iter().any(|argument| argument.contains('\0')), field, "no argument can hold a NUL character");
            let bytes: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
            problems.unless(bytes <= LONGEST_ARGUMENTS, field, "its arguments are longer than 64 KiB: let it read a file");
        }
        (None, Some(url)) => check_address(field, url, problems),
        _ => problems.add(field, "give either a command or an address"),
    }
    problems.unless((1..=3600).contains(&hook.timeout_seconds), field, "a timeout must be from 1 to 3600 seconds");
}
