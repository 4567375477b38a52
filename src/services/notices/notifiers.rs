//! Configured notifiers: added, changed, tried out, and what they were told.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::{
    scope::{Known, Removed},
    words,
};
use crate::{
    db,
    domain::{
        database::Settings,
        forbidden,
        ids::NotifierId,
        notice::{Delivery, NoticeEvent, NotifierConfig, NotifyRules, Severity},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
    },
    error::{Error, Result},
    notifiers::{self as kinds, Notifier, NotifierKind},
    services::{Ctx, audit, databases, secrets},
};

/// A notifier as a person or a program describes it. A secret setting that is absent in an update stays as it is.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifierInput {
    pub name: String,
    /// One of `/api/notifier-kinds`. It cannot be changed later.
    #[serde(default)]
    #[schema(example = "slack")]
    pub kind: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Settings,
    /// Absent: true.
    #[serde(default)]
    pub enabled: Option<bool>,
    #[serde(default)]
    pub rules: NotifyRules,
}

/// A notifier as it may be shown: without secrets.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifierView {
    pub id: NotifierId,
    pub name: String,
    pub kind: String,
    pub kind_label: &'static str,
    pub icon: &'static str,
    /// Where it goes, without secrets.
    pub address: String,
    #[schema(value_type = Object)]
    pub settings: Settings,
    /// Names of the secret settings that are set.
    pub secrets_set: Vec<&'static str>,
    pub enabled: bool,
    pub rules: NotifyRules,
    /// Of its rules, what was removed meanwhile.
    pub removed: Removed,
    /// True when all that it was limited to was removed: it is told nothing.
    pub tells_nothing: bool,
    /// What it was told last.
    pub last_delivery: Option<Delivery>,
    pub created_at: crate::domain::time::Moment,
    pub updated_at: crate::domain::time::Moment,
}

/// What came of a test.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    pub delivered: bool,
    pub milliseconds: u64,
    /// Why it was not delivered, with the next step.
    pub error: Option<String>,
}

pub async fn list(ctx: &Ctx, actor: &Actor) -> Result<Vec<NotifierView>> {
    actor.require(Permission::View)?;
    let known = Known::read(ctx, actor.organization_id).await?;
    let mut views = Vec::new();
    for config in db::notifiers::list(&ctx.db, actor.organization_id).await? {
        views.push(view(ctx, &known, config).await?);
    }
    Ok(views)
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: NotifierId) -> Result<NotifierView> {
    actor.require(Permission::View)?;
    let known = Known::read(ctx, actor.organization_id).await?;
    view(ctx, &known, db::notifiers::get(&ctx.db, actor.organization_id, id).await?).await
}

/// Adds a notifier. Errors with every field that is not valid, and with `CONFLICT` when the name is taken.
pub async fn create(ctx: &Ctx, actor: &Actor, input: NotifierInput) -> Result<NotifierView> {
    actor.require(Permission::Configure)?;
    let kind = kinds::find(&input.kind)?;
    let settings = check(&input, kind, &Settings::new())?;
    let known = Known::read(ctx, actor.organization_id).await?;
    known.removed(&input.rules).refuse_new(&NotifyRules::default())?;
    let (id, now) = (NotifierId::new(), ctx.now());
    let config = NotifierConfig {
        id,
        organization_id: actor.organization_id,
        name: input.name.trim().to_owned(),
        kind: input.kind,
        settings: secrets::seal(&ctx.keys.current(), &purpose(id), kind.info().settings, settings),
        enabled: input.enabled.unwrap_or(true),
        rules: input.rules,
        created_at: now,
        updated_at: now,
    };
    db::notifiers::insert(&ctx.db, &config).await?;
    audit::record(ctx, actor, "notifier.create", id, json!({ "name": config.name, "kind": config.kind })).await?;
    view(ctx, &known, config).await
}

/// Changes a notifier; its kind stays.
pub async fn update(ctx: &Ctx, actor: &Actor, id: NotifierId, input: NotifierInput) -> Result<NotifierView> {
    actor.require(Permission::Configure)?;
    let old = db::notifiers::get(&ctx.db, actor.organization_id, id).await?;
    if !input.kind.is_empty() && input.kind != old.kind {
        return Err(Error::validation(format!("the kind of '{}' cannot be changed", old.name)).hint("add a new notifier instead"));
    }
    let kind = kinds::find(&old.kind)?;
    let settings = check(&input, kind, &open_settings(ctx, &old)?)?;
    let known = Known::read(ctx, actor.organization_id).await?;
    known.removed(&input.rules).refuse_new(&old.rules)?;
    let config = NotifierConfig {
        name: input.name.trim().to_owned(),
        settings: secrets::seal(&ctx.keys.current(), &purpose(id), kind.info().settings, settings),
        enabled: input.enabled.unwrap_or(old.enabled),
        rules: input.rules,
        updated_at: ctx.now(),
        ..old
    };
    db::notifiers::update(&ctx.db, &config).await?;
    audit::record(ctx, actor, "notifier.update", id, json!({ "name": config.name, "enabled": config.enabled })).await?;
    view(ctx, &known, config).await
}

