//! The form of a notifier, made from its kind's fields.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::databases::{self, OnlyOf};
use crate::{
    domain::{
        ids::{DatabaseId, NotifierId, ProjectId},
        notice::{NoticeEvent, NotifyRules, Severity},
        permissions::Actor,
        project::Project,
    },
    error::{Error, Result},
    notifiers::{self, NotifierInfo},
    services::{
        Ctx,
        notices::{
            notifiers::{NotifierInput, NotifierView},
            scope::{self, Removed},
        },
        projects,
    },
    web::{
        error::message,
        extract::Form,
        forms::{self, FormField, Section},
    },
};

const SETTINGS: &str = "settings.";

/// The form as the template draws it.
pub struct NotifierForm {
    pub id: Option<NotifierId>,
    pub name: FormField,
    pub kind: &'static NotifierInfo,
    pub kinds: Vec<&'static NotifierInfo>,
    pub fields: Vec<FormField>,
    pub sections: Vec<Section>,
    pub enabled: bool,
    /// Event, what it means, chosen.
    pub events: Vec<(NoticeEvent, &'static str, bool)>,
    pub severities: Vec<(Severity, bool)>,
    pub only: OnlyOf,
    /// Id, name, chosen; empty when there is but one and it is not chosen.
    pub projects: Vec<(ProjectId, String, bool)>,
    /// What it is limited to and was removed since. It is sent along, so that saving does not make a notifier of everything.
    pub removed: Removed,
    /// True when that is all that it is limited to.
    pub tells_nothing: bool,
    pub problem: Option<(String, Option<String>)>,
}

/// What fills the form.
struct Filled<'a> {
    id: Option<NotifierId>,
    kind: &'a str,
    name: String,
    settings: Map<String, Value>,
    secrets_set: Vec<&'static str>,
    enabled: bool,
    rules: NotifyRules,
    /// Typed names that no database has.
    unknown: Vec<String>,
    error: Option<&'a Error>,
}

impl NotifierForm {
    /// The form of a new notifier; without a kind, of the first one.
    pub async fn blank(ctx: &Ctx, actor: &Actor, kind: Option<&str>) -> Result<Self> {
        let first = notifiers::registry().first().map(|kind| kind.info().id).unwrap_or_default();
        let filled = Filled {
            id: None,
            kind: kind.unwrap_or(first),
            name: String::new(),
            settings: Map::new(),
            secrets_set: Vec::new(),
            enabled: true,
            rules: NotifyRules::default(),
            unknown: Vec::new(),
            error: None,
        };
        Self::draw(ctx, actor, filled).await
    }

    /// The form of a stored one.
    pub async fn stored(ctx: &Ctx, actor: &Actor, view: &NotifierView) -> Result<Self> {
        let filled = Filled {
            id: Some(view.id),
            kind: &view.kind,
            name: view.name.clone(),
            settings: view.settings.clone(),
            secrets_set: view.secrets_set.clone(),
            enabled: view.enabled,
            rules: view.rules.clone(),
            unknown: Vec::new(),
            error: None,
        };
        Self::draw(ctx, actor, filled).await
    }

    /// The form as it was sent, with what was wrong with it, if anything. What was chosen stays chosen.
    pub async fn typed(ctx: &Ctx, actor: &Actor, form: &Form, view: Option<&NotifierView>, error: Option<&Error>) -> Result<Self> {
        let kind = view.map_or_else(|| form.text("kind"), |view| view.kind.as_str());
        let fields = notifiers::find(kind)?.info().settings;
        let (database_ids, unknown) = databases::chosen(ctx, actor, form).await?;
        let filled = Filled {
            id: view.map(|view| view.id),
            kind,
            name: form.text("name").to_owned(),
            settings: forms::read(SETTINGS, fields, form),
            secrets_set: view.map(|view| view.secrets_set.clone()).unwrap_or_default(),
            enabled: form.has("enabled"),
            rules: rules(form, database_ids)?,
            unknown,
            error,
        };
        Self::draw(ctx, actor, filled).await
    }

    async fn draw(ctx: &Ctx, actor: &Actor, filled: Filled<'_>) -> Result<Self> {
        let kind = notifiers::find(filled.kind)?.info();
        let problems = filled.error.map(|error| error.fields.as_slice()).unwrap_or_default();
        let drawn = forms::draw(SETTINGS, kind.settings, &filled.settings, &filled.secrets_set, problems);
        let (fields, sections) = forms::by_section(drawn);
        let rules = filled.rules;
        let removed = scope::removed(ctx, actor, &rules).await?;
        let chosen = |event: NoticeEvent| match rules.events.is_empty() {
            true => event != NoticeEvent::BackupSucceeded,
            false => rules.events.contains(&event),
        };
        Ok(Self {
            id: filled.id,
            name: FormField {
                name: "name".into(),
                label: "Name".into(),
                help: "As it is listed here, such as Night shift.".into(),
                control: "text",
                value: filled.name,
                required: true,
                problem: problems.iter().find(|problem| problem.0 == "name").map(|problem| problem.1.clone()),
                ..FormField::default()
            },
            kind,
            kinds: notifiers::registry().iter().map(|kind| kind.info()).collect(),
            fields,
            sections,
            enabled: filled.enabled,
            events: NoticeEvent::choosable().map(|event| (event, event.meaning(), chosen(event))).collect(),
            severities: Severity::ALL.iter().map(|severity| (*severity, *severity == rules.least_severity)).collect(),
            only: OnlyOf::of(ctx, actor, &rules.database_ids, filled.unknown).await?,
            tells_nothing: removed.is_all_of(&rules),
            removed,
            projects: projects_to_choose(projects::all(ctx, actor).await?, &rules.project_ids),
            problem: filled.error.map(|error| (message(error), error.hint.clone())),
        })
    }
}

/// Nothing where there is nothing to choose from.
fn projects_to_choose(all: Vec<Project>, chosen: &[ProjectId]) -> Vec<(ProjectId, String, bool)> {
    if all.len() < 2 && chosen.is_empty() {
        return Vec::new();
    }
    let named = |project: Project| {
        let shown = format!("{} ({})", project.name, project.environment);
        (project.id, shown, chosen.contains(&project.id))
    };
    all.into_iter().map(named).collect()
}

/// What a form asks for, not yet checked. Errors when a database is named that there is not.
pub async fn read(ctx: &Ctx, actor: &Actor, form: &Form, kind: &str) -> Result<NotifierInput> {
    let (database_ids, unknown) = databases::chosen(ctx, actor, form).await?;
    databases::refuse_unknown(&unknown)?;
    let fields = notifiers::find(kind)?.info().settings;
    Ok(NotifierInput {
        name: form.text("name").to_owned(),
        kind: kind.to_owned(),
        settings: forms::read(SETTINGS, fields, form),
        enabled: Some(form.has("enabled")),
        rules: rules(form, database_ids)?,
    })
}

fn rules(form: &Form, database_ids: Vec<DatabaseId>) -> Result<NotifyRules> {
    let events = form.all("event").map(NoticeEvent::from_str).collect::<Result<Vec<_>>>()?;
    let all = NoticeEvent::choosable().filter(|event| *event != NoticeEvent::BackupSucceeded);
    Ok(NotifyRules {
        // The usual choice stays the usual choice when there are more events one day.
        events: if all.eq(events.iter().copied()) { Vec::new() } else { events },
        least_severity: form.parse("leastSeverity")?.unwrap_or(Severity::Info),
        project_ids: form.all("project").map(str::parse).collect::<Result<_>>()?,
        database_ids,
    })
}
