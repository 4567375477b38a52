//! The form of a schedule: what is typed, and the schedule that it stands for.

use std::{fmt::Display, str::FromStr};

use askama::Template;

use super::preview;
use crate::{
    domain::{
        filter::{DatabaseFilter, ScheduleFilter},
        ids::{DatabaseId, PolicyId, ScheduleId, StoreId},
        page::PageRequest,
        permissions::Actor,
        schedule::{Blackout, Destination, LoadCondition, Overlap, Schedule, ScheduleDetails, Weekday},
    },
    error::{Error, Result},
    services::{
        Ctx, databases, retention,
        schedules::{self, ScheduleInput},
        stores::{self, StoreView},
    },
    web::{error::message, extract::Form, html::Layout},
};

mod hooks;
mod scope;
mod times;

pub use self::{
    hooks::HookFields,
    scope::Tables,
    times::{WEEKDAYS, cron},
};

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
    /// What helps with the names of tables.
    pub tables: Tables,
    pub hooks: Vec<HookFields>,
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
        let mut databases = databases::list(ctx, actor, &DatabaseFilter::default(), all).await?.items;
        // One beyond the list must not become the first of it by saving.
        if let Some(own) = before.map(|before| before.database_id).filter(|own| databases.iter().all(|database| database.id != *own)) {
            databases.push(databases::get(ctx, actor, own).await?);
        }
        let id = before.map(|before| before.id);
        let mut others = schedules::list(ctx, actor, &ScheduleFilter::default(), all).await?.items;
        let parent = before.and_then(|before| before.after_schedule_id);
        if let Some(parent) = parent.filter(|parent| others.iter().all(|other| other.schedule.id != *parent)) {
            others.push(schedules::get(ctx, actor, parent).await?);
        }
        let next = preview::next(ctx, actor, &typed);
        let chosen = typed.parse("databaseId").ok().flatten().or(databases.first().map(|first| first.id));
        let tables = Tables::of(ctx, actor, chosen.filter(|chosen| databases.iter().any(|database| database.id == *chosen))).await?;
        let problems = error.map(|error| error.fields.clone()).unwrap_or_default();
        Ok(Self {
            id,
            tables,
            hooks: hooks::groups(&typed, &problems),
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
            problems,
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

    /// What is wrong with a field of the input, or with one that is a part of it.
    pub fn problem_of(&self, field: &str) -> Option<String> {
        let under = format!("{field}.");
        self.problems_where(|of| of == field || of.starts_with(&under))
    }

    /// What is wrong with the names of tables to take (`include`) or to leave out (`exclude`), whatever the engine calls them.
    pub fn problem_of_tables(&self, which: &str) -> Option<String> {
        let list = format!("options.{which}");
        self.problems_where(|of| of.starts_with(&list))
    }

    /// What is wrong with the options beside the tables.
    pub fn problem_of_options(&self) -> Option<String> {
        let tables = ["options.tables", "options.include", "options.exclude"];
        self.problems_where(|of| of == "options" || (of.starts_with("options.") && !tables.iter().any(|name| of.starts_with(name))))
    }

    fn problems_where(&self, holds: impl Fn(&str) -> bool) -> Option<String> {
        let said: Vec<&str> = self.problems.iter().filter(|problem| holds(&problem.0)).map(|problem| problem.1.as_str()).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What is wrong with the hooks as a whole.
    pub fn problem_of_all_hooks(&self) -> Option<String> {
        self.problems_where(|of| of == "hooks")
    }

    /// True when a hook is set, or something is wrong with one.
    pub fn has_hooks(&self) -> bool {
        self.hooks.len() > 1 || self.problem_of("hooks").is_some()
    }

    /// True when one of these fields says something, or something is wrong with it: its section is then open.
    pub fn opened(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.text(name).is_empty() || self.problem_of(name).is_some())
    }
}

/// The form of a new schedule: every night, of this database if one is named.
pub fn blank(ctx: &Ctx, database: Option<DatabaseId>) -> Form {
    let mut form = times::times(None);
    let database = database.map(|id| id.to_string()).unwrap_or_default();
    for (name, value) in [("databaseId", database.as_str()), ("timeZone", ctx.config.tz.name()), ("enabled", "true"), ("catchUp", "true")] {
        form.0.push((name.to_owned(), value.to_owned()));
    }
    form
}

/// The form of a stored schedule.
pub async fn filled(ctx: &Ctx, actor: &Actor, before: &Schedule) -> Result<Form> {
    let details = &before.details;
    let mut form = times::times(before.cron.as_deref());
    scope::fill(&mut form, details.options.as_ref(), &databases::get(ctx, actor, before.database_id).await?)?;
    hooks::fill(&mut form, &details.hooks);
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
    Ok(form)
}

/// The input that a sent form stands for. What the form does not ask stays as it was.
pub async fn read(ctx: &Ctx, actor: &Actor, form: &Form, before: Option<&Schedule>) -> Result<ScheduleInput> {
    let cron = cron(form)?;
    let after_schedule_id = if cron.is_none() { form.parse("afterScheduleId")? } else { None };
    if cron.is_none() && after_schedule_id.is_none() {
        return Err(wrong("afterScheduleId", "choose the schedule that it runs after"));
    }
    let options = scope::read(ctx, actor, form, before).await?;
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
        options,
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
    if let Some(hooks) = hooks::read(form)? {
        details.hooks = hooks;
    }
    Ok(details)
}

/// The stores as chosen; what else was set of a store that stays, stays.
fn read_destinations(form: &Form, before: &[Destination]) -> Result<Vec<Destination>> {
    let Some(first) = form.parse::<StoreId>("store")? else {
        if form.all("copies").any(|copy| !copy.is_empty()) {
            return Err(wrong("destinations", "choose the store that the backup itself goes to: the copies are made from there"));
        }
        return Ok(Vec::new());
    };
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
