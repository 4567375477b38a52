//! The form of a schedule: what is typed, and the schedule that it stands for.

use std::{fmt::Display, str::FromStr};

use askama::Template;

use super::preview;
use crate::{
    domain::{
        artifact::ArtifactKind,
        backup::BackupOptions,
        filter::{DatabaseFilter, ScheduleFilter},
        ids::{DatabaseId, PolicyId, ScheduleId, StoreId},
        page::PageRequest,
        permissions::Actor,
        schedule::{Blackout, Destination, Hook, LoadCondition, Overlap, Schedule, ScheduleDetails, Weekday},
    },
    error::{Error, Result},
    services::{
        Ctx, databases, retention,
        schedules::{self, ScheduleInput},
        stores::{self, StoreView},
    },
    web::{error::message, extract::Form, html::Layout},
};

pub(super) const WEEKDAYS: &[(&str, &str)] =
    &[("1", "Monday"), ("2", "Tuesday"), ("3", "Wednesday"), ("4", "Thursday"), ("5", "Friday"), ("6", "Saturday"), ("0", "Sunday")];

const MIB: u64 = 1024 * 1024;

/// The form as the template draws it.
pub struct ScheduleForm {
    pub id: Option<ScheduleId>,
    /// What was typed.
    pub typed: Form,
    pub databases: Vec<(DatabaseId, String)>,
    /// What it can run after.
    pub others: Vec<(ScheduleId, String)>,
    pub stores: Vec<StoreView>,
    pub policies: Vec<(PolicyId, String)>,
    /// How long backups are kept at most, days.
    pub kept_days: u32,
    pub weekdays: &'static [(&'static str, &'static str)],
    pub zones: Vec<&'static str>,
    pub heartbeat: bool,
    /// The next runs, or what is wrong with the times.
    pub runs: Vec<String>,
    pub next_problem: Option<String>,
    pub problem: Option<(String, Option<String>)>,
    problems: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "pages/schedules/form.html")]
pub struct Page {
    layout: Layout,
    form: ScheduleForm,
}

impl Page {
    pub fn new(layout: Layout, form: ScheduleForm) -> Self {
        Self { layout, form }
    }
}

impl ScheduleForm {
    pub async fn draw(ctx: &Ctx, actor: &Actor, typed: Form, before: Option<&Schedule>, error: Option<&Error>) -> Result<Self> {
        let all = PageRequest { page: 1, limit: 200 };
        let databases = databases::list(ctx, actor, &DatabaseFilter::default(), all).await?.items;
        let id = before.map(|before| before.id);
        let others = schedules::list(ctx, actor, &ScheduleFilter::default(), all).await?.items;
        let next = preview::next(ctx, actor, &typed);
        Ok(Self {
            id,
            databases: databases.into_iter().map(|database| (database.id, database.name)).collect(),
            others: others
                .into_iter()
                .filter(|other| Some(other.schedule.id) != id)
                .map(|other| (other.schedule.id, other.schedule.name))
                .collect(),
            stores: stores::list(ctx, actor).await?,
            policies: retention::list(ctx, actor).await?.into_iter().map(|view| (view.policy.id, view.policy.name)).collect(),
            kept_days: ctx.config.max_backup_retention_days,
            weekdays: WEEKDAYS,
            zones: chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect(),
            heartbeat: before.is_some_and(|before| before.heartbeat),
            next_problem: next.as_ref().err().filter(|_| error.is_none()).map(message),
            runs: next.unwrap_or_default(),
            problem: error.map(|error| (message(error), error.hint.clone())),
            problems: error.map(|error| error.fields.clone()).unwrap_or_default(),
            typed,
        })
    }

    pub fn text(&self, name: &str) -> &str {
        self.typed.text(name)
    }

    pub fn is(&self, name: &str, value: impl Display) -> bool {
        self.typed.text(name) == value.to_string()
    }

    pub fn has(&self, name: &str) -> bool {
        self.typed.has(name)
    }

    pub fn copies_to(&self, store: &StoreId) -> bool {
        self.typed.all("copies").any(|chosen| chosen == store.to_string())
    }

    /// What is wrong with a field of the input, or with one that begins with its name.
    pub fn problem_of(&self, field: &str) -> Option<String> {
        let under = format!("{field}.");
        let said = self.problems.iter().filter(|problem| problem.0 == field || problem.0.starts_with(&under));
        let said: Vec<&str> = said.map(|problem| problem.1.as_str()).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// True when one of these fields says something, or something is wrong with it: its section is then open.
    pub fn opened(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.text(name).is_empty() || self.problem_of(name).is_some())
    }
}