/// Removes a notifier and its log of deliveries.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: NotifierId) -> Result<()> {
    actor.require(Permission::Configure)?;
    let config = db::notifiers::get(&ctx.db, actor.organization_id, id).await?;
    db::notifiers::delete(&ctx.db, actor.organization_id, id).await?;
    audit::record(ctx, actor, "notifier.delete", id, json!({ "name": config.name })).await
}

/// What it was told and what came of it, newest first.
pub async fn deliveries(ctx: &Ctx, actor: &Actor, id: NotifierId, page: PageRequest) -> Result<Page<Delivery>> {
    get(ctx, actor, id).await?;
    db::notices::deliveries(&ctx.db, id, page).await
}

/// Sends a test now, also through a notifier that is disabled, and tells what came of it.
pub async fn test(ctx: &Arc<Ctx>, actor: &Actor, id: NotifierId) -> Result<TestResult> {
    actor.require(Permission::Configure)?;
    let config = db::notifiers::get(&ctx.db, actor.organization_id, id).await?;
    let title = "Test from DBSnap: this notifier works".to_owned();
    let mut notice = words::notice(ctx, NoticeEvent::Test, Severity::Info, &config.name, title);
    notice.what = format!("{} sent this test through the notifier '{}'. Real messages say what failed and why.", actor.name, config.name);
    notice.next_step = "Nothing: this is where the next step would be.".into();
    notice.link = words::link(ctx, &format!("/notifiers/{id}/edit"));
    notice.group = format!("test:{id}");
    let began = Instant::now();
    let sent = match open(ctx, &config) {
        Ok(notifier) => notifier.send(&notice).await,
        Err(error) => Err(error),
    };
    let error = sent.err().map(|error| error.to_string());
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    db::notices::record_test(&ctx.db, actor.organization_id, &notice, id, error.as_deref(), ctx.now()).await?;
    audit::record(ctx, actor, "notifier.test", id, json!({ "name": config.name, "delivered": error.is_none() })).await?;
    Ok(TestResult { delivered: error.is_none(), milliseconds, error })
}

/// Opens a configured notifier with its secrets.
pub(super) fn open(ctx: &Ctx, config: &NotifierConfig) -> Result<Arc<dyn Notifier>> {
    kinds::find(&config.kind)?.open(&open_settings(ctx, config)?)
}

fn open_settings(ctx: &Ctx, config: &NotifierConfig) -> Result<Settings> {
    let fields = kinds::find(&config.kind)?.info().settings;
    secrets::open(&ctx.keys.current(), &purpose(config.id), fields, config.settings.clone())
}

/// The settings of an input over the old ones, secrets in clear. Errors with everything that is not valid.
fn check(input: &NotifierInput, kind: &dyn NotifierKind, old: &Settings) -> Result<Settings> {
    let merged = secrets::merge(kind.info().settings, input.settings.clone(), old);
    let mut problems = Vec::new();
    if !databases::is_name(input.name.trim()) {
        problems.push(("name".to_owned(), databases::NAME_RULE.to_owned()));
    }
    let opened = merged.and_then(|settings| kind.open(&settings).map(|_| settings));
    for (field, text) in opened.iter().flatten().filter_map(|(field, value)| Some((field, value.as_str()?))) {
        if let Ok(url) = Url::parse(text)
            && let Err(error) = forbidden::check_url("the host", &url)
        {
            problems.push((field.clone(), error.context));
        }
    }
    match opened {
        Ok(settings) if problems.is_empty() => return Ok(settings),
        Ok(_) => {}
        Err(error) if error.fields.is_empty() && problems.is_empty() => return Err(error),
        Err(error) => problems.extend(error.fields),
    }
    Err(Error::validation("some settings are not valid").fields(problems))
}

async fn view(ctx: &Ctx, known: &Known, config: NotifierConfig) -> Result<NotifierView> {
    let kind = kinds::find(&config.kind)?;
    let address = kind.address(&open_settings(ctx, &config)?);
    let (settings, secrets_set) = secrets::public(kind.info().settings, config.settings);
    let last = db::notices::deliveries(&ctx.db, config.id, PageRequest { page: 1, limit: 1 }).await?;
    let removed = known.removed(&config.rules);
    Ok(NotifierView {
        id: config.id,
        name: config.name,
        kind: config.kind,
        kind_label: kind.info().label,
        icon: kind.info().icon,
        address,
        settings,
        secrets_set,
        enabled: config.enabled,
        tells_nothing: removed.is_all_of(&config.rules),
        removed,
        rules: config.rules,
        last_delivery: last.items.into_iter().next(),
        created_at: config.created_at,
        updated_at: config.updated_at,
    })
}

fn purpose(id: NotifierId) -> String {
    format!("notifier:{id}")
}
