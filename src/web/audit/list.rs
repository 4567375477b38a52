//! Who did what.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Html};

use crate::{
    domain::{
        account::AuditEvent,
        page::{Page, PageRequest},
    },
    services::{Ctx, audit},
    web::{
        envelope::{self, Envelope},
        error::Failure,
        extract::{Query, User},
        filters,
        forms::setting_text,
        html::{Layout, render},
        pager::Pager,
    },
};

#[derive(Template)]
#[template(path = "pages/audit/list.html")]
struct List {
    layout: Layout,
    events: Page<AuditEvent>,
    pager: Pager,
}

/// The audit trail, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "audit", params(PageRequest),
    responses((status = 200, body = Envelope<Vec<AuditEvent>>)))]
pub async fn api(State(ctx): State<Arc<Ctx>>, user: User, Query(page): Query<PageRequest>) -> Result<Envelope<Vec<AuditEvent>>, Failure> {
    Ok(envelope::page(audit::list(&ctx, &user, page).await?))
}

/// GET /audit
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    let events = audit::list(&ctx, &user, page).await?;
    let pager = Pager::new(&uri, &events);
    Ok(render(&ctx, &List { layout: layout.titled("Audit"), events, pager })?)
}

/// The details of an event in one line: `name: shop, engine: sqlite`.
fn details_text(event: &AuditEvent) -> String {
    let Some(details) = event.details.as_object() else { return String::new() };
    let pairs = details.iter().map(|(name, value)| match value {
        serde_json::Value::Object(_) => format!("{name}: {value}"),
        value => format!("{name}: {}", setting_text(value)),
    });
    pairs.collect::<Vec<_>>().join(", ")
}