/// The form of a new schedule: every night, of this database if one is named.
pub fn blank(ctx: &Ctx, database: Option<DatabaseId>) -> Form {
    let mut form = times(None);
    let database = database.map(|id| id.to_string()).unwrap_or_default();
    for (name, value) in [("databaseId", database.as_str()), ("timeZone", ctx.config.tz.name()), ("enabled", "true"), ("catchUp", "true")] {
        form.0.push((name.to_owned(), value.to_owned()));
    }
    form
}

/// The form of a stored schedule.
pub fn filled(before: &Schedule) -> Form {
    let details = &before.details;
    let mut form = times(before.cron.as_deref());
    if before.after_schedule_id.is_some() {
        form.0.retain(|field| field.0 != "frequency");
        form.0.push(("frequency".to_owned(), "after".to_owned()));
    }
    let mut put = |name: &str, value: Option<String>| form.0.extend(value.map(|value| (name.to_owned(), value)));
    let flag = |on: bool| on.then(|| "true".to_owned());
    put("name", Some(before.name.clone()));
    put("databaseId", Some(before.database_id.to_string()));
    put("timeZone", Some(before.time_zone.name().to_owned()));
    put("enabled", flag(before.enabled));
    put("afterScheduleId", before.after_schedule_id.map(|id| id.to_string()));
    put("retentionPolicyId", before.retention_policy_id.map(|id| id.to_string()));
    put("artifacts", details.options.as_ref().map(|options| artifacts_text(&options.artifacts)));
    put("store", details.destinations.first().map(|first| first.store_id.to_string()));
    for copy in details.destinations.iter().skip(1) {
        put("copies", Some(copy.store_id.to_string()));
    }
    put("catchUp", flag(details.catch_up));
    put("overlap", Some(details.overlap.to_string()));
    put("attempts", details.attempts.map(|number| number.to_string()));
    put("retryBaseSeconds", details.limits.retry_base_seconds.map(|number| number.to_string()));
    put("timeoutSeconds", details.limits.timeout_seconds.map(|number| number.to_string()));
    put("stallTimeoutSeconds", details.limits.stall_timeout_seconds.map(|number| number.to_string()));
    put("priority", Some(details.priority).filter(|priority| *priority != 0).map(|priority| priority.to_string()));
    put("blackouts", Some(lines(&details.blackouts, blackout_text)));
    put("maxHostLoad", details.load.as_ref().and_then(|load| load.max_host_load).map(|most| most.to_string()));
    put("maxActiveConnections", details.load.as_ref().and_then(|load| load.max_active_connections).map(|most| most.to_string()));
    put("latestAfterMinutes", details.load.as_ref().map(|load| load.latest_after_minutes.to_string()));
    put("nice", details.limits.child.nice.map(|nice| nice.to_string()));
    put("idleIo", flag(details.limits.child.idle_io == Some(true)));
    put("memoryMib", details.limits.child.memory_bytes.map(|bytes| (bytes / MIB).to_string()));
    put("cpuPercent", details.limits.child.cpu_percent.map(|percent| percent.to_string()));
    put("hooks", Some(lines(&details.hooks, hook_text)));
    form
}

