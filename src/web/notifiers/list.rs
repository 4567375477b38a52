//! The configured notifiers, and the kinds there are.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};
use serde_json::Value;

use crate::{
    domain::{ids::NotifierId, permissions::Permission},
    error::{Context, Kind, Result},
    notifiers,
    services::{
        Ctx,
        notices::notifiers::{self as configured, NotifierView},
    },
    web::{
        envelope::{self, Envelope, Open},
        error::Failure,
        extract::{Id, User},
        filters,
        html::{Layout, render},
        state,
    },
};

#[derive(Template)]
#[template(path = "pages/notifiers/list.html")]
struct Page {
    layout: Layout,
    notifiers: Vec<NotifierView>,
}

/// What is there of what a notifier is limited to, in words: `of 1 project and 2 databases`. `None` without limits.
fn limits(view: &NotifierView) -> Option<String> {
    let counted = |all: usize, removed: usize, noun: &str| {
        let left = all.saturating_sub(removed);
        (left > 0).then(|| format!("{left} {noun}{}", if left == 1 { "" } else { "s" }))
    };
    let parts = [
        counted(view.rules.project_ids.len(), view.removed.project_ids.len(), "project"),
        counted(view.rules.database_ids.len(), view.removed.database_ids.len(), "database"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("of {}", parts.join(" and ")))
}

/// Configured notifiers, without secrets.
#[utoipa::path(get, path = "/api/notifiers", tag = "notifiers", responses((status = 200, body = Envelope<Vec<NotifierView>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User) -> Result<Envelope<Vec<NotifierView>>, Failure> {
    Ok(envelope::ok(configured::list(&ctx, &user).await?))
}

/// One notifier, without its secrets.
#[utoipa::path(get, path = "/api/notifiers/{id}", tag = "notifiers", params(("id" = NotifierId, Path)),
    responses((status = 200, body = Envelope<NotifierView>)))]
pub async fn api_one(State(ctx): State<Arc<Ctx>>, user: User, Id(id): Id<NotifierId>) -> Result<Envelope<NotifierView>, Failure> {
    Ok(envelope::ok(configured::get(&ctx, &user, id).await?))
}

/// The kinds of notifiers of this build, with their settings.
#[utoipa::path(get, path = "/api/notifier-kinds", tag = "notifiers", responses((status = 200, body = Envelope<Vec<Open>>)))]
pub async fn api_kinds(user: User) -> Result<Envelope<Vec<Value>>, Failure> {
    user.require(Permission::View)?;
    let infos = notifiers::registry().iter().map(|kind| serde_json::to_value(kind.info()));
    let infos = infos.collect::<Result<Vec<_>, _>>().context(Kind::Internal, || "describing the notifiers".into())?;
    Ok(envelope::ok(infos))
}

/// GET /notifiers
pub async fn page(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout) -> Result<Html<String>, Failure> {
    let notifiers = configured::list(&ctx, &user).await?;
    Ok(render(&ctx, &Page { layout: layout.titled("Notifications"), notifiers })?)
}