/// The fields of an expression: one of the usual ones, or as it is.
fn times(cron: Option<&str>) -> Form {
    let mut fields = vec![
        ("frequency", "daily".to_owned()),
        ("minute", "0".to_owned()),
        ("dailyTime", "02:30".to_owned()),
        ("weeklyDay", "0".to_owned()),
        ("weeklyTime", "02:30".to_owned()),
        ("monthlyDay", "1".to_owned()),
        ("monthlyTime", "02:30".to_owned()),
        ("cron", cron.unwrap_or("30 2 * * 1-5").to_owned()),
    ];
    let mut set = |name: &str, value: String| {
        if let Some(field) = fields.iter_mut().find(|field| field.0 == name) {
            field.1 = value;
        }
    };
    if let Some(cron) = cron {
        let parts: Vec<&str> = cron.split_whitespace().collect();
        let number = |text: &str| text.parse::<u8>().ok();
        let time = |minute: &str, hour: &str| Some(format!("{:02}:{:02}", number(hour)?, number(minute)?));
        match parts.as_slice() {
            [minute, "*", "*", "*", "*"] if number(minute).is_some() => {
                set("frequency", "hourly".to_owned());
                set("minute", (*minute).to_owned());
            }
            [minute, hour, day, "*", weekday] if let Some(time) = time(minute, hour) => match (*day, *weekday) {
                ("*", "*") => set("dailyTime", time),
                ("*", day) if WEEKDAYS.iter().any(|known| known.0 == day) => {
                    set("frequency", "weekly".to_owned());
                    set("weeklyDay", day.to_owned());
                    set("weeklyTime", time);
                }
                (day, "*") if number(day).is_some() => {
                    set("frequency", "monthly".to_owned());
                    set("monthlyDay", day.to_owned());
                    set("monthlyTime", time);
                }
                _ => set("frequency", "custom".to_owned()),
            },
            _ => set("frequency", "custom".to_owned()),
        }
    }
    Form(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The expression that the form's times stand for; `None` when it runs after another schedule.
pub fn cron(form: &Form) -> Result<Option<String>> {
    let at = |name: &str| {
        let time = form.text(name).split_once(':').and_then(|(hour, minute)| Some((hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?)));
        time.ok_or_else(|| wrong("cron", "the time of day is not one: write it as 02:30"))
    };
    Ok(Some(match form.text("frequency") {
        "hourly" => format!("{} * * * *", form.text("minute")),
        "weekly" => at("weeklyTime").map(|(hour, minute)| format!("{minute} {hour} * * {}", form.text("weeklyDay")))?,
        "monthly" => at("monthlyTime").map(|(hour, minute)| format!("{minute} {hour} {} * *", form.text("monthlyDay")))?,
        "custom" => form.text("cron").to_owned(),
        "after" => return Ok(None),
        _ => at("dailyTime").map(|(hour, minute)| format!("{minute} {hour} * * *"))?,
    }))
}

/// The input that a sent form stands for. What the form does not ask stays as it was.
pub fn read(form: &Form, before: Option<&Schedule>) -> Result<ScheduleInput> {
    let cron = cron(form)?;
    let after_schedule_id = if cron.is_none() { form.parse("afterScheduleId")? } else { None };
    if cron.is_none() && after_schedule_id.is_none() {
        return Err(wrong("afterScheduleId", "choose the schedule that it runs after"));
    }
    let details = read_details(form, before.map(|before| before.details.clone()).unwrap_or_default())?;
    let heartbeat_url = match form.text("heartbeatUrl") {
        "" => form.has("removeHeartbeat").then(String::new),
        address => Some(address.to_owned()),
    };
    Ok(ScheduleInput {
        name: form.text("name").to_owned(),
        database_id: form.parse("databaseId")?.ok_or_else(|| wrong("databaseId", "choose a database"))?,
        enabled: form.has("enabled"),
        cron,
        after_schedule_id,
        time_zone: Some(form.text("timeZone").to_owned()),
        retention_policy_id: match form.has("retentionPolicyId") {
            true => form.parse("retentionPolicyId")?,
            false => before.and_then(|before| before.retention_policy_id),
        },
        heartbeat_url,
        options: details.options,
        destinations: details.destinations,
        attempts: details.attempts,
        limits: details.limits,
        priority: details.priority,
        catch_up: details.catch_up,
        overlap: details.overlap,
        blackouts: details.blackouts,
        load: details.load,
        hooks: details.hooks,
    })
}

fn read_details(form: &Form, mut details: ScheduleDetails) -> Result<ScheduleDetails> {
    details.options = read_options(form, details.options)?;
    details.destinations = read_destinations(form, &details.destinations)?;
    details.catch_up = form.has("catchUp");
    details.overlap = form.parse("overlap")?.unwrap_or(Overlap::Skip);
    details.attempts = number(form, "attempts", "attempts")?;
    details.priority = number(form, "priority", "priority")?.unwrap_or(0);
    details.limits.retry_base_seconds = number(form, "retryBaseSeconds", "limits.retryBaseSeconds")?;
    details.limits.timeout_seconds = number(form, "timeoutSeconds", "limits.timeoutSeconds")?;
    details.limits.stall_timeout_seconds = number(form, "stallTimeoutSeconds", "limits.stallTimeoutSeconds")?;
    details.limits.child.nice = number(form, "nice", "limits.child.nice")?;
    details.limits.child.idle_io = form.has("idleIo").then_some(true);
    details.limits.child.memory_bytes = number::<u64>(form, "memoryMib", "limits.child.memoryBytes")?.map(|mib| mib.saturating_mul(MIB));
    details.limits.child.cpu_percent = number(form, "cpuPercent", "limits.child.cpuPercent")?;
    details.load = read_load(form)?;
    if form.text("blackouts") != lines(&details.blackouts, blackout_text) {
        details.blackouts = each_line(form.text("blackouts"), read_blackout)?;
    }
    // Arguments with spaces cannot be typed here: what nobody changed stays as it is.
    if form.text("hooks") != lines(&details.hooks, hook_text) {
        details.hooks = each_line(form.text("hooks"), read_hook)?;
    }
    Ok(details)
}

fn read_options(form: &Form, before: Option<BackupOptions>) -> Result<Option<BackupOptions>> {
    match form.text("artifacts") {
        "" => Ok(None),
        chosen => {
            let artifacts = chosen.split(',').map(str::parse).collect::<Result<Vec<ArtifactKind>>>()?;
            Ok(Some(BackupOptions { artifacts, ..before.unwrap_or_default() }))
        }
    }
}

/// The stores as chosen; what else was set of a store that stays, stays.
fn read_destinations(form: &Form, before: &[Destination]) -> Result<Vec<Destination>> {
    let Some(first) = form.parse::<StoreId>("store")? else { return Ok(Vec::new()) };
    let mut stores = vec![first];
    for copy in form.all("copies").filter(|copy| !copy.is_empty()) {
        let store = copy.parse()?;
        if !stores.contains(&store) {
            stores.push(store);
        }
    }
    let known = |store_id: StoreId| before.iter().find(|known| known.store_id == store_id).cloned();
    Ok(stores.into_iter().map(|store_id| known(store_id).unwrap_or(Destination { store_id, retention_policy_id: None })).collect())
}

fn read_load(form: &Form) -> Result<Option<LoadCondition>> {
    let max_host_load = number(form, "maxHostLoad", "load.maxHostLoad")?;
    let max_active_connections = number(form, "maxActiveConnections", "load.maxActiveConnections")?;
    if max_host_load.is_none() && max_active_connections.is_none() {
        return Ok(None);
    }
    let latest_after_minutes = number(form, "latestAfterMinutes", "load.latestAfterMinutes")?.unwrap_or(60);
    Ok(Some(LoadCondition { max_host_load, max_active_connections, latest_after_minutes }))
}

fn number<T: FromStr>(form: &Form, name: &str, field: &str) -> Result<Option<T>> {
    match form.text(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| wrong(field, &format!("'{text}' is not a number that fits here"))),
    }
}

fn wrong(field: &str, problem: &str) -> Error {
    Error::validation("the schedule is not valid").fields(vec![(field.to_owned(), problem.to_owned())])
}

fn lines<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn each_line<T>(text: &str, read: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(read).collect()
}

/// A blackout as it is typed: `08:00-18:00 monday friday`.
pub fn blackout_text(blackout: &Blackout) -> String {
    let days: String = blackout.days.iter().map(|day| format!(" {day}")).collect();
    format!("{}-{}{days}", blackout.from, blackout.to)
}

fn read_blackout(line: &str) -> Result<Blackout> {
    let mut words = line.split([' ', ',']).filter(|word| !word.is_empty());
    let (from, to) =
        words.next().and_then(|times| times.split_once('-')).ok_or_else(|| wrong("blackouts", "write `08:00-18:00 monday` on a line"))?;
    let day =
        |word: &str| word.to_lowercase().parse::<Weekday>().map_err(|_| wrong("blackouts", &format!("'{word}' is not a day of the week")));
    Ok(Blackout { from: from.to_owned(), to: to.to_owned(), days: words.map(day).collect::<Result<_>>()? })
}

/// A hook as it is typed: `before 60s freeze-app --all`.
fn hook_text(hook: &Hook) -> String {
    let what = hook.url.clone().unwrap_or_else(|| hook.command.join(" "));
    format!("{} {}s {what}", hook.stage, hook.timeout_seconds)
}

fn read_hook(line: &str) -> Result<Hook> {
    let expected = "write `before 60s command argument` or `after 60s https://...` on a line";
    let mut words = line.split_whitespace();
    let stage = words.next().and_then(|word| word.parse().ok());
    let timeout = words.next().and_then(|word| word.strip_suffix('s')?.parse().ok());
    let (Some(stage), Some(timeout_seconds)) = (stage, timeout) else { return Err(wrong("hooks", expected)) };
    let rest: Vec<String> = words.map(str::to_owned).collect();
    match rest.as_slice() {
        [] => Err(wrong("hooks", expected)),
        [url] if url.contains("://") => Ok(Hook { stage, command: Vec::new(), url: Some(url.clone()), timeout_seconds }),
        _ => Ok(Hook { stage, command: rest, url: None, timeout_seconds }),
    }
}

fn artifacts_text(artifacts: &[ArtifactKind]) -> String {
    let chosen = [ArtifactKind::Dump, ArtifactKind::Snapshot].into_iter().filter(|kind| artifacts.contains(kind));
    chosen.map(ArtifactKind::as_str).collect::<Vec<_>>().join(",")
}
